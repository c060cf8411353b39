"""What the store in memory holds: its rows, its counters, and what one transaction moves."""

from __future__ import annotations

from datetime import datetime

from soloist.core.events import (
    EntityRequested,
    ExecutionTerminated,
    HistoryEvent,
    InboxEvent,
    TaskAddress,
)
from soloist.core.ids import parse_entity_id, timer_function
from soloist.core.instances import (
    AccessKey,
    CommitReceipt,
    HostRecord,
    InboxMessage,
    InstanceRecord,
    Lease,
    StartRequest,
    TakenOver,
)
from soloist.core.status import RuntimeStatus


class Instance:
    """One row: what is known of an instance and what belongs to its execution."""

    def __init__(self, record: InstanceRecord, due_at: datetime | None) -> None:
        self.record = record
        self.due_at = due_at
        self.owner: int | None = None
        self.epoch = 0
        self.history: list[HistoryEvent] = []
        self.inbox: list[InboxMessage] = []

    @property
    def awaits_termination(self) -> bool:
        """Whether somebody asked for the end and no episode has seen it yet."""
        return any(isinstance(message.event, ExecutionTerminated) for message in self.inbox)

    def lease_to(self, host_id: int) -> Lease:
        """Hand the instance to a host; what an earlier holder commits is stale from now on."""
        self.owner = host_id
        self.epoch += 1
        return Lease(record=self.record, epoch=self.epoch, messages=tuple(self.inbox))

    def give_back(self, now: datetime, retry_at: datetime | None = None) -> None:
        """Take the instance from its holder; it is due when its first message is."""
        self.owner = None
        for message in self.inbox:
            self.make_due(due_at_of(message.event) or now)
        if retry_at is not None and self.due_at is not None:
            self.due_at = max(self.due_at, retry_at)

    def make_due(self, at: datetime) -> None:
        """Let somebody look at the instance then, unless that is so earlier."""
        self.due_at = at if self.due_at is None else min(self.due_at, at)


def due_at_of(event: InboxEvent) -> datetime | None:
    """Return when a message is due, ``None`` for at once."""
    return event.due_at if isinstance(event, EntityRequested) else None


class Moved:
    """What one transaction moves elsewhere, on its way to becoming a receipt."""

    def __init__(self, host_id: int | None) -> None:
        self.host_id = host_id
        self.due: dict[int, Instance] = {}
        self.mail: dict[int, None] = {}
        self.replaced: list[int] = []

    def touch(self, instance: Instance) -> None:
        """Remember an instance that has something new to do."""
        generation = instance.record.generation
        if instance.owner is None:
            self.due[generation] = instance
        else:
            self.mail[generation] = None

    def forget(self, instance: Instance) -> None:
        """Leave out an instance that the same transaction removed again."""
        self.due.pop(instance.record.generation, None)
        self.mail.pop(instance.record.generation, None)

    def settle(self, now: datetime) -> CommitReceipt:
        """Lease what is due to the host, if there is one."""
        waiting = [
            each
            for each in self.due.values()
            if each.owner is None and each.due_at is not None and each.due_at <= now
        ]
        leases: tuple[Lease, ...] = ()
        if self.host_id is not None:
            leases = tuple(each.lease_to(self.host_id) for each in waiting)
        return CommitReceipt(
            leases=leases,
            mail=tuple(self.mail),
            replaced=tuple(self.replaced),
            waits=len(self.due) > len(leases),
        )


class Hub:
    """One task hub's rows."""

    def __init__(self) -> None:
        self.instances: dict[str, Instance] = {}
        self.by_generation: dict[int, Instance] = {}
        self.hosts: dict[int, HostRecord] = {}
        self.keys: dict[tuple[str, str], AccessKey] = {}

    def insert(self, instance: Instance) -> None:
        """Put an instance under its id, which must be free."""
        self.instances[instance.record.instance_id] = instance
        self.by_generation[instance.record.generation] = instance

    def remove(self, instance: Instance) -> None:
        """Forget an instance with all that belongs to it."""
        del self.instances[instance.record.instance_id]
        del self.by_generation[instance.record.generation]

    def take_over(self, host_id: int, now: datetime) -> TakenOver | None:
        """Take everything from a host and forget it; ``None`` when there is none."""
        record = self.hosts.pop(host_id, None)
        if record is None:
            return None
        held = [each for each in self.instances.values() if each.owner == host_id]
        for instance in held:
            instance.give_back(now)
        return TakenOver(host_id, record.name, len(held))


class MemoryState:
    """What a database file would hold; its counters never go back."""

    def __init__(self) -> None:
        self._hubs: dict[str, Hub] = {}
        self._last_generation = 0
        self._last_host_id = 0
        self.last_message_id = 0

    @property
    def hub_names(self) -> tuple[str, ...]:
        """The task hubs, in the order in which they were made."""
        return tuple(self._hubs)

    def hub(self, task_hub: str) -> Hub:
        """Return a task hub, created when there is none of that name."""
        return self._hubs.setdefault(task_hub, Hub())

    def next_generation(self) -> int:
        """Draw a generation, never drawn before in any hub."""
        self._last_generation += 1
        return self._last_generation

    def next_host_id(self) -> int:
        """Draw a host id."""
        self._last_host_id += 1
        return self._last_host_id

    def message(self, event: InboxEvent) -> InboxMessage:
        """Number an event in the order of arrival."""
        self.last_message_id += 1
        return InboxMessage(self.last_message_id, event)


def record_of(request: StartRequest, state: MemoryState) -> InstanceRecord:
    """Return the record of an instance that begins."""
    return InstanceRecord(
        generation=state.next_generation(),
        instance_id=request.instance_id,
        execution_id=request.execution_id,
        name=request.name,
        version=request.version,
        status=RuntimeStatus.PENDING,
        input=request.input,
        output=None,
        custom_status=None,
        failure=None,
        created_at=request.at,
        updated_at=request.at,
        history_length=0,
        parent=request.parent,
        extras=request.extras,
    )


def entity_record(instance_id: str, at: datetime, state: MemoryState) -> InstanceRecord:
    """Return the record of an entity that comes into being."""
    timer = timer_function(instance_id)
    name = parse_entity_id(instance_id).name if timer is None else timer
    return InstanceRecord(
        generation=state.next_generation(),
        instance_id=instance_id,
        execution_id="",
        name=name,
        version=None,
        status=RuntimeStatus.RUNNING,
        input=None,
        output=None,
        custom_status=None,
        failure=None,
        created_at=at,
        updated_at=at,
        history_length=0,
    )


def task_of(record: InstanceRecord, task_id: int) -> TaskAddress:
    """Return the address of a task of an instance."""
    return TaskAddress(record.instance_id, record.generation, record.execution_id, task_id)
