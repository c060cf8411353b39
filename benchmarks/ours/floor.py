"""The floor: the least that the rows of Soloist cost a Python program.

A bare loop runs hello sequences and writes the rows that Soloist writes for them, in its tables,
by group commit in groups as large as Soloist's: what is in one goes on when that is durable.
Orchestrators are generators, activities are called in place. There is no worker process, no client,
no lease, no fence, no other host and no recovery. Run: ``python -m benchmarks.ours.floor STORE_URL``.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Protocol
from uuid import uuid4

import msgspec
import psycopg

from benchmarks.program import latencies, serve
from soloist.contracts.clock import SystemClock
from soloist.core.events import (
    CODEC_VERSION,
    ExecutionCompleted,
    ExecutionStarted,
    HistoryEvent,
    OrchestratorStarted,
    TaskCompleted,
    TaskScheduled,
    encode_events,
)
from soloist.core.status import RuntimeStatus
from soloist.stores import store_at
from soloist.stores.postgres.arrays import Bigints, Texts, understand_arrays
from soloist.stores.times import to_micros

_HUB = 1
_OWNER = 1
_EPOCH = 1
_NAME = "Hello"

GROUP_OPERATIONS = 33
"""How many starts and steps Soloist's writer was seen to commit together, 100 being outstanding."""


class Start(msgspec.Struct, frozen=True):
    """The rows of a start."""

    generation: int
    instance_id: str
    execution_id: str
    at: int


class Step(msgspec.Struct, frozen=True):
    """The rows of a step: an execution changed, a row of history appended."""

    generation: int
    sequence: int
    length: int
    status: str
    owner: int | None
    output: str | None
    at: int
    events: str


class Rows(Protocol):
    """Where rows are written."""

    def write(self, starts: Sequence[Start], steps: Sequence[Step]) -> None:
        """Write a group in one transaction and return when it is durable."""


class SqliteRows:
    """The tables in a file."""

    def __init__(self, path: str) -> None:
        self._file = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 4000"):
            self._file.execute(f"PRAGMA {pragma}")

    def write(self, starts: Sequence[Start], steps: Sequence[Step]) -> None:
        """Write a group in one transaction and return when it is durable."""
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany(
            "INSERT INTO instances (generation, hub_id, instance_id, name, created_at)"
            f" VALUES (?, {_HUB}, ?, '{_NAME}', ?)",
            [(each.generation, each.instance_id, each.at) for each in starts],
        )
        self._file.executemany(
            "INSERT INTO executions (generation, hub_id, execution_id, status, owner, epoch,"
            f" due_at, updated_at, history_length) VALUES (?, {_HUB}, ?, 'Pending', {_OWNER},"
            f" {_EPOCH}, ?, ?, 0)",
            [(each.generation, each.execution_id, each.at, each.at) for each in starts],
        )
        self._file.executemany(
            "UPDATE executions SET status = ?, owner = ?, due_at = NULL, updated_at = ?,"
            " history_length = ?, output = ? WHERE generation = ?",
            [
                (each.status, each.owner, each.at, each.length, each.output, each.generation)
                for each in steps
            ],
        )
        self._file.executemany(
            "INSERT INTO history (generation, sequence, codec, events)"
            f" VALUES (?, ?, {CODEC_VERSION}, ?)",
            [(each.generation, each.sequence, each.events) for each in steps],
        )
        self._file.execute("COMMIT")


