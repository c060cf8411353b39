"""Planted bugs: each breaks one promise of a running host, so that a proof can show that it looks.

A plant is applied from outside, before the host begins; the product knows nothing of it.

    python -m proofs.plants                                  # which there are
    python -m proofs.plants no-epoch -- start APP --store hub.db

The bugs of a store stand under that store's heading; one of another store is added by a function
with ``@plant`` that imports what it patches itself, so that nobody needs what he does not use.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

TELLING_TOO_EARLY_SECONDS = 0.05
MENDING_TOO_LATE_SECONDS = 0.1


class Plant(msgspec.Struct, frozen=True):
    """A bug by name, what it breaks, and how it is put in."""

    name: str
    breaks: str
    apply: Callable[[], None]


PLANTS: dict[str, Plant] = {}


def plant(name: str, breaks: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enter a function, which patches what it must, as a planted bug."""

    def enter(apply: Callable[[], None]) -> Callable[[], None]:
        assert name not in PLANTS, f"two plants are called {name}"
        PLANTS[name] = Plant(name, breaks, apply)
        return apply

    return enter


def apply(name: str | None) -> None:
    """Put a planted bug into this process; ``None`` does nothing."""
    if name is not None:
        PLANTS[name].apply()


def launcher(name: str | None) -> tuple[str, ...]:
    """Return what runs ``soloist`` with a planted bug, as ``HostProcess`` takes it."""
    return () if name is None else ("proofs.plants", name, "--")


def replace(owner: Any, name: str, value: Any) -> Any:
    """Put ``value`` in the place of what is called so; return what was there.

    A plant whose place is gone must fail, not do nothing: it would not be caught.
    """
    before = getattr(owner, name)
    setattr(owner, name, value)
    return before


# -- any store: the engine and the core ----------------------------------------------------------


@plant("passes-over-missed", "A timer makes good what was missed while no host was up.")
def _passes_over_missed() -> None:
    from soloist.engine import timers

    def taken_up(state: Any, trigger: Any, next_after: Any, now: Any) -> Any:
        unmonitored = msgspec.structs.replace(trigger, is_monitored=False)
        return taken_up_before(state, unmonitored, next_after, now)

    taken_up_before = replace(timers, "taken_up", taken_up)


@plant("check-then-insert", "Of concurrent starts of one id exactly one is created.")
def _check_then_insert() -> None:
    from soloist.core.policy import StartDecision, StartPolicy, decide_start
    from soloist.stores import SqliteStore
    from soloist.stores.postgres import PostgresStore

    def hasty(start: Any) -> Any:
        async def look_first(self: Any, request: Any, host_id: int | None) -> Any:
            found = await self.read(request.instance_id)
            decision = decide_start(
                request.policy,
                existing=None if found is None else found.status,
                same_function=found is not None and found.name == request.name,
            )
            if decision in (StartDecision.CREATE, StartDecision.REPLACE):
                request = msgspec.structs.replace(request, policy=StartPolicy.REPLACE)
            return await start(self, request, host_id)

        return look_first

    for store in (SqliteStore, PostgresStore):
        replace(store, "start", hasty(store.start))


@plant("feeds-too-late", "A turn counts only if nothing has entered the history since it began.")
def _feeds_too_late() -> None:
    from soloist.engine import session

    def take_fed(self: Any) -> Any:
        self._fed_at_length = self._state.length
        return take_fed_before(self)

    take_fed_before = replace(session.Session, "_take_fed", take_fed)


# -- the memory store ----------------------------------------------------------------------------


@plant("memory-no-fence", "A commit without the live lease changes nothing (memory).")
def _memory_no_fence() -> None:
    from soloist.stores import memory

    replace(memory, "_is_current", lambda found, outcome: not found.record.status.is_terminal)


@plant("memory-no-epoch", "A commit under an older lease of the same host is refused (memory).")
def _memory_no_epoch() -> None:
    from soloist.stores import memory

    def is_current(found: Any, outcome: Any) -> bool:
        of_now = msgspec.structs.replace(outcome, epoch=found.epoch)
        return bool(is_current_before(found, of_now))

    is_current_before = replace(memory, "_is_current", is_current)


# -- the SQLite store ----------------------------------------------------------------------------


def _weaken_fence(*conditions: str) -> None:
    from soloist.stores.sqlite import commits

    for name in ("_STEP", "_FINISH", "_CONTINUE"):
        statement = getattr(commits, name)
        for condition in conditions:
            assert condition in statement, f"{name} has no {condition!r}"
            head, _, tail = statement.rpartition(condition)
            statement = f"{head}({condition} OR 1){tail}"  # the value is still bound
        replace(commits, name, statement)


@plant("no-fence", "A commit without the live lease changes nothing (SQLite).")
def _no_fence() -> None:
    _weaken_fence("execution_id = ?", "epoch = ?", "history_length = ?", "owner IS NOT NULL")


