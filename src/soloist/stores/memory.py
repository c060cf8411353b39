"""The store in memory: the reference model that the databases are compared with.

Everything is plain dictionaries on one event loop. No verb waits, so each is a transaction by
itself. Nothing survives the process.

Several stores may share one :class:`MemoryState`, like several processes on one database; it
admits any number of hosts, each until its lease expires.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TypeGuard

import msgspec

from soloist.contracts.clock import Clock
from soloist.core.events import (
    EventRaised,
    HistoryEvent,
    InboxEvent,
    SubOrchestrationInstanceCreated,
    TaskAddress,
)
from soloist.core.ids import is_entity_id
from soloist.core.instances import (
    AccessKey,
    Backlog,
    CommitReceipt,
    DeliverReceipt,
    Durability,
    Hold,
    HostRecord,
    InboxMessage,
    InstancePage,
    InstanceQuery,
    InstanceRecord,
    LeaseGrant,
    StartReceipt,
    StartRequest,
)
from soloist.core.messages import (
    Outgoing,
    PassEvent,
    Reply,
    SendRequest,
    StartChild,
    TerminateChild,
    asks_already,
    call_of,
    child_of,
    outlives_execution,
    parent_replaced,
    purged_entity,
    refused_child,
    replaced_child,
)
from soloist.core.outcomes import NextExecution, Outcome, record_after
from soloist.core.policy import StartDecision, decide_start
from soloist.core.rewind import rewound
from soloist.core.status import RuntimeStatus
from soloist.core.work import Lacks
from soloist.errors import (
    InstanceExists,
    InstanceFinished,
    InstanceNotFailed,
    InstanceNotFound,
    InstanceUnfinished,
    StoreUnavailable,
)
from soloist.stores.memory_state import (
    Hub,
    Instance,
    MemoryState,
    Moved,
    due_at_of,
    entity_record,
    record_of,
    task_of,
)
from soloist.stores.paging import fold_case, start_of, token_after


class MemoryStore:
    """One task hub of a :class:`MemoryState`. See ``contracts.store`` for every verb's promise."""

    def __init__(
        self, state: MemoryState, *, task_hub: str, clock: Clock, lease_seconds: float
    ) -> None:
        self._state = state
        self._task_hub = task_hub
        self._clock = clock
        self._lease_span = timedelta(seconds=lease_seconds)
        self._opened: Hub | None = None
        self._host_id: int | None = None
        self._mail_seen = 0

    @property
    def clock(self) -> Clock:
        """The clock it was given."""
        return self._clock

    async def hubs(self) -> tuple[str, ...]:
        """Name the hubs of the state."""
        return self._state.hub_names

    async def open(self) -> None:
        """Create the hub when there is none."""
        self._opened = self._state.hub(self._task_hub)
        self._mail_seen = self._state.last_message_id

    async def close(self) -> None:
        """Let go; a host that did not leave is gone when its lease expires."""
        self._opened = None

    async def join(
        self, name: str, *, address: str = "", version: str = "", app_version: str | None = None
    ) -> int:
        """Enter as a host; the host that this same store entered earlier is gone."""
        hub = self._hub
        if self._host_id is not None:
            await self.leave(self._host_id)
        self._host_id = self._state.next_host_id()
        now = self._clock.now()
        hub.hosts[self._host_id] = HostRecord(
            host_id=self._host_id,
            name=name,
            address=address,
            version=version,
            app_version=app_version,
            process_id=os.getpid(),
            machine=socket.gethostname(),
            joined_at=now,
            renewed_at=now,
            is_live=True,
            held=0,
        )
        return self._host_id

    async def renew(self, host_id: int, lacks: Lacks | None = None) -> bool:
        """Prolong all leases of the host, and keep what it lacks."""
        record = self._hub.hosts.get(host_id)
        if record is None:
            return False
        now = self._clock.now()
        self._hub.hosts[host_id] = msgspec.structs.replace(record, renewed_at=now, lacks=lacks)
        return True

    async def leave(self, host_id: int) -> None:
        """Give back every lease of the host."""
        self._hub.take_over(host_id, self._clock.now())

    async def hosts(self) -> tuple[HostRecord, ...]:
        """Return every host of the hub."""
        return tuple(
            msgspec.structs.replace(
                record,
                is_live=self._is_live(host_id),
                held=sum(each.owner == host_id for each in self._hub.instances.values()),
            )
            for host_id, record in sorted(self._hub.hosts.items())
        )

    def on_news(self, call: Callable[[], None]) -> None:
        """There is none: stores that share a state are found by polling."""

    async def start(self, request: StartRequest, host_id: int | None) -> StartReceipt:
        """Check, decide, replace and insert as one step."""
        moved = Moved(None)
        decision, record, replaced = self._start(request, moved)
        lease = None
        if decision is not StartDecision.RETURN and self._is_live(host_id):
            instance = self._hub.by_generation[record.generation]
            if instance.due_at is not None and instance.due_at <= self._clock.now():
                lease = instance.lease_to(host_id)
        return StartReceipt(
            decision=decision,
            record=record,
            lease=lease,
            replaced=replaced,
            mail=(*moved.mail, *(each for each in moved.due if each != record.generation)),
        )

    def _start(
        self, request: StartRequest, moved: Moved
    ) -> tuple[StartDecision, InstanceRecord, int | None]:
        existing = self._hub.instances.get(request.instance_id)
        decision = _decide(request, existing)
        if existing is not None and decision is StartDecision.RETURN:
            return decision, existing.record, None
        if existing is not None and decision is StartDecision.CONFLICT:
            record = existing.record
            raise InstanceExists(
                record.instance_id, record.status.value, record.created_at.isoformat()
            )
        if existing is not None:
            self._replace(existing, request.at, moved)
        instance = Instance(record_of(request, self._state), self._begins_at(request))
        self._hub.insert(instance)
        moved.touch(instance)
        replaced = existing.record.generation if existing is not None else None
        return decision, instance.record, replaced

    def _begins_at(self, request: StartRequest) -> datetime:
        now = self._clock.now()
        start_at = None if request.extras is None else request.extras.start_at
        return now if start_at is None else max(now, start_at)

    def _replace(self, existing: Instance, at: datetime, moved: Moved) -> None:
        """Remove an instance; a live one's children end, and whoever waits for it learns of it."""
        record = existing.record
        self._hub.remove(existing)
        moved.forget(existing)
        if record.status.is_terminal:
            return
        if record.parent is not None:
            self._reply(replaced_child(record.parent, at), moved)
        for child in self._hub.instances.values():
            parent = child.record.parent
            is_ours = parent is not None and parent.generation == record.generation
            if is_ours and not child.record.status.is_terminal:
                self._put(child, parent_replaced(at), moved)

    async def deliver(
        self, instance_id: str, event: InboxEvent, host_id: int | None
    ) -> DeliverReceipt:
        """Put a message into the inbox and make the instance due."""
        instance = self._hub.instances.get(instance_id)
        if instance is None and is_entity_id(instance_id):
            instance = self._new_entity(instance_id, event.at)
        if instance is None:
            raise InstanceNotFound(instance_id)
        if instance.record.status.is_terminal:
            raise InstanceFinished(instance_id, instance.record.status.value)
        moved = Moved(host_id if self._is_live(host_id) else None)
        message = self._put(instance, event, moved)
        receipt = moved.settle(self._clock.now())
        if message.message_id == self._mail_seen + 1:
            self._mail_seen = message.message_id
        return DeliverReceipt(
            generation=instance.record.generation,
            message_id=message.message_id,
            lease=receipt.leases[0] if receipt.leases else None,
        )

    def _put(self, instance: Instance, event: InboxEvent, moved: Moved) -> InboxMessage:
        message = self._state.message(event)
        instance.inbox.append(message)
        if instance.owner is None:
            instance.make_due(due_at_of(event) or self._clock.now())
        moved.touch(instance)
        return message

    def _new_entity(self, instance_id: str, at: datetime) -> Instance:
        instance = Instance(entity_record(instance_id, at, self._state), None)
        self._hub.insert(instance)
        return instance

    async def lease(
        self, host_id: int, limit: int, leaves: frozenset[str] = frozenset()
    ) -> LeaseGrant:
        """Lease due instances, the longest due first."""
        if not self._is_live(host_id):
            return LeaseGrant()
        now = self._clock.now()
        gone = [each for each in self._hub.hosts if not self._is_live(each)]
        taken_over = tuple(filter(None, (self._hub.take_over(each, now) for each in gone)))
        mail = self._mail_for(host_id)
        waiting = [each for each in self._waiting(leaves) if each[0] <= now]
        waiting.sort(key=lambda each: (each[0], each[1].record.generation))
        leases = tuple(instance.lease_to(host_id) for _, instance in waiting[:limit])
        return LeaseGrant(
            leases=leases,
            mail=mail,
            next_due_at=self._next_due_at(leaves),
            taken_over=taken_over,
        )

    async def release(self, generation: int, epoch: int, retry_at: datetime | None = None) -> None:
        """Give a lease back."""
        instance = self._find(generation)
        if instance is not None and instance.owner is not None and instance.epoch == epoch:
            instance.give_back(self._clock.now(), retry_at)

    async def commit(self, outcome: Outcome, host_id: int | None = None) -> CommitReceipt | None:
        """Commit one step unless it is stale."""
        instance = self._find(outcome.generation)
        if instance is None or not _is_current(instance, outcome):
            return None
        consumed = set(outcome.consumed)
        instance.inbox = [each for each in instance.inbox if each.message_id not in consumed]
        if outcome.next_execution is not None:
            self._begin_next(instance, outcome, outcome.next_execution)
        else:
            self._record_step(instance, outcome)
        moved = Moved(host_id if self._is_live(host_id) else None)
        for message in outcome.outgoing:
            self._send(message, moved)
        return moved.settle(self._clock.now())

    def _send(self, message: Outgoing, moved: Moved) -> None:
        match message:
            case StartChild():
                self._start_child(message.request, moved)
            case Reply():
                self._reply(message, moved)
            case SendRequest():
                self._request(message, moved)
            case TerminateChild():
                self._terminate(message, moved)
            case PassEvent():
                self._pass_event(message, moved)

    def _pass_event(self, message: PassEvent, moved: Moved) -> None:
        waiting = self._hub.instances.get(message.instance_id)
        if waiting is None or waiting.record.status.is_terminal:
            return
        if not is_entity_id(message.instance_id):
            self._put(waiting, message.event, moved)

    def _terminate(self, message: TerminateChild, moved: Moved) -> None:
        child = self._hub.instances.get(message.instance_id)
        is_ours = child is not None and child.record.parent == message.parent
        if child is not None and is_ours and not child.record.status.is_terminal:
            self._put(child, message.event, moved)

    def _start_child(self, request: StartRequest, moved: Moved) -> None:
        try:
            _, _, replaced = self._start(request, moved)
        except InstanceExists as refusal:
            if request.parent is not None:
                refused = refused_child(refusal, request.parent.task_id, request.at)
                self._reply(Reply(request.parent, refused), moved)
        else:
            if replaced is not None:
                moved.replaced.append(replaced)

    def _reply(self, reply: Reply, moved: Moved) -> None:
        waiting = self._find(reply.to.generation)
        if waiting is None or waiting.record.status.is_terminal:
            return
        if waiting.record.execution_id == reply.to.execution_id:
            self._put(waiting, reply.event, moved)

    def _request(self, request: SendRequest, moved: Moved) -> None:
        entity = self._hub.instances.get(request.entity_id)
        if entity is None:
            entity = self._new_entity(request.entity_id, request.event.at)
        self._put(entity, request.event, moved)

    async def inbox(self, generation: int, after: int) -> tuple[InboxMessage, ...]:
        """Return waiting messages in order."""
        instance = self._find(generation)
        messages = instance.inbox if instance is not None else []
        return tuple(each for each in messages if each.message_id > after)

    async def hold(self, generation: int) -> Hold | None:
        """Return who holds an instance and when it is due."""
        found = self._find(generation)
        return None if found is None else Hold(found.owner, found.due_at)

    async def history(self, generation: int) -> tuple[HistoryEvent, ...]:
        """Return the history of the current execution."""
        instance = self._find(generation)
        return tuple(instance.history) if instance is not None else ()

    async def read(self, instance_id: str) -> InstanceRecord | None:
        """Return one instance."""
        instance = self._hub.instances.get(instance_id)
        return instance.record if instance is not None else None

    async def query(self, query: InstanceQuery) -> InstancePage:
        """Return one page of instances."""
        after = start_of(query)
        matching = sorted(
            (each.record for each in self._hub.instances.values() if _matches(each.record, query)),
            key=lambda record: record.generation,
        )
        rest = [record for record in matching if record.generation > after]
        page = tuple(rest[: query.page_size])
        has_more = len(rest) > query.page_size
        return InstancePage(page, token_after(page[-1].generation) if has_more else None)

    async def purge(self, instance_id: str, generation: int | None = None) -> RuntimeStatus | None:
        """Remove a finished instance, or an entity."""
        instance = self._hub.instances.get(instance_id)
        if instance is None or generation not in (None, instance.record.generation):
            return None
        status = instance.record.status
        if not (status.is_terminal or is_entity_id(instance_id)):
            raise InstanceUnfinished(instance_id, status.value)
        self._hub.remove(instance)
        for reply in purged_entity(instance.inbox, self._clock.now()):
            self._reply(reply, Moved(None))
        return status

    async def rewind(
        self, instance_id: str, reason: str | None, at: datetime, host_id: int | None
    ) -> CommitReceipt:
        """Take back the failure of an instance and of what it rests on."""
        instance = self._hub.instances.get(instance_id)
        if instance is None or is_entity_id(instance_id):
            raise InstanceNotFound(instance_id)
        if instance.record.status is not RuntimeStatus.FAILED:
            raise InstanceNotFailed(instance_id, instance.record.status.value)
        moved = Moved(host_id if self._is_live(host_id) else None)
        self._rewind(instance, reason, at, moved)
        return moved.settle(self._clock.now())

    def _rewind(self, instance: Instance, reason: str | None, at: datetime, moved: Moved) -> None:
        rewinding = rewound(instance.history, reason, at)
        record = instance.record
        instance.history = list(rewinding.history)
        instance.record = msgspec.structs.replace(
            record,
            status=RuntimeStatus.RUNNING,
            output=None,
            failure=None,
            updated_at=at,
            history_length=len(instance.history),
        )
        instance.due_at = self._clock.now()
        for event in rewinding.mail:
            self._put(instance, event, moved)
        for child in rewinding.children:
            self._rewind_child(child, task_of(record, child.task_id), reason, at, moved)
        for call in rewinding.calls:
            self._call_again(call_of(call, at, task_of(record, call.task_id)), moved)

    def _rewind_child(
        self,
        created: SubOrchestrationInstanceCreated,
        parent: TaskAddress,
        reason: str | None,
        at: datetime,
        moved: Moved,
    ) -> None:
        """Rewind a failed child; one that is gone, or is not ours any more, is started again."""
        child = self._hub.instances.get(created.instance_id)
        if (
            child is not None
            and child.record.parent == parent
            and child.record.status is RuntimeStatus.FAILED
        ):
            self._rewind(child, reason, at, moved)
        else:
            self._send(child_of(created, at, parent), moved)

    def _call_again(self, message: SendRequest | Reply, moved: Moved) -> None:
        """Send a call of an entity once more, unless it waits there still."""
        if isinstance(message, SendRequest) and message.caller is not None:
            entity = self._hub.instances.get(message.entity_id)
            if entity is not None and asks_already(entity.inbox, message.caller):
                return
        self._send(message, moved)

    async def durability(self) -> Durability:
        """Nothing outlives the process."""
        return Durability(False, False, "The hub is in memory and ends with its process.")

    async def backlog(self) -> Backlog:
        """Count what is due and what is held."""
        now = self._clock.now()
        due = [due_at for due_at, _ in self._waiting() if due_at <= now]
        held = sum(1 for each in self._hub.instances.values() if each.owner is not None)
        return Backlog(due=len(due), held=held, oldest_due_at=min(due, default=None))

    async def keys(self) -> tuple[AccessKey, ...]:
        """Return every access key."""
        return tuple(self._hub.keys[each] for each in sorted(self._hub.keys))

    async def put_key(self, key: AccessKey, *, replaces: bool = False) -> AccessKey:
        """Store a key."""
        place = (key.scope, key.name)
        if replaces:
            self._hub.keys[place] = key
        return self._hub.keys.setdefault(place, key)

    async def drop_key(self, scope: str, name: str) -> bool:
        """Remove a key."""
        return self._hub.keys.pop((scope, name), None) is not None

    @property
    def _hub(self) -> Hub:
        if self._opened is None:
            raise StoreUnavailable(f"The store of task hub '{self._task_hub}' is not open.")
        return self._opened

    def _is_live(self, host_id: int | None) -> TypeGuard[int]:
        record = None if host_id is None else self._hub.hosts.get(host_id)
        return record is not None and record.renewed_at + self._lease_span > self._clock.now()

    def _waiting(self, leaves: frozenset[str] = frozenset()) -> Iterator[tuple[datetime, Instance]]:
        for instance in self._hub.instances.values():
            is_left = (instance.record.version or "") in leaves
            if instance.owner is None and instance.due_at is not None and not is_left:
                yield instance.due_at, instance

    def _next_due_at(self, leaves: frozenset[str]) -> datetime | None:
        return min((due_at for due_at, _ in self._waiting(leaves)), default=None)

    def _mail_for(self, host_id: int) -> tuple[int, ...]:
        seen, self._mail_seen = self._mail_seen, self._state.last_message_id
        return tuple(
            sorted(
                instance.record.generation
                for instance in self._hub.instances.values()
                if instance.owner == host_id
                and any(message.message_id > seen for message in instance.inbox)
            )
        )

    def _find(self, generation: int) -> Instance | None:
        return self._hub.by_generation.get(generation)

    def _record_step(self, instance: Instance, outcome: Outcome) -> None:
        instance.history += outcome.events
        instance.due_at = outcome.due_at
        instance.record = record_after(instance.record, outcome)
        if outcome.vanishes and not instance.inbox:
            self._hub.remove(instance)
        elif outcome.status.is_terminal:
            instance.inbox.clear()
            instance.owner = instance.due_at = None
        elif outcome.releases:
            instance.give_back(self._clock.now())

    def _begin_next(self, instance: Instance, outcome: Outcome, following: NextExecution) -> None:
        instance.history.clear()
        instance.due_at = self._clock.now()
        instance.record = record_after(instance.record, outcome)
        instance.inbox = [each for each in instance.inbox if outlives_execution(each.event)]
        if following.carried:
            # Carried events come first: what waited already is numbered anew behind them.
            events: list[InboxEvent] = [
                EventRaised(outcome.at, each.name, each.input) for each in following.carried
            ]
            events += [message.event for message in instance.inbox]
            instance.inbox = [self._state.message(event) for event in events]
        if outcome.releases:
            instance.give_back(self._clock.now())


