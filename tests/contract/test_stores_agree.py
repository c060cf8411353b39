"""Any sequence of verbs gets the same answers from the reference model and from each database."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soloist.contracts.store import Store
from soloist.core.actions import CarriedEvent
from soloist.core.events import (
    Completion,
    EntityOperationCalled,
    EntityOperationCompleted,
    HistoryEvent,
    InboxEvent,
    LockReleased,
    LockRequested,
    SubOrchestrationInstanceCompleted,
    SubOrchestrationInstanceCreated,
    TaskAddress,
)
from soloist.core.extras import Extras, extras_or_none
from soloist.core.failures import FailureDetails
from soloist.core.ids import is_entity_id
from soloist.core.instances import (
    AccessKey,
    CommitReceipt,
    InstanceQuery,
    InstanceRecord,
    Lease,
    StartRequest,
)
from soloist.core.messages import (
    Outgoing,
    PassEvent,
    Reply,
    SendRequest,
    StartChild,
    TerminateChild,
    child_request,
)
from soloist.core.outcomes import NextExecution
from soloist.core.policy import StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.errors import SoloistError
from tests.contract.databases import new_database
from tests.contract.numbers import Numbers, Translated
from tests.contract.world import World

IDS = st.sampled_from(["a", "b", "c"])
ENTITY_IDS = st.sampled_from(["@e@1", "@e@2", "@@timer@t"])
ANY_IDS = st.one_of(IDS, IDS, ENTITY_IDS)
STATUSES = st.sampled_from(list(RuntimeStatus))


async def _history(store: Store, generation: int) -> Any:
    return await store.history(generation)


async def _inbox(store: Store, generation: int) -> Any:
    return await store.inbox(generation, 0)


async def _hold(store: Store, generation: int) -> Any:
    return await store.hold(generation)


async def _page(store: Store, prefix: str) -> Any:
    return await store.query(InstanceQuery(instance_id_prefix=prefix))


def _task(record: InstanceRecord, task_id: int) -> TaskAddress:
    return TaskAddress(record.instance_id, record.generation, record.execution_id, task_id)


class _Refusal(msgspec.Struct, frozen=True):
    """A domain error as a value, to be compared."""

    kind: type[SoloistError]
    text: str


class Pair:
    """Two worlds with one history: what one answers, the other must answer too.

    Task ids are drawn from the length of the history, so that a history never uses one twice.
    """

    def __init__(self, folder: Path, kind: str, url: str) -> None:
        self._runner = asyncio.Runner()
        self._numbers = Numbers() if kind == "postgres" else None
        self._worlds = [World("memory", folder), World(kind, folder, url)]
        self._stores = self._open()
        self._clients = self._open()
        self._hosts: list[int] = []
        self._leases: list[Lease] = []
        self._executions = 0
        self.join()

    def _open(self) -> list[Store]:
        stores = [self._run(world.opened()) for world in self._worlds]
        if self._numbers is not None:
            stores[1] = Translated(stores[1], self._numbers)
        return stores

    def close(self) -> None:
        for world in self._worlds:
            self._run(world.close())
        self._runner.close()

    def join(self) -> None:
        self._hosts.append(self._both(lambda store: store.join("host"), kind="host"))

    def leave(self, host: int) -> None:
        self._both(lambda store: store.leave(self._host(host)))

    def renew(self, host: int) -> None:
        self._both(lambda store: store.renew(self._host(host)))

    def time_passes(self, seconds: float) -> None:
        for world in self._worlds:
            world.clock.advance(seconds)

    def stay(self) -> None:
        """Have a live host, as most of the time there is one."""
        if not self._both(lambda store: store.renew(self._host(0))):
            self.join()

    def start(
        self,
        instance_id: str,
        policy: StartPolicy,
        name: str,
        host: int | None,
        replaceable: frozenset[RuntimeStatus] | None,
        tag: str | None,
        wait: int | None,
    ) -> None:
        start_at = None if wait is None else self._worlds[0].after(wait)
        tags = {} if tag is None else {"tag": tag}
        request = StartRequest(
            instance_id=instance_id,
            execution_id=self._execution_id(),
            name=name,
            at=self._worlds[0].now(),
            input=f'"{self._executions}"',
            policy=policy,
            replaceable=replaceable,
            extras=extras_or_none(Extras(tags=tags, start_at=start_at)),
        )
        receipt = self._both(lambda store: store.start(request, self._host_or_none(host)))
        if receipt is not None and receipt.lease is not None:
            self._leases.append(receipt.lease)

    def deliver(
        self,
        instance_id: str,
        terminates: bool,
        wait: int | None,
        host: int | None,
        is_client: bool,
    ) -> None:
        world = self._worlds[0]
        event: InboxEvent = world.termination("r") if terminates else world.raised("e", "1")
        if is_entity_id(instance_id):
            event = world.requested(due_at=None if wait is None else world.after(wait))
        stores = self._clients if is_client else self._stores
        receipt = self._both(
            lambda store: store.deliver(instance_id, event, self._host_or_none(host)), stores
        )
        if receipt is not None and receipt.lease is not None:
            self._leases.append(receipt.lease)

    def lease(self, host: int, limit: int) -> None:
        grant = self._both(lambda store: store.lease(self._host(host), limit))
        self._leases.extend(grant.leases)

    def release(self, which: int, wait: int | None) -> None:
        if lease := self._lease(which):
            retry_at = None if wait is None else self._worlds[0].after(wait)
            self._both(lambda store: store.release(lease.record.generation, lease.epoch, retry_at))

    def commit(
        self,
        which: int,
        status: RuntimeStatus,
        wait: int | None,
        events: int,
        consumes: int,
        releases: bool,
        vanishes: bool,
        carried: int | None,
        is_stale: bool,
        sends: list[tuple[str, dict[str, Any]]],
        host: int | None,
    ) -> None:
        self._forget_what_is_over()
        if not self._leases:
            self.stay()
            self.lease(0, 2)
        lease = self._lease(which)
        if lease is None:
            return
        world = self._worlds[0]
        current = self._run(self._stores[0].read(lease.record.instance_id)) or lease.record
        waiting = self._run(self._stores[0].inbox(lease.record.generation, 0))
        following = None
        if carried is not None:
            following = NextExecution(
                self._execution_id(),
                '"next"',
                tuple(CarriedEvent(str(n)) for n in range(carried)),
                version=None if carried == 1 else "2",
            )
        recorded: list[HistoryEvent] = [world.mark()] * events
        outgoing = []
        for number, (kind, arguments) in enumerate(sends):
            task_id = current.history_length * 10 + number
            outgoing.append(getattr(self, f"_{kind}")(current, task_id, recorded, **arguments))
        outcome = world.step(
            lease,
            length=current.history_length + is_stale,
            execution_id=current.execution_id,
            status=status,
            events=tuple(recorded),
            consumed=tuple(message.message_id for message in waiting[:consumes]),
            custom_status=str(which),
            output='"o"' if events else None,
            failure=FailureDetails("m", "T") if releases else None,
            due_at=None if wait is None else world.after(wait),
            releases=releases,
            next_execution=following,
            outgoing=tuple(outgoing),
            vanishes=vanishes,
        )
        receipt = self._both(lambda store: store.commit(outcome, self._host_or_none(host)))
        if receipt is not None:
            self._take(receipt)
        elif not is_stale:
            self._leases.remove(lease)  # it is over

    def _child(
        self,
        sender: InstanceRecord,
        task_id: int,
        recorded: list[HistoryEvent],
        instance_id: str,
        policy: StartPolicy,
        is_orphan: bool,
        wait: int | None,
    ) -> Outgoing:
        now = self._worlds[0].now()
        created = SubOrchestrationInstanceCreated(now, task_id, instance_id, "f")
        request = child_request(created, now, _task(sender, task_id))
        if is_orphan:
            start_at = None if wait is None else self._worlds[0].after(wait)
            extras = extras_or_none(Extras(start_at=start_at))
            return StartChild(msgspec.structs.replace(request, parent=None, extras=extras))
        recorded.append(created)
        return StartChild(msgspec.structs.replace(request, policy=policy))

    def _pass(
        self,
        _sender: InstanceRecord,
        _task_id: int,
        _recorded: list[HistoryEvent],
        instance_id: str,
    ) -> Outgoing:
        return PassEvent(instance_id, self._worlds[0].raised("passed", "1"))

    def _lock(
        self,
        sender: InstanceRecord,
        task_id: int,
        _recorded: list[HistoryEvent],
        instance_id: str,
        is_release: bool,
    ) -> Outgoing:
        now = self._worlds[0].now()
        if is_release:
            return SendRequest(instance_id, LockReleased(now, "s"))
        caller = _task(sender, task_id)
        return SendRequest(instance_id, LockRequested(now, "s", (instance_id,), 0, caller))

    def _request(
        self,
        sender: InstanceRecord,
        task_id: int,
        recorded: list[HistoryEvent],
        instance_id: str,
        wait: int | None,
        is_call: bool,
    ) -> Outgoing:
        world = self._worlds[0]
        if is_call and instance_id.startswith("@e"):
            recorded.append(EntityOperationCalled(world.now(), task_id, instance_id, "add"))
        caller = _task(sender, task_id) if is_call else None
        due_at = None if wait is None else world.after(wait)
        return SendRequest(instance_id, world.requested(caller=caller, due_at=due_at))

    def _reply(
        self,
        sender: InstanceRecord,
        task_id: int,
        recorded: list[HistoryEvent],
        to: int,
        is_late: bool,
    ) -> Outgoing:
        now = self._worlds[0].now()
        lease = self._lease(to)
        address = _task(lease.record if lease else sender, to)
        if lease is not None and sender.parent is not None and to == 0:
            address = sender.parent
        if is_late:
            address = msgspec.structs.replace(address, execution_id="another")
        event: Completion = SubOrchestrationInstanceCompleted(now, address.task_id, "1")
        if is_entity_id(sender.instance_id):
            event = EntityOperationCompleted(now, address.task_id, "1")
        return Reply(address, event)

    def _end(
        self,
        sender: InstanceRecord,
        task_id: int,
        recorded: list[HistoryEvent],
        instance_id: str,
        is_ours: bool,
    ) -> Outgoing:
        child = self._run(self._stores[0].read(instance_id))
        parent = child.parent if is_ours and child and child.parent else _task(sender, task_id)
        return TerminateChild(instance_id, parent, self._worlds[0].termination("r"))

    def rewind(self, instance_id: str, is_failed: bool, host: int | None) -> None:
        at = self._worlds[0].now()
        if is_failed:
            failed = frozenset({RuntimeStatus.FAILED})
            page = self._run(self._stores[0].query(InstanceQuery(statuses=failed)))
            instance_id = page.records[0].instance_id if page.records else instance_id
        receipt = self._both(
            lambda store: store.rewind(instance_id, "again", at, self._host_or_none(host))
        )
        if receipt is not None:
            self._take(receipt)

    def _take(self, receipt: CommitReceipt) -> None:
        self._leases.extend(receipt.leases)

    def put_key(self, name: str, replaces: bool) -> None:
        key = AccessKey("host", name, self._execution_id(), self._worlds[0].now())
        self._both(lambda store: store.put_key(key, replaces=replaces))
        self._both(lambda store: store.keys())

    def drop_key(self, name: str) -> None:
        self._both(lambda store: store.drop_key("host", name))
        self._both(lambda store: store.keys())

    def purge(self, instance_id: str, generation: int | None) -> None:
        self._both(lambda store: store.purge(instance_id, generation))

    def list_pages(
        self, size: int, statuses: frozenset[RuntimeStatus], prefix: str, since: int | None
    ) -> None:
        query = InstanceQuery(
            page_size=size,
            statuses=statuses,
            instance_id_prefix=prefix,
            updated_from=None if since is None else self._worlds[0].after(since),
            updated_to=None if since is None else self._worlds[0].now(),
        )
        page = self._both(lambda store: store.query(query))
        if page.token is not None:
            following = msgspec.structs.replace(query, token=page.token)
            self._both(lambda store: store.query(following))

    def both_hold_the_same(self) -> None:
        for prefix in ("", "@"):
            page = self._both(partial(_page, prefix=prefix))
            for record in page.records:
                self._both(partial(_history, generation=record.generation))
                self._both(partial(_inbox, generation=record.generation))
                self._both(partial(_hold, generation=record.generation))
        self._both(lambda store: store.backlog())

    def _both(
        self,
        verb: Callable[[Store], Awaitable[Any]],
        stores: list[Store] | None = None,
        kind: str | None = None,
    ) -> Any:
        answers = [self._answer(verb, store) for store in stores or self._stores]
        if self._numbers is None:
            assert answers[0] == answers[1]
        else:
            assert self._numbers.same(answers[0], answers[1], kind), answers
            assert self._numbers.are_in_order()
        return None if isinstance(answers[0], _Refusal) else answers[0]

    def _answer(self, verb: Callable[[Store], Awaitable[Any]], store: Store) -> Any:
        async def ask() -> Any:
            return await verb(store)

        try:
            return self._run(ask())
        except SoloistError as error:
            return _Refusal(type(error), str(error))

    def _run(self, waits: Any) -> Any:
        return self._runner.run(waits)

    def _host(self, number: int) -> int:
        return self._hosts[-1 - number % len(self._hosts)]

    def _host_or_none(self, number: int | None) -> int | None:
        return None if number is None else self._host(number)

    def _forget_what_is_over(self) -> None:
        """Keep one lease that is outdated, so that most commits have a chance."""
        over = []
        for lease in self._leases:
            record = self._run(self._stores[0].read(lease.record.instance_id))
            is_same = record is not None and record.generation == lease.record.generation
            if not is_same or record.status.is_terminal:
                over.append(lease)
        for lease in over[1:]:
            self._leases.remove(lease)

    def _lease(self, number: int) -> Lease | None:
        return self._leases[-1 - number % len(self._leases)] if self._leases else None

    def _execution_id(self) -> str:
        self._executions += 1
        return f"e{self._executions}"


def verb(verb_name: str, /, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(verb_name), st.fixed_dictionaries(arguments))


HOSTS = st.sampled_from([0, 0, 0, 0, 1])  # mostly the newest
MAYBE_HOSTS = st.one_of(HOSTS, st.none())
WAITS = st.sampled_from([None, None, -20, -1, 0, 1, 15, 60])
POLICIES = st.sampled_from([StartPolicy.FAIL] * 4 + list(StartPolicy))
SENDS = st.one_of(
    verb("child", instance_id=IDS, policy=POLICIES, is_orphan=st.just(False), wait=st.none()),
    verb("child", instance_id=IDS, policy=POLICIES, is_orphan=st.booleans(), wait=WAITS),
    verb("pass", instance_id=ANY_IDS),
    verb("lock", instance_id=ENTITY_IDS, is_release=st.booleans()),
    verb("request", instance_id=ENTITY_IDS, wait=WAITS, is_call=st.booleans()),
    verb("reply", to=st.integers(0, 3), is_late=st.sampled_from([False, False, True])),
    verb("end", instance_id=IDS, is_ours=st.booleans()),
)


def commit(
    status: st.SearchStrategy[RuntimeStatus],
    carried: st.SearchStrategy[int | None],
    vanishes: st.SearchStrategy[bool],
) -> st.SearchStrategy[Any]:
    return verb(
        "commit",
        which=st.sampled_from([0, 0, 1, 2, 3]),
        status=status,
        wait=WAITS,
        events=st.integers(0, 2),
        consumes=st.integers(0, 2),
        releases=st.sampled_from([False, False, True]),
        vanishes=vanishes,
        carried=carried,
        is_stale=st.sampled_from([False] * 6 + [True]),
        sends=st.one_of(st.just([]), st.lists(SENDS, max_size=4)),
        host=MAYBE_HOSTS,
    )


RUNS = st.just(RuntimeStatus.RUNNING)
STEP = commit(RUNS, st.none(), st.just(False))
FAIL = commit(st.just(RuntimeStatus.FAILED), st.none(), st.just(False))
END = commit(STATUSES, st.none(), st.booleans())
NEXT = commit(RUNS, st.integers(0, 2), st.just(False))
VANISH = commit(RUNS, st.none(), st.just(True))
START = verb(
    "start",
    instance_id=IDS,
    policy=POLICIES,
    name=st.sampled_from(["f", "f", "g"]),
    host=MAYBE_HOSTS,
    replaceable=st.one_of(st.none(), st.none(), st.frozensets(STATUSES, max_size=4)),
    tag=st.sampled_from([None, None, "t"]),
    wait=st.sampled_from([None, None, None, None, -1, 1, 15]),
)
DELIVER = verb(
    "deliver",
    instance_id=ANY_IDS,
    terminates=st.sampled_from([False, False, False, True]),
    wait=WAITS,
    host=MAYBE_HOSTS,
    is_client=st.booleans(),
)
LEASE = verb("lease", host=HOSTS, limit=st.integers(0, 3))
SELDOM = [
    verb("join"),
    verb("leave", host=st.sampled_from([0, 1, 1, 1])),
    verb("renew", host=HOSTS),
    verb("renew", host=HOSTS),
    verb("time_passes", seconds=st.sampled_from([1.0, 14.0, 29.999999, 30.0])),
    verb("time_passes", seconds=st.sampled_from([0.000001, 1.0])),
    verb("release", which=st.sampled_from([0, 0, 1, 2]), wait=WAITS),
    verb("release", which=st.sampled_from([0, 0, 1, 2]), wait=WAITS),
    verb("purge", instance_id=ANY_IDS, generation=st.one_of(st.none(), st.integers(1, 9))),
    verb(
        "list_pages",
        size=st.integers(1, 2),
        statuses=st.frozensets(STATUSES, max_size=2),
        prefix=st.sampled_from(["", "", "a", "@", "@e", "@e@", "@@"]),
        since=WAITS,
    ),
    verb("put_key", name=st.sampled_from("kl"), replaces=st.booleans()),
    verb("drop_key", name=st.sampled_from("kl")),
]
REWIND = verb("rewind", instance_id=ANY_IDS, is_failed=st.booleans(), host=MAYBE_HOSTS)
# Not one_of, which would count each kind once.
VERBS = st.sampled_from(
    [START, DELIVER, LEASE, verb("stay")] * 4
    + [STEP] * 9
    + [FAIL, REWIND] * 3
    + [END, NEXT, VANISH]
    + SELDOM
).flatmap(lambda it: it)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(VERBS, min_size=40, max_size=80))
def test_any_sequence_of_verbs_gets_the_same_answers(
    kind: str, postgres_url: str, verbs: list[tuple[str, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, new_database(postgres_url) as url:
        pair = Pair(Path(folder), kind, url)
        try:
            for name, arguments in verbs:
                getattr(pair, name)(**arguments)
                pair.both_hold_the_same()
        finally:
            pair.close()