@plant("no-epoch", "A commit under an older lease is refused (SQLite).")
def _no_epoch() -> None:
    _weaken_fence("epoch = ?")


@plant("ack-before-commit", "Nothing is acknowledged before its commit (SQLite).")
def _ack_before_commit() -> None:
    from soloist.failpoints import reach
    from soloist.stores.sqlite import writer

    def run(self: Any, group: list[Any]) -> None:
        connection = self._connected()
        try:
            for operation in group:
                writer._run_one(connection, operation)
        except Exception as error:  # noqa: BLE001  # as the writer does
            self._undo(group, error)
            return
        for operation in group:
            writer._tell(operation, operation.error, self._orphaned)

        def over(_error: BaseException | None) -> None:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            reach("commit.durable")
            self._loop.call_soon(self._turn)

        def write() -> None:
            reach("commit.written")
            self._jobs.put((lambda: connection.execute("COMMIT"), over))

        self._loop.call_later(TELLING_TOO_EARLY_SECONDS, write)

    replace(writer.Writer, "_run", run)


@plant("takes-failure-for-success", "A commit that failed was not acknowledged (SQLite).")
def _takes_failure_for_success() -> None:
    from soloist.stores.sqlite import writer

    def undo(self: Any, group: list[Any], _error: BaseException) -> None:
        connection = self._connected()
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        self._settle(group, None)

    replace(writer.Writer, "_undo", undo)


@plant("gives-up", "A host whose disk works again goes on by itself (SQLite).")
def _gives_up() -> None:
    from soloist.stores.sqlite import writer

    def undo(self: Any, group: list[Any], error: BaseException) -> None:
        self._is_open = False  # whoever asks from now on is told that the store is not open
        undo_before(self, group, error)

    undo_before = replace(writer.Writer, "_undo", undo)