def _decide(request: StartRequest, existing: Instance | None) -> StartDecision:
    if existing is None:
        return decide_start(request.policy, existing=None, same_function=False)
    status = existing.record.status
    return decide_start(
        request.policy,
        existing=RuntimeStatus.TERMINATED if existing.awaits_termination else status,
        same_function=existing.record.name == request.name,
        replaceable=request.replaceable,
    )


def _is_current(instance: Instance, outcome: Outcome) -> bool:
    return (
        instance.owner is not None
        and instance.epoch == outcome.epoch
        and instance.record.execution_id == outcome.execution_id
        and instance.record.history_length == outcome.history_length
    )


def _matches(record: InstanceRecord, query: InstanceQuery) -> bool:
    names = {fold_case(name) for name in query.names}
    return (
        record.instance_id.startswith(query.instance_id_prefix)
        and is_entity_id(record.instance_id) == is_entity_id(query.instance_id_prefix)
        and (not names or fold_case(record.name) in names)
        and (not query.statuses or record.status in query.statuses)
        and (query.created_from is None or record.created_at >= query.created_from)
        and (query.created_to is None or record.created_at <= query.created_to)
        and (query.updated_from is None or record.updated_at >= query.updated_from)
        and (query.updated_to is None or record.updated_at <= query.updated_to)
    )
