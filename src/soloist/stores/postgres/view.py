"""The view: rows that a transaction has locked and read, and what its operations make of them.

Operations run on it without waiting. What they change is written by ``flush`` in a few statements,
however many they are; nothing leaves this place before the commit. An operation that needs a row
which was not read raises :class:`Missing`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from soloist.core.events import (
    HistoryEvent,
    InboxEvent,
    TaskAddress,
    decode_events,
    decode_inbox_event,
    encode_inbox_event,
)
from soloist.core.instances import InboxMessage, InstanceRecord, Lease
from soloist.core.status import RuntimeStatus
from soloist.stores.postgres.wanted import Missing, Wanted
from soloist.stores.rows import due_at_of, extras_of, failure_of, terminates
from soloist.stores.times import from_micros


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A message that arrives in this transaction."""

    message_id: int
    event: InboxEvent
    text: str
    terminates: bool
    due_at: int | None


class Row:
    """One instance with its execution, as this transaction sees it.

    ``is_whole`` says that the payloads were read too. ``steps`` says that the execution itself
    has changed, not only who holds it and when it is due.
    """

    __slots__ = (
        "appended",
        "arrivals",
        "created_at",
        "custom_status",
        "cut_from",
        "due_at",
        "epoch",
        "execution_id",
        "extras",
        "failure",
        "generation",
        "has_new_input",
        "history_length",
        "input",
        "instance_id",
        "is_changed",
        "is_new",
        "is_removed",
        "is_whole",
        "last_message_id",
        "mail",
        "name",
        "output",
        "owner",
        "parent",
        "status",
        "steps",
        "updated_at",
        "used",
        "uses_all",
        "version",
    )

    def __init__(
        self,
        generation: int,
        instance_id: str,
        name: str,
        version: str | None,
        created_at: int,
        execution_id: str,
        status: RuntimeStatus,
        parent: TaskAddress | None = None,
        *,
        owner: int | None = None,
        epoch: int = 0,
        due_at: int | None = None,
        updated_at: int = 0,
        history_length: int = 0,
        last_message_id: int = 0,
        mail: bool = False,
        is_whole: bool = True,
        input: str | None = None,  # noqa: A002  # the field's word
        custom_status: str | None = None,
        output: str | None = None,
        failure: str | None = None,
        extras: str | None = None,
        is_new: bool = False,
    ) -> None:
        self.generation = generation
        self.instance_id = instance_id
        self.name = name
        self.version = version
        self.created_at = created_at
        self.execution_id = execution_id
        self.status = status
        self.parent = parent
        self.owner = owner
        self.epoch = epoch
        self.due_at = due_at
        self.updated_at = updated_at
        self.history_length = history_length
        self.last_message_id = last_message_id
        self.mail = mail
        self.is_whole = is_whole
        self.input = input
        self.custom_status = custom_status
        self.output = output
        self.failure = failure
        self.extras = extras
        self.is_new = is_new
        self.is_changed = False
        self.is_removed = False
        self.steps = False
        self.has_new_input = False
        self.arrivals: list[Arrival] = []
        self.used: set[int] = set()
        self.uses_all = is_new
        self.appended: list[tuple[int, str]] = []
        self.cut_from: int | None = 0 if is_new else None

    @property
    def record(self) -> InstanceRecord:
        """The record, which needs the payloads."""
        if not self.is_whole:
            raise Missing("whole", self.generation)
        return InstanceRecord(
            generation=self.generation,
            instance_id=self.instance_id,
            execution_id=self.execution_id,
            name=self.name,
            version=self.version,
            status=self.status,
            input=self.input,
            output=self.output,
            custom_status=self.custom_status,
            failure=failure_of(self.failure),
            created_at=from_micros(self.created_at),
            updated_at=from_micros(self.updated_at),
            history_length=self.history_length,
            parent=self.parent,
            extras=extras_of(self.extras),
        )

    def make_due(self, at: int) -> None:
        """Let somebody look at the instance then, unless that is so earlier."""
        self.due_at = at if self.due_at is None else min(self.due_at, at)
        self.is_changed = True


class Loaded(msgspec.Struct, gc=False):
    """What was read; the operations work on copies of it, for they may have to run again."""

    now: int
    transaction_id: str
    rows: tuple[tuple[object, ...], ...]
    generations: tuple[int, ...]
    live_hosts: frozenset[int]
    ending: frozenset[int]
    inboxes: dict[int, list[tuple[int, str]]]
    histories: dict[int, list[str]]


