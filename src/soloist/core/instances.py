"""What the outside may know and ask of an instance."""

from __future__ import annotations

from datetime import datetime

import msgspec

from soloist.core.events import InboxEvent, TaskAddress
from soloist.core.extras import Extras
from soloist.core.failures import FailureDetails
from soloist.core.policy import StartDecision, StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.core.work import Lacks

MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 100


class StartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One wish to start ``name`` under ``instance_id``.

    ``execution_id`` is drawn by the caller and becomes the new execution's. ``parent`` is the task
    that waits for the end of a sub-orchestration. ``replaceable`` takes the place of ``policy``
    where a caller names the statuses one by one.
    """

    instance_id: str
    execution_id: str
    name: str
    at: datetime
    input: str | None = None
    version: str | None = None
    policy: StartPolicy = StartPolicy.FAIL
    parent: TaskAddress | None = None
    replaceable: frozenset[RuntimeStatus] | None = None
    extras: Extras | None = None


class InstanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An instance as the store holds it now.

    ``generation`` is the fencing token: it rises with every start in the database and is never
    used again. ``history_length`` counts events; 0 means that no episode has been committed.
    """

    generation: int
    instance_id: str
    execution_id: str
    name: str
    version: str | None
    status: RuntimeStatus
    input: str | None
    output: str | None
    custom_status: str | None
    failure: FailureDetails | None
    created_at: datetime
    updated_at: datetime
    history_length: int
    parent: TaskAddress | None = None
    extras: Extras | None = None


class InboxMessage(msgspec.Struct, frozen=True):
    """An event waiting to enter a history; ``message_id`` rises in order of arrival."""

    message_id: int
    event: InboxEvent


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to commit to one instance, until somebody takes it over.

    ``epoch`` rises each time the instance is leased; a commit under an older one is refused.
    """

    record: InstanceRecord
    epoch: int
    messages: tuple[InboxMessage, ...] = ()


class Hold(msgspec.Struct, frozen=True):
    """The host to which an instance is leased, live or not, ``None`` when it is to nobody; and when
    somebody must look at it should nobody hold it, ``None`` when only a message makes it due."""

    host_id: int | None
    due_at: datetime | None


class TakenOver(msgspec.Struct, frozen=True):
    """A host that is gone, and how many instances were taken from it."""

    host_id: int
    name: str
    instances: int


class LeaseGrant(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a host that asked for work.

    ``leases`` are newly granted. ``mail`` names generations which the host held already and for
    which messages came from other processes. ``next_due_at`` is when the next waiting instance
    falls due, ``None`` when nothing waits for a time. ``taken_over`` names the hosts from which
    instances were taken on the way, due or not, and those that were forgotten; one that held very
    many is named by more than one grant.
    """

    leases: tuple[Lease, ...] = ()
    mail: tuple[int, ...] = ()
    next_due_at: datetime | None = None
    taken_over: tuple[TakenOver, ...] = ()


class StartReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a start that was not refused.

    ``record`` is the instance now under the id. ``lease`` is present when the starting host was
    given it in the same transaction. ``replaced`` is the generation that had to go; ``mail`` names
    the generations that were told of it.
    """

    decision: StartDecision
    record: InstanceRecord
    lease: Lease | None = None
    replaced: int | None = None
    mail: tuple[int, ...] = ()


class CommitReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a commit moved elsewhere.

    ``leases`` are instances that were given to the committing host in the same transaction.
    ``mail`` names generations that got messages and are leased already, to whichever host.
    ``replaced`` are generations that a sub-orchestration replaced. ``waits`` says that something
    became due which no host was given.
    """

    leases: tuple[Lease, ...] = ()
    mail: tuple[int, ...] = ()
    replaced: tuple[int, ...] = ()
    waits: bool = False


class DeliverReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """A delivered message's place; ``lease`` as in :class:`StartReceipt`."""

    generation: int
    message_id: int
    lease: Lease | None = None


class InstanceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A filter over the hub's instances; empty fields do not restrict.

    Entities (timers among them) are left out unless ``instance_id_prefix`` begins with ``@``.
    Both ends of a span of time belong to it. ``token`` continues an earlier page.
    """

    instance_id_prefix: str = ""
    names: tuple[str, ...] = ()
    statuses: frozenset[RuntimeStatus] = frozenset()
    created_from: datetime | None = None
    created_to: datetime | None = None
    updated_from: datetime | None = None
    updated_to: datetime | None = None
    page_size: int = DEFAULT_PAGE_SIZE
    token: str | None = None


class InstancePage(msgspec.Struct, frozen=True):
    """Instances in the order of their starts; ``token`` is ``None`` on the last page."""

    records: tuple[InstanceRecord, ...]
    token: str | None


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """How much work stands in the hub: instances due with no host, and instances held."""

    due: int
    held: int
    oldest_due_at: datetime | None


class HostRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A host as its hub knows it.

    ``address`` is where its faces are reached, ``version`` is Soloist's and ``app_version`` the one
    that the app gives to what it starts, if it gives one. ``held`` is how many instances are leased
    to it. One that is not live is gone, and what it holds will be taken over. ``lacks`` is what it
    told of its gRPC door when it last renewed, ``None`` when it has none or did not tell.
    """

    host_id: int
    name: str
    address: str
    version: str
    app_version: str | None
    process_id: int
    machine: str
    joined_at: datetime
    renewed_at: datetime
    is_live: bool
    held: int
    lacks: Lacks | None = None


class Durability(msgspec.Struct, frozen=True):
    """What a store promises about an acknowledged commit.

    It survives a crash of the machine that has the data, a failover to another machine, both or
    neither; ``text`` says so in a sentence.
    """

    survives_crash: bool
    survives_failover: bool
    text: str


class AccessKey(msgspec.Struct, frozen=True):
    """A secret that opens something.

    ``scope`` is ``master``, ``host``, ``system`` or ``function:<name>``.
    """

    scope: str
    name: str
    value: str
    created_at: datetime
