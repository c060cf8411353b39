"""The first half of a transaction: lock what a group wants, then read it, in one round trip.

Rows are locked in the order of their generations, in every host alike, so that no two transactions
wait for each other. What is read after the locks were given is read anew (each statement sees what
was committed before it began), so it is what the locks protect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from soloist.core.status import RuntimeStatus
from soloist.stores.postgres.arrays import Bigints, Texts
from soloist.stores.postgres.batch import Answer, Batch, Value
from soloist.stores.postgres.connection import TIMELINE, limits
from soloist.stores.postgres.creations import Creation, create_all, creating
from soloist.stores.postgres.payloads import from_column
from soloist.stores.postgres.view import Loaded, Row, View
from soloist.stores.postgres.wanted import Wanted
from soloist.stores.rows import parent_of

_NAMED = (
    "SELECT unnest(%(generations)s)"
    " UNION SELECT generation FROM soloist.instances"
    " WHERE hub_id = %(hub_id)s AND instance_id = ANY(%(ids)s)"
    " UNION SELECT generation FROM soloist.instances WHERE parent_generation = ANY(%(parents)s)"
)
_LOCK_NAMED = (
    f"SELECT generation FROM soloist.executions WHERE generation IN ({_NAMED})"
    " ORDER BY generation FOR UPDATE"
)
_LOCK = (
    "SELECT generation FROM soloist.executions WHERE generation = ANY(%s)"
    " ORDER BY generation FOR UPDATE"
)

# Payloads can be large, and so can inboxes: they are read only of what may be handed to a host.
_ROWS = (
    "SELECT i.generation, i.instance_id, i.name, i.version, i.created_at, i.parent_instance_id,"
    " i.parent_generation, i.parent_execution_id, i.parent_task_id, e.execution_id, e.status,"
    " e.owner, e.epoch, e.due_at, e.updated_at, e.history_length, e.last_message_id, e.mail,"
    " w.is_whole, i.extras, CASE WHEN w.is_whole THEN i.input END,"
    " CASE WHEN w.is_whole THEN e.custom_status END, CASE WHEN w.is_whole THEN e.output END,"
    " CASE WHEN w.is_whole THEN e.failure END,"
    " CASE WHEN w.has_inbox THEN ARRAY(SELECT m.message_id FROM soloist.inbox AS m"
    " WHERE m.generation = e.generation ORDER BY m.message_id) END,"
    " CASE WHEN w.has_inbox THEN ARRAY(SELECT m.event FROM soloist.inbox AS m"
    " WHERE m.generation = e.generation ORDER BY m.message_id) END,"
    " CASE WHEN i.instance_id = ANY(%(starts)s) THEN EXISTS (SELECT 1 FROM soloist.inbox AS m"
    " WHERE m.generation = e.generation AND m.terminates) END"
    " FROM soloist.executions AS e JOIN soloist.instances AS i ON i.generation = e.generation"
    " CROSS JOIN LATERAL (SELECT e.owner IS NULL OR e.generation = ANY(%(whole)s) AS is_whole,"
    " (%(leases)s AND e.owner IS NULL) OR e.generation = ANY(%(inboxes)s) AS has_inbox) AS w"
    f" WHERE e.generation IN ({_NAMED}) ORDER BY e.generation"
)
_OWNER, _MESSAGE_IDS, _EVENTS, _IS_ENDING = 11, 24, 25, 26

_HISTORIES = (
    "SELECT generation, events FROM soloist.history WHERE generation = ANY(%(histories)s)"
    " ORDER BY generation, sequence"
)
# A host's key is shared, so that it cannot be forgotten before this transaction ends. And between
# looking for an id and inserting it, no instance of that id may come and go: a purge waits for the
# starts under way, and they for it. Drawn when the locks are held, a generation is thus greater
# than all that its id had before. (An entity that vanishes does not wait: its generation is nobody's
# fencing token.)
_FACTS = (
    "WITH h AS (SELECT host_id, expires_at FROM soloist.hosts WHERE host_id = ANY(%(hosts)s)"
    " AND hub_id = %(hub_id)s ORDER BY host_id FOR KEY SHARE)"
    " SELECT CASE WHEN %(purges)s THEN pg_advisory_xact_lock(%(drawing)s::int, %(hub_id)s::int)"
    " WHEN %(drawn)s > 0 THEN pg_advisory_xact_lock_shared(%(drawing)s::int, %(hub_id)s::int) END,"
    " {time}, pg_current_xact_id()::text || '@' || " + TIMELINE + ","
    " ARRAY(SELECT host_id FROM h WHERE expires_at > {time})"
)
_DRAW = "SELECT nextval('soloist.generations') FROM generate_series(1, %(drawn)s)"
_DRAWING_KEY = 0x501016


class Loader:
    """Loads what groups of one hub want. ``time`` is the SQL expression of the current time.

    ``opening`` are the statements that begin a transaction.
    """

    def __init__(self, hub_id: int, time: str, is_pooled: bool) -> None:
        self._hub_id = hub_id
        self.opening = ("BEGIN", *limits("SET LOCAL")) if is_pooled else ("BEGIN",)
        self._facts = _FACTS.format(time=time)
        self._creating = creating(time)

    def begin(self, batch: Batch) -> None:
        """Begin a transaction."""
        for statement in self.opening:
            batch.add(statement)

    def lock(self, batch: Batch, generations: list[int]) -> None:
        """Lock the executions of some generations, and nothing else."""
        batch.add(_LOCK, (Bigints(generations),))

    def create(self, batch: Batch, creations: Sequence[Creation]) -> Answer:
        """Add the starts of ids that may be free, behind what guards them."""
        return create_all(batch, creations, hub_id=self._hub_id, sql=self._creating)

    def ask(self, wanted: Wanted, also: list[int]) -> Request:
        """Return what will be asked for ``wanted``; ``also`` is locked and not read."""
        return Request(self._hub_id, self._facts, wanted, also)


class Request:
    """The statements of one load, added to a batch by :meth:`lock` and :meth:`read`, and their
    answers, taken together by :meth:`loaded` when the batch has run."""

    def __init__(self, hub_id: int, facts: str, wanted: Wanted, also: list[int]) -> None:
        self._facts = facts
        self._wanted = wanted
        self._also = also
        self._values: dict[str, Value] = {
            "hub_id": hub_id,
            "ids": Texts(sorted(wanted.ids)),
            "generations": Bigints(sorted(wanted.generations)),
            "parents": Bigints(sorted(wanted.parents)),
            "whole": Bigints(sorted(wanted.whole)),
            "inboxes": Bigints(sorted(wanted.inboxes)),
            "histories": Bigints(sorted(wanted.histories)),
            "starts": Texts(sorted(wanted.starts)),
            "hosts": Bigints(sorted(wanted.hosts)),
            "leases": bool(wanted.hosts),
            "purges": wanted.purges,
            "drawing": _DRAWING_KEY,
            "drawn": wanted.generations_drawn,
        }
        self._answers: dict[str, Answer] = {}

    def guard(self, batch: Batch) -> None:
        """Keep the hosts, and the drawing of generations, as they are until the end."""
        self._answers["facts"] = batch.add(self._facts, self._values)

    def lock(self, batch: Batch) -> None:
        """Guard them, and lock what is named, in the order in which everybody does."""
        self.guard(batch)
        named = Bigints([*self._wanted.generations, *self._also])
        self._answers["locked"] = batch.add(_LOCK_NAMED, {**self._values, "generations": named})

    def read(self, batch: Batch) -> None:
        """Read what was locked."""
        self._answers["rows"] = batch.add(_ROWS, self._values)
        if self._wanted.generations_drawn:
            self._answers["drawn"] = batch.add(_DRAW, self._values)
        if self._wanted.histories:
            self._answers["histories"] = batch.add(_HISTORIES, self._values)

    def loaded(self) -> Loaded | None:
        """Return what was read, ``None`` when a row appeared after the locks were given."""
        locked = {row[0] for row in self._rows_of("locked")}
        rows = self._rows_of("rows")
        if any(row[0] not in locked for row in rows):
            return None
        (facts,) = self._rows_of("facts")
        return Loaded(
            now=facts[1],
            transaction_id=facts[2],
            generations=tuple(row[0] for row in self._rows_of("drawn")),
            live_hosts=frozenset(facts[3]),
            rows=tuple(rows),
            ending=frozenset(row[0] for row in rows if row[_IS_ENDING]),
            inboxes={
                row[0]: list(zip(row[_MESSAGE_IDS], row[_EVENTS], strict=True))
                for row in rows
                if row[_MESSAGE_IDS] is not None
            },
            histories=self._histories(),
        )

    def _rows_of(self, name: str) -> list[tuple[Any, ...]]:
        answer = self._answers.get(name)
        return [] if answer is None else answer.rows

    def _histories(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {each: [] for each in self._wanted.histories}
        for generation, events in self._rows_of("histories"):
            found[generation].append(events)
        return found


def view_of(loaded: Loaded, wanted: Wanted, hub_id: int, home: int | None) -> View:
    """Return fresh copies of what was read, to work on."""
    return View(loaded, wanted, [_row(each) for each in loaded.rows], hub_id, home)


def _row(columns: tuple[Any, ...]) -> Row:
    return Row(
        generation=columns[0],
        instance_id=columns[1],
        name=columns[2],
        version=columns[3],
        created_at=columns[4],
        parent=parent_of(columns[5:9]),
        execution_id=columns[9],
        status=RuntimeStatus(columns[10]),
        owner=columns[_OWNER],
        epoch=columns[12],
        due_at=columns[13],
        updated_at=columns[14],
        history_length=columns[15],
        last_message_id=columns[16],
        mail=columns[17],
        is_whole=columns[18],
        extras=columns[19],
        input=from_column(columns[20]),
        custom_status=from_column(columns[21]),
        output=from_column(columns[22]),
        failure=columns[23],
    )
