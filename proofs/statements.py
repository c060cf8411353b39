"""``kill -9`` at every statement boundary of every verb that writes to SQLite.

A child process runs one verb on a prepared hub and is killed before and after its first
statement, its second and so on, until the verb ends. What is shown after each kill: the file holds
all of the verb or nothing, row for row; what was acknowledged is there; the file is sound; where
nothing was done, the verb can be done again.

    python -m proofs.statements
    python -m proofs.statements --plant half-replace
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from proofs import plants
from proofs.report import Finding, conclude, parser_for
from proofs.scenes import LEASE_SECONDS, SCENES, Act, prepared
from soloist.stores import SqliteStore
from soloist.testing import JumpClock

NEVER = sys.maxsize
CHILD_SECONDS = 30
MAX_KILLS_A_VERB = 1_000
_TOLD = b"told"

Dump = dict[str, list[Any]]


class Killer:
    """Counts the boundaries of statements, once armed, and dies at the chosen one."""

    remaining = NEVER

    @classmethod
    def reach(cls) -> None:
        """Come to a boundary."""
        if cls.remaining == 0:
            die()
        cls.remaining -= 1


class CountedConnection(sqlite3.Connection):
    """A connection with a boundary before and after each statement."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Execute one statement."""
        Killer.reach()
        cursor = super().execute(*arguments)
        Killer.reach()
        return cursor


class Ended(msgspec.Struct, frozen=True):
    """How a child process ended: killed as wanted, or else why not."""

    is_acknowledged: bool
    complaint: str


def die() -> NoReturn:
    """``kill -9`` this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody survives that")


def run_child(act: Act, path: Path, boundary: int, plant: str | None) -> Ended:
    """Run a verb in a process of its own, to be killed at a boundary or when it has ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(CHILD_SECONDS)
        try:
            _perform(act, path, boundary, plant, writing)
        except BaseException:  # noqa: BLE001  # the parent shall know
            os.write(writing, traceback.format_exc().encode())
        os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == -signal.SIGKILL:
        return Ended(told == _TOLD, "")
    if code == -signal.SIGALRM:
        return Ended(False, f"hung for {CHILD_SECONDS} s")
    return Ended(False, told.decode().strip().rpartition("\n")[2])


def _perform(act: Act, path: Path, boundary: int, plant: str | None, writing: int) -> None:
    plants.replace(sqlite3, "connect", partial(sqlite3.connect, factory=CountedConnection))
    plants.apply(plant)

    async def run() -> None:
        store = SqliteStore(path, task_hub="Proof", clock=JumpClock(), lease_seconds=LEASE_SECONDS)
        await store.open()
        Killer.remaining = boundary
        await act(store)
        os.write(writing, _TOLD)
        die()

    asyncio.run(run())


def dump(path: Path) -> Dump:
    """Return every row of every table; opening the file recovers it, as a host would."""
    with closing(sqlite3.connect(path)) as connection:
        sound = connection.execute("PRAGMA integrity_check").fetchall()
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {"integrity_check": sound, **{name: _rows(connection, name) for (name,) in names}}


def _rows(connection: sqlite3.Connection, table: str) -> list[Any]:
    cursor = connection.execute(f"SELECT * FROM {table}")
    columns = [column[0] for column in cursor.description]
    rows = [dict(zip(columns, row, strict=True)) for row in cursor]
    for row in rows:
        row.pop("process_id", None)  # a child process has a new one each time
    return sorted((tuple(row.values()) for row in rows), key=repr)


class Statements:
    """One run of the proof in a folder of its own."""

    def __init__(self, folder: Path, plant: str | None) -> None:
        self._folder = folder
        self._plant = plant
        self.kills: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []

    def run(self, names: list[str]) -> None:
        """Kill at every boundary of these verbs."""
        for name in names:
            self._run_scene(name)

    def _run_scene(self, name: str) -> None:
        prepared_file = self._folder / f"{name}.db"
        act = prepared(SCENES[name], prepared_file)
        before = dump(prepared_file)
        after = self._whole(name, act, prepared_file)
        if after == before:
            self.violations.append(f"{name}: does nothing")
        for boundary in range(MAX_KILLS_A_VERB):
            ended = self._child(act, prepared_file, boundary)
            where = f"{name}: killed at boundary {boundary}"
            self.kills[name] += 1
            if ended.complaint:
                self.violations.append(f"{where}: {ended.complaint}")
                return
            self._judge(where, act, ended, before, after)
            if ended.is_acknowledged:
                return
        self.violations.append(f"{name}: does not end")

    def _whole(self, name: str, act: Act, prepared_file: Path) -> Dump:
        """Return what the verb leaves behind when it is as it should be."""
        ended = self._child(act, prepared_file, NEVER, is_sound=True)
        if not ended.is_acknowledged:
            self.violations.append(f"{name}: fails: {ended.complaint}")
        return dump(self._file)

    def _judge(self, where: str, act: Act, ended: Ended, before: Dump, after: Dump) -> None:
        found = dump(self._file)
        if found["integrity_check"] != [("ok",)]:
            self.violations.append(f"{where}: the file is damaged: {found['integrity_check'][:3]}")
        elif found == after:
            self.counts["held all of it"] += 1
        elif found != before:
            self.violations.append(f"{where}: half done: {_difference(before, after, found)}")
        elif ended.is_acknowledged:
            self.violations.append(f"{where}: acknowledged and lost")
        else:
            self.counts["held nothing"] += 1
            again = run_child(act, self._file, NEVER, None)
            if not again.is_acknowledged or dump(self._file) != after:
                self.violations.append(f"{where}: cannot be done again: {again.complaint}")

    @property
    def _file(self) -> Path:
        return self._folder / "hub.db"

    def _child(
        self, act: Act, prepared_file: Path, boundary: int, *, is_sound: bool = False
    ) -> Ended:
        for left in self._folder.glob("hub.db*"):
            left.unlink()
        shutil.copyfile(prepared_file, self._file)
        return run_child(act, self._file, boundary, None if is_sound else self._plant)


def _difference(before: Dump, after: Dump, found: Dump) -> str:
    """Name the tables that are neither as before nor as after, and those that are as before."""
    changed = [name for name in after if after[name] != before[name]]
    done = [name for name in changed if found.get(name) == after[name]]
    undone = [name for name in changed if found.get(name) == before[name]]
    half = [name for name in found if found[name] not in (before.get(name), after.get(name))]
    return f"done {done}, not done {undone}, neither {half}"


def prove(names: list[str] | None = None, plant: str | None = None) -> Finding:
    """Run the proof in a temporary folder."""
    if not hasattr(os, "fork"):
        reason = ("kills at boundaries: this system has no fork",)
        return Finding(
            check="statements", did={}, seconds=0, violations=(), left_out=reason, plant=plant
        )
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        statements = Statements(Path(folder), plant)
        statements.run(names or list(SCENES))
    kills = statements.kills
    return Finding(
        check="statements",
        did={"verbs": len(kills), "kills": sum(kills.values()), **statements.counts},
        seconds=time.monotonic() - began,
        violations=tuple(statements.violations),
        details=tuple(f"kill -9 in {name:<26}{count:>5}" for name, count in kills.items()),
        plant=plant,
    )


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--verb", action="append", choices=sorted(SCENES), help="only this one")

    def run(arguments: argparse.Namespace) -> Finding:
        return prove(arguments.verb, arguments.plant)

    conclude(parser, run)


if __name__ == "__main__":
    main()