@plant("no-sync", "What is acknowledged survives a power cut (SQLite).")
def _no_sync() -> None:
    from soloist.stores.sqlite import store

    def open_writer(*arguments: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = open_writer_before(*arguments)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    open_writer_before = replace(store, "open_writer", open_writer)


@plant("no-begin", "A verb is one transaction (SQLite).")
def _no_begin() -> None:
    from soloist.stores.sqlite import writer

    def run(self: Any, group: list[Any]) -> None:
        for operation in group:
            writer._run_one(self._connected(), operation)
        self._settle(group, None)

    replace(writer, "begin", lambda _connection: True)
    replace(writer.Writer, "_run", run)


def _cut_in_two(connection: sqlite3.Connection) -> None:
    connection.execute("COMMIT")
    connection.execute("BEGIN IMMEDIATE")


@plant("half-replace", "After a crash an id is old or new, never half (SQLite).")
def _half_replace() -> None:
    from soloist.stores.sqlite import starts

    def replaced(existing: Any, at: Any, moved: Any) -> None:
        replace_before(existing, at, moved)
        _cut_in_two(moved.connection)

    replace_before = replace(starts, "_replace", replaced)


@plant("half-step", "An outcome is committed whole or not at all (SQLite).")
def _half_step() -> None:
    from soloist.stores.sqlite import commits

    def settle_inbox(connection: sqlite3.Connection, now: int, outcome: Any) -> None:
        _cut_in_two(connection)
        settle_before(connection, now, outcome)

    settle_before = replace(commits, "_settle_inbox", settle_inbox)


@plant("forgets-mail", "What a step sends is committed with the step (SQLite).")
def _forgets_mail() -> None:
    from soloist.stores.sqlite import commits

    def send(message: Any, moved: Any) -> None:
        _cut_in_two(moved.connection)
        send_before(message, moved)

    send_before = replace(commits, "send", send)


@plant("consumes-later", "A message enters the history exactly once (SQLite).")
def _consumes_later() -> None:
    from soloist.stores.sqlite import commits, store

    def delete(connection: sqlite3.Connection, outcome: Any) -> None:
        consume_before(connection, outcome)

    async def commit(self: Any, outcome: Any, host_id: int | None = None) -> Any:
        receipt = await commit_before(self, outcome, host_id)

        def catch_up() -> None:
            with contextlib.suppress(Exception):
                self._open_writer().submit(partial(delete, outcome=outcome))

        asyncio.get_running_loop().call_later(MENDING_TOO_LATE_SECONDS, catch_up)
        return receipt

    consume_before = replace(commits, "_consume", lambda connection, outcome: None)
    commit_before = replace(store.SqliteStore, "commit", commit)


# -- the PostgreSQL store ------------------------------------------------------------------------


@plant("postgres-no-fence", "A commit without the live lease changes nothing (PostgreSQL).")
def _postgres_no_fence() -> None:
    from soloist.stores.postgres import PostgresStore

    find = (
        "SELECT execution_id, epoch, history_length FROM soloist.executions WHERE generation = %s"
    )

    async def commit(self: Any, outcome: Any, host_id: int | None = None) -> Any:
        async def held_now(connection: Any) -> Any:
            return await (await connection.execute(find, (outcome.generation,))).fetchone()

        row = await self._readers.run(held_now)
        if row is not None:
            execution_id, epoch, history_length = row
            outcome = msgspec.structs.replace(
                outcome, execution_id=execution_id, epoch=epoch, history_length=history_length
            )
        return await commit_before(self, outcome, host_id)

    commit_before = replace(PostgresStore, "commit", commit)


@plant(
    "postgres-takes-lost-for-done", "A commit that never arrived is not acknowledged (PostgreSQL)."
)
def _postgres_takes_lost_for_done() -> None:
    from soloist.stores.postgres import committer

    async def resolve(_self: Any, _error: BaseException) -> None:
        return None

    _look_before_starting()
    replace(committer.Committer, "_resolve", resolve)


@plant("postgres-asks-again", "A commit whose answer was lost is not done again (PostgreSQL).")
def _postgres_asks_again() -> None:
    from soloist.stores.postgres import committer

    async def attempt(self: Any, *arguments: Any, **options: Any) -> None:
        try:
            await attempt_before(self, *arguments, **options)
        finally:
            self._is_committing = False

    attempt_before = replace(committer.Committer, "_attempt", attempt)


@plant("postgres-own-clock", "Leases and times are the database's (PostgreSQL).")
def _postgres_own_clock() -> None:
    from datetime import UTC, datetime

    from soloist.contracts.clock import SystemClock
    from soloist.stores.postgres import PostgresStore
    from soloist.stores.postgres.connection import DATABASE_TIME

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        wrong = SystemClock().now() - datetime.now(UTC)
        expression = f"({DATABASE_TIME} + {round(wrong.total_seconds() * 1_000_000)})"
        init_before(self, *arguments, **{**options, "time": expression})

    init_before = replace(PostgresStore, "__init__", init)


@plant("postgres-ack-before-commit", "Nothing is acknowledged before its commit (PostgreSQL).")
def _postgres_ack_before_commit() -> None:
    from soloist.stores.postgres import committer, writer
    from soloist.stores.postgres.operations import Change

    async def attempt(
        self: Any, speaker: Any, group: list[Any], wanted: Any, **options: Any
    ) -> None:
        self.proof_group = group
        await attempt_before(self, speaker, group, wanted, **options)

    async def commit(self: Any, batch: Any) -> None:
        for operation in self.proof_group:
            if isinstance(operation, Change):
                writer._tell(operation, operation.error, lambda _: None)
        await asyncio.sleep(TELLING_TOO_EARLY_SECONDS)
        await commit_before(self, batch)

    def tell(operation: Any, error: BaseException | None, orphaned: Any) -> None:
        if not operation.future.done():
            tell_before(operation, error, orphaned)

    _look_before_starting()
    attempt_before = replace(committer.Committer, "_attempt", attempt)
    commit_before = replace(committer.Committer, "_commit", commit)
    tell_before = replace(writer, "_tell", tell)


def _look_before_starting() -> None:
    """Let every start see rows first, so that its answer is known before the commit."""
    from soloist.stores.postgres.operations import Start

    def init(self: Any, *arguments: Any, **_options: Any) -> None:
        init_before(self, *arguments, sees_rows=True)

    init_before = replace(Start, "__init__", init)


def _cut_transaction_in_two(batch: Any) -> None:
    batch.add("COMMIT")
    batch.add("BEGIN")


@plant("postgres-half-replace", "After a crash an id is old or new, never half (PostgreSQL).")
def _postgres_half_replace() -> None:
    from soloist.stores.postgres import flush

    def remove(batch: Any, rows: Any, kept: Any) -> None:
        remove_before(batch, rows, kept)
        _cut_transaction_in_two(batch)

    remove_before = replace(flush, "_remove", remove)


@plant("postgres-half-step", "An outcome is committed whole or not at all (PostgreSQL).")
def _postgres_half_step() -> None:
    from soloist.stores.postgres import flush

    def insert(batch: Any, hub_id: int, rows: Any) -> None:
        insert_before(batch, hub_id, rows)
        _cut_transaction_in_two(batch)

    insert_before = replace(flush, "_insert", insert)


@plant("asynchronous-standby", "A commit is acknowledged when the standby has it, too.")
def _asynchronous_standby() -> None:
    """It is planted in the servers, by the proof of failover itself."""


def main() -> None:
    """List the plants, or run ``soloist`` with one."""
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description="Run soloist with a planted bug.")
    parser.add_argument("name", nargs="?", choices=sorted(PLANTS))
    parser.usage = "%(prog)s [NAME -- what soloist is to do]"
    name = parser.parse_args(sys.argv[1:split]).name
    if name is None:
        for each in PLANTS.values():
            print(f"{each.name:<26}breaks: {each.breaks}")
        return
    apply(name)
    from soloist.cli import main as soloist

    sys.argv = ["soloist", *sys.argv[split + 1 :]]
    soloist(prog_name="soloist")


if __name__ == "__main__":
    main()