class PostgresRows:
    """The tables in a database; each is written by one statement whose columns are arrays."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)
        understand_arrays(self._connection)
        # A table that was empty a moment ago is planned for as if it were: search by its index.
        for way in ("seqscan", "hashjoin", "mergejoin"):
            self._connection.execute(f"SET enable_{way} = off".encode())

    def write(self, starts: Sequence[Start], steps: Sequence[Step]) -> None:
        """Write a group in one transaction and return when it is durable."""
        with self._connection.pipeline():  # what goes out together is one transaction
            if starts:
                self._write_starts(starts)
            if steps:
                self._write_steps(steps)

    def _write_starts(self, starts: Sequence[Start]) -> None:
        self._connection.execute(
            "WITH n AS MATERIALIZED (SELECT * FROM unnest(%s, %s, %s, %s)"
            " AS n (generation, instance_id, execution_id, at)),"
            " i AS (INSERT INTO soloist.instances (generation, hub_id, instance_id, name,"
            f" created_at) SELECT generation, {_HUB}, instance_id, '{_NAME}', at FROM n)"
            " INSERT INTO soloist.executions (generation, hub_id, execution_id, status, owner,"
            " epoch, due_at, updated_at, history_length) SELECT generation,"
            f" {_HUB}, execution_id, 'Pending', {_OWNER}, {_EPOCH}, at, at, 0 FROM n",
            (
                Bigints([each.generation for each in starts]),
                Texts([each.instance_id for each in starts]),
                Texts([each.execution_id for each in starts]),
                Bigints([each.at for each in starts]),
            ),
        )

    def _write_steps(self, steps: Sequence[Step]) -> None:
        self._connection.execute(
            "WITH n AS MATERIALIZED (SELECT * FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s) AS n"
            " (generation, sequence, length, status, owner, output, at, events)),"
            " stepped AS (UPDATE soloist.executions AS e SET status = n.status, owner = n.owner,"
            " due_at = NULL, updated_at = n.at, history_length = n.length, output = n.output"
            " FROM n WHERE e.generation = n.generation)"
            " INSERT INTO soloist.history (generation, sequence, codec, events)"
            f" SELECT generation, sequence, {CODEC_VERSION}, events FROM n",
            (
                Bigints([each.generation for each in steps]),
                Bigints([each.sequence for each in steps]),
                Bigints([each.length for each in steps]),
                Texts([each.status for each in steps]),
                Bigints([each.owner for each in steps]),
                Texts([each.output for each in steps]),
                Bigints([each.at for each in steps]),
                Texts([each.events for each in steps]),
            ),
        )


def _hello_sequence() -> Generator[str, str, list[str]]:
    greetings = []
    for city in ("Tokyo", "Seattle", "London"):
        greetings.append((yield city))
    return greetings


def _say_hello(city: str) -> str:
    return f"Hello {city}!"


class Instance:
    """One hello sequence on its way."""

    def __init__(self, generation: int) -> None:
        self.is_born = False
        self.is_over = False
        self._generation = generation
        self._execution_id = uuid4().hex
        self._code = _hello_sequence()
        self._length = 0
        self._task_id = 0
        self._open: str | None = None

    def started(self) -> Start:
        """Return the rows of its start."""
        at = to_micros(datetime.now(UTC))
        return Start(self._generation, f"floor-{self._generation}", self._execution_id, at)

    def stepped(self) -> Step:
        """Do the activity that is open, show the code its result, return the rows of that."""
        at = datetime.now(UTC)
        events: list[HistoryEvent] = []
        if self._open is None:
            events += (
                OrchestratorStarted(at),
                ExecutionStarted(at, _NAME, self._execution_id),
            )
            output = self._turn(None, at, events)
        else:
            result = _say_hello(self._open)
            encoded = msgspec.json.encode(result).decode()
            events += (
                TaskCompleted(at, self._task_id, encoded),
                OrchestratorStarted(at),
            )
            output = self._turn(result, at, events)
        sequence, self._length = self._length, self._length + len(events)
        return Step(
            generation=self._generation,
            sequence=sequence,
            length=self._length,
            status=RuntimeStatus.COMPLETED if self.is_over else RuntimeStatus.RUNNING,
            owner=None if self.is_over else _OWNER,
            output=output,
            at=to_micros(at),
            events=encode_events(events),
        )

    def _turn(self, result: str | None, at: datetime, events: list[HistoryEvent]) -> str | None:
        try:
            self._open = next(self._code) if result is None else self._code.send(result)
        except StopIteration as ended:
            self.is_over = True
            output = msgspec.json.encode(ended.value).decode()
            events.append(ExecutionCompleted(at, RuntimeStatus.COMPLETED, output))
            return output
        self._task_id += 1
        events.append(TaskScheduled(at, self._task_id, "say_hello", f'"{self._open}"'))
        return None


class Workloads:
    """What is measured."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._generations = count(1)

    def hello(self, *, outstanding: int, seconds: float) -> dict[str, float]:
        """Hello sequences, so many outstanding."""
        began = time.perf_counter()
        done = 0
        ready = deque(self._new() for _ in range(outstanding))
        while ready:
            ended = self._commit(ready)
            done += ended
            if time.perf_counter() - began < seconds:
                ready.extend(self._new() for _ in range(ended))
        return {"per_second": done / (time.perf_counter() - began)}

    def alone(self, *, calls: int) -> dict[str, float]:
        """Hello sequences, one at a time."""
        return latencies(calls, self._one)

    def _one(self) -> None:
        ready = deque([self._new()])
        while ready:
            self._commit(ready)

    def _commit(self, ready: deque[Instance]) -> int:
        """Write one group, the start or a step of each; return how many end with it."""
        group = [ready.popleft() for _ in range(min(len(ready), GROUP_OPERATIONS))]
        starts = [each.started() for each in group if not each.is_born]
        steps = [each.stepped() for each in group if each.is_born]
        self._rows.write(starts, steps)
        for each in group:
            each.is_born = True
        ready.extend(each for each in group if not each.is_over)
        return sum(each.is_over for each in group)

    def _new(self) -> Instance:
        return Instance(next(self._generations))


async def _make_tables(url: str) -> None:
    store = store_at(url, task_hub="Floor", clock=SystemClock())
    await store.open()
    await store.close()


def main(url: str) -> None:
    """Make the tables and serve the workloads."""
    asyncio.run(_make_tables(url))
    is_postgres = url.startswith("postgresql")
    measured = Workloads(PostgresRows(url) if is_postgres else SqliteRows(url))
    serve({"hello": measured.hello, "alone": measured.alone})


if __name__ == "__main__":
    main(sys.argv[1])