class View:
    """The rows of one transaction. ``home`` is the host of this process, which needs no telling
    of what this process does."""

    def __init__(
        self, loaded: Loaded, wanted: Wanted, rows: list[Row], hub_id: int, home: int | None
    ) -> None:
        self.now = loaded.now
        self.hub_id = hub_id
        self.home = home
        self.mailed: set[int] = set()
        self.leaves_work = False
        self.changes = 0
        self.all_rows = rows
        self._loaded = loaded
        self._wanted = wanted
        self._drawn = iter(loaded.generations)
        self._by_id = {row.instance_id: row for row in rows}
        self._by_generation = {row.generation: row for row in rows}

    def need(self, kind: str, names: Iterable[int | str]) -> None:
        """Have all of these read, at once rather than one by one; ``kind`` is a field of
        :class:`Wanted`."""
        wanted: set[int | str] = getattr(self._wanted, kind)
        missing = [each for each in names if each not in wanted]
        if missing:
            raise Missing(kind, *missing)

    def find(self, instance_id: str) -> Row | None:
        """Return the instance of that id."""
        row = self._by_id.get(instance_id)
        if row is None and instance_id not in self._wanted.ids:
            raise Missing("ids", instance_id)
        return row

    def get(self, generation: int) -> Row | None:
        """Return the instance of that generation."""
        row = self._by_generation.get(generation)
        if row is None and generation not in self._wanted.generations:
            raise Missing("generations", generation)
        return None if row is None or row.is_removed else row

    def children_of(self, row: Row) -> list[Row]:
        """Return the instances that tasks of this one wait for."""
        if not row.is_new and row.generation not in self._wanted.parents:
            raise Missing("parents", row.generation)
        found = [
            each
            for each in self._by_generation.values()
            if each.parent is not None
            and each.parent.generation == row.generation
            and not each.is_removed
        ]
        return sorted(found, key=lambda each: each.generation)

    def live(self, host_id: int | None) -> int | None:
        """Return the host id if it is a live host of the hub."""
        if host_id is not None and host_id not in self._wanted.hosts:
            raise Missing("hosts", host_id)
        return host_id if host_id in self._loaded.live_hosts else None

    def draw_generation(self) -> int:
        """Return a generation that was never used."""
        generation = next(self._drawn, None)
        if generation is None:
            raise Missing("generations_drawn")
        return generation

    def insert(self, row: Row) -> None:
        """Put a new instance under its id, which must be free."""
        self.changes += 1
        self.all_rows.append(row)
        self._by_id[row.instance_id] = row
        self._by_generation[row.generation] = row

    def remove(self, row: Row) -> None:
        """Remove an instance with all that belongs to it."""
        self.changes += 1
        row.is_removed = True
        del self._by_id[row.instance_id]

    def messages(self, row: Row) -> tuple[InboxMessage, ...]:
        """Return what waits in the inbox, in order."""
        waiting: list[InboxMessage] = []
        if not row.uses_all:
            texts = self._loaded.inboxes.get(row.generation)
            if texts is None:
                raise Missing("inboxes", row.generation)
            waiting = [
                InboxMessage(message_id, decode_inbox_event(text))
                for message_id, text in texts
                if message_id not in row.used
            ]
        waiting += [
            InboxMessage(each.message_id, each.event)
            for each in row.arrivals
            if each.message_id not in row.used
        ]
        return tuple(waiting)

    def awaits_termination(self, row: Row) -> bool:
        """Whether the end of a live instance waits in its inbox."""
        if any(each.terminates and each.message_id not in row.used for each in row.arrivals):
            return True
        if row.uses_all:
            return False
        if row.used:  # perhaps that very message
            return any(terminates(message.event) for message in self.messages(row))
        if row.instance_id not in self._wanted.starts:
            raise Missing("starts", row.instance_id)
        return row.generation in self._loaded.ending

    def history(self, row: Row) -> tuple[HistoryEvent, ...]:
        """Return the history of the current execution, which nothing here has touched yet."""
        assert not row.appended and row.cut_from is None, "a history is read before it is changed"
        texts = self._loaded.histories.get(row.generation)
        if texts is None:
            raise Missing("histories", row.generation)
        return tuple(event for text in texts for event in decode_events(text))

    def put(self, row: Row, event: InboxEvent) -> int:
        """Put a message into an inbox and return its id; tell the holder if it is elsewhere."""
        self.changes += 1
        row.is_changed = True
        row.last_message_id += 1
        row.arrivals.append(
            Arrival(
                row.last_message_id,
                event,
                encode_inbox_event(event),
                terminates(event),
                due_at_of(event),
            )
        )
        if row.owner is not None and row.owner != self.home:
            row.mail = True
            self.mailed.add(row.owner)
        return row.last_message_id

    def announce(self, row: Row) -> None:
        """Let the holder be told of its mail at its next look, if no receipt tells it."""
        if row.owner is not None:
            self.changes += 1
            row.is_changed = True
            row.mail = True
            self.mailed.add(row.owner)

    def use(self, row: Row, message_ids: tuple[int, ...]) -> None:
        """Remove messages from an inbox."""
        self.changes += 1
        row.used.update(message_ids)

    def use_all(self, row: Row) -> None:
        """Empty an inbox."""
        self.changes += 1
        row.uses_all = True
        row.used.clear()
        row.arrivals.clear()

    def lease(self, row: Row, host_id: int) -> Lease:
        """Hand an instance to a host; what an earlier holder commits is stale from now on."""
        lease = Lease(record=row.record, epoch=row.epoch + 1, messages=self.messages(row))
        self.changes += 1
        row.owner = host_id
        row.epoch += 1
        row.mail = False
        row.is_changed = True
        return lease

    def release(self, row: Row, retry_at: int | None = None) -> None:
        """Take the instance from its holder; it is due when its first message is, or as its last
        commit said, but not before ``retry_at``."""
        waiting = self.messages(row)
        self.changes += 1
        row.owner = None
        row.mail = False
        row.is_changed = True
        for message in waiting:
            due_at = due_at_of(message.event)
            row.make_due(self.now if due_at is None else due_at)
        if retry_at is not None and row.due_at is not None:
            row.due_at = max(row.due_at, retry_at)
