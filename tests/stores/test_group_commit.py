"""The writer: groups, their guilty members, bounds, and callers who go away."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from soloist.core.instances import Backlog, StartReceipt
from soloist.core.status import RuntimeStatus
from soloist.errors import HistoryCorrupt, InstanceExists, Overloaded, StoreUnavailable
from soloist.stores import SqliteStore
from soloist.stores.sqlite import writer as sqlite_writer
from soloist.stores.sqlite.connection import open_writer
from soloist.stores.sqlite.place import Place
from soloist.stores.sqlite.writer import (
    FEW_OPERATIONS,
    QUICK_COMMITS,
    QUICK_SECONDS,
    Writer,
)
from tests.contract.world import LEASE_SECONDS, World, present


async def sqlite_store(world: World) -> SqliteStore:
    store = await world.opened()
    assert isinstance(store, SqliteStore)
    return store


async def opened_writer(path: Path, **options: Any) -> Writer:
    """A writer on a file with one table ``notes`` of unique texts."""

    def connect() -> sqlite3.Connection:
        connection = open_writer(path, 0)
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT UNIQUE)")
        return connection

    writer = Writer(path, Place(path), connect, orphaned=lambda result: None, **options)
    await writer.open()
    return writer


def note(connection: sqlite3.Connection, text: str) -> str:
    connection.execute("INSERT INTO notes VALUES (?)", (text,))
    return text


def notes_in(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT text FROM notes ORDER BY rowid")]
    finally:
        connection.close()


async def test_writes_at_once_share_one_transaction(world: World) -> None:
    store = await sqlite_store(world)
    before = store.transactions
    starts = [store.start(world.request(str(number)), None) for number in range(200)]
    await asyncio.gather(*starts)
    assert store.transactions == before + 1


async def test_a_refusal_does_not_disturb_the_rest_of_its_group(world: World) -> None:
    store = await sqlite_store(world)
    answers = await asyncio.gather(
        *[store.start(world.request(each), None) for each in "abac"], return_exceptions=True
    )
    assert [isinstance(answer, InstanceExists) for answer in answers] == [False, False, True, False]
    assert (await present(store, "c")).generation == 3


async def test_a_group_that_wrote_nothing_is_not_synced(world: World) -> None:
    store = await sqlite_store(world)
    host_id = await store.join("host")
    before = store.transactions
    await asyncio.gather(store.lease(host_id, 10), store.release(9, 9), store.purge("nobody"))
    assert store.transactions == before


async def test_only_the_guilty_operation_of_a_group_fails(tmp_path: Path) -> None:
    writer = await opened_writer(tmp_path / "hub.db")

    def fail_midway(connection: sqlite3.Connection) -> None:
        note(connection, "half done")
        raise ZeroDivisionError

    answers = await asyncio.gather(
        writer.submit(partial(note, text="before")),
        writer.submit(fail_midway),
        writer.submit(partial(note, text="before")),
        writer.submit(partial(note, text="after")),
        return_exceptions=True,
    )
    await writer.close()
    assert answers[0] == "before"
    assert isinstance(answers[1], ZeroDivisionError)
    assert isinstance(answers[2], StoreUnavailable)
    assert answers[3] == "after"
    assert notes_in(tmp_path / "hub.db") == ["before", "after"]


async def test_text_that_no_database_takes_fails_alone(world: World) -> None:
    store = await sqlite_store(world)
    answers = await asyncio.gather(
        store.start(world.request("a"), None),
        store.start(world.request("b", input="\ud800"), None),
        store.start(world.request("c"), None),
        return_exceptions=True,
    )
    assert isinstance(answers[1], UnicodeEncodeError)
    assert (await present(store, "a"), await present(store, "c")) == (
        answers[0].record,  # type: ignore[union-attr]
        answers[2].record,  # type: ignore[union-attr]
    )
    assert await store.read("b") is None


async def test_beyond_its_bound_the_queue_refuses_at_once(tmp_path: Path) -> None:
    writer = await opened_writer(tmp_path / "hub.db", max_waiting=2)
    accepted = [writer.submit(partial(note, text=each)) for each in "ab"]
    with pytest.raises(Overloaded, match="2 writes"):
        writer.submit(partial(note, text="c"))
    await asyncio.gather(*accepted)
    await writer.submit(partial(note, text="d"))
    await writer.close()
    assert notes_in(tmp_path / "hub.db") == ["a", "b", "d"]


class SignalArrived(BaseException):
    """What a signal's handler raises, but one that does not end the event loop."""


class Disk:
    """Takes as long for a commit as it is told to, by the writer's clock, and notes where each
    one was made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = QUICK_SECONDS / 2
        self.on_loop: list[bool] = []
        self._now = 0.0
        self._commit = sqlite_writer._commit
        monkeypatch.setattr(sqlite_writer, "_commit", self.commit)
        monkeypatch.setattr(sqlite_writer, "perf_counter", lambda: self._now)

    def commit(self, connection: sqlite3.Connection) -> None:
        self.on_loop.append(threading.current_thread() is threading.main_thread())
        self._now += self.seconds
        self._commit(connection)


async def test_few_operations_are_committed_on_the_loop_while_the_disk_is_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    writer = await opened_writer(tmp_path / "hub.db")
    for number in range(QUICK_COMMITS + 1):
        await writer.submit(partial(note, text=f"quick {number}"))
    disk.seconds = QUICK_SECONDS * 2
    await writer.submit(partial(note, text="slow"))
    disk.seconds = QUICK_SECONDS / 2
    for number in range(QUICK_COMMITS + 1):
        await writer.submit(partial(note, text=f"quick again {number}"))
    assert disk.on_loop == [False] * QUICK_COMMITS + [True] * 2 + [False] * QUICK_COMMITS + [True]
    disk.on_loop.clear()
    for size in (FEW_OPERATIONS, FEW_OPERATIONS + 1):
        await asyncio.gather(
            *[writer.submit(partial(note, text=f"{number} of {size}")) for number in range(size)]
        )
    await writer.close()
    assert disk.on_loop == [True, False]
    assert len(notes_in(tmp_path / "hub.db")) == 2 * QUICK_COMMITS + 3 + 2 * FEW_OPERATIONS + 1


async def test_of_two_whose_commit_fails_on_the_loop_only_the_guilty_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    writer = await opened_writer(tmp_path / "hub.db")
    for number in range(QUICK_COMMITS):
        await writer.submit(partial(note, text=str(number)))
    _damage(tmp_path / "hub.db", "CREATE TABLE parents (id PRIMARY KEY)")
    _damage(
        tmp_path / "hub.db",
        "CREATE TABLE children (parent REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)",
    )
    connection = writer._connected()
    connection.execute("PRAGMA foreign_keys = ON")
    disk.on_loop.clear()
    guilty, innocent = await asyncio.gather(
        writer.submit(lambda _: connection.execute("INSERT INTO children VALUES (1)")),
        writer.submit(partial(note, text="innocent")),
        return_exceptions=True,
    )
    await writer.close()
    assert isinstance(guilty, StoreUnavailable)
    assert "FOREIGN KEY" in str(guilty)
    assert innocent == "innocent"
    assert disk.on_loop == [True, False, False]  # a failure shows no quick disk
    assert notes_in(tmp_path / "hub.db")[-1] == "innocent"


@pytest.mark.parametrize("is_committed", [False, True])
async def test_who_is_interrupted_by_a_signal_runs_nothing_again_and_can_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    monkeypatch.setattr(sqlite_writer, "QUICK_COMMITS", 0)
    writer = await opened_writer(tmp_path / "hub.db")
    commit = sqlite_writer._commit

    def commit_and_quit(connection: sqlite3.Connection) -> None:
        if is_committed:
            commit(connection)
        raise SignalArrived

    caught: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: caught.append(context["exception"]))
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_writer, "_commit", commit_and_quit)
        both = [writer.submit(partial(note, text=each)) for each in "ab"]
        answers = await asyncio.gather(*both, return_exceptions=True)
    assert ["interrupted" in str(answer) for answer in answers] == [True, True]
    assert [type(each) for each in caught] == [SignalArrived]
    await writer.submit(partial(note, text="c"))
    await writer.close()
    assert notes_in(tmp_path / "hub.db") == (["a", "b", "c"] if is_committed else ["c"])


async def test_closing_finishes_what_was_asked_for(tmp_path: Path) -> None:
    writer = await opened_writer(tmp_path / "hub.db")
    asked = [writer.submit(partial(note, text=str(number))) for number in range(1200)]
    await writer.close()
    assert all(each.done() for each in asked)
    assert len(notes_in(tmp_path / "hub.db")) == 1200
    with pytest.raises(StoreUnavailable, match="not open"):
        writer.submit(partial(note, text="late"))


async def test_a_lease_whose_caller_went_away_is_given_back(world: World) -> None:
    store = await sqlite_store(world)
    host_id = await store.join("host")
    caller = asyncio.ensure_future(store.start(world.request(), host_id))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await store.renew(host_id)  # behind the start in the queue
    await store.renew(host_id)  # and behind what gives its lease back
    assert (await store.backlog()).due == 1
    assert (await store.lease(host_id, 1)).leases[0].record.instance_id == "x"


async def test_leases_of_a_commit_whose_caller_went_away_are_given_back(world: World) -> None:
    store = await sqlite_store(world)
    host_id = await store.join("host")
    parent = (await store.start(world.request(), host_id)).lease
    assert parent is not None
    step = world.sends(parent, world.child(parent))
    caller = asyncio.ensure_future(store.commit(step, host_id))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await store.renew(host_id)  # behind the commit in the queue
    await store.renew(host_id)  # and behind what gives its lease back
    assert await store.backlog() == Backlog(due=1, held=1, oldest_due_at=world.now())
    assert (await store.lease(host_id, 1)).leases[0].record.instance_id == "child"


async def test_a_refusal_that_comes_half_way_is_undone_whole(world: World) -> None:
    store = await sqlite_store(world)
    lease = await world.held(store)
    await store.commit(world.step(lease, status=RuntimeStatus.COMPLETED))
    await store.deliver("@counter@k", world.requested(), None)
    _damage(world.path, "UPDATE inbox SET event = '{'")
    before = await store.backlog()
    answers = await asyncio.gather(
        store.start(world.request("neighbour"), None),
        store.deliver("@counter@k", world.requested(), await store.join("host")),
        return_exceptions=True,
    )
    assert isinstance(answers[0], StartReceipt)
    assert isinstance(answers[1], HistoryCorrupt)
    assert (await store.backlog()).due == before.due + 1
    assert (await store.backlog()).held == 0


async def test_a_step_that_sends_nothing_costs_no_statement_more(world: World) -> None:
    store = await sqlite_store(world)
    host_id = await store.join("host")
    lease = (await store.start(world.request(), host_id)).lease
    assert lease is not None
    statements: list[str] = []
    assert store._writer is not None
    store._writer._connected().set_trace_callback(statements.append)
    assert await store.commit(world.step(lease), host_id)
    store._writer._connected().set_trace_callback(None)
    assert [each.split()[0] for each in statements] == ["BEGIN", "UPDATE", "INSERT", "COMMIT"]


def _damage(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(statement)


async def test_a_file_that_another_process_keeps_locked_is_said_to_be_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soloist.stores.sqlite.connection._PATIENCE_MILLISECONDS", 20)
    store = await sqlite_store(world)
    other = sqlite3.connect(world.path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        both = [store.start(world.request(each), None) for each in "ab"]
        for answer in await asyncio.gather(*both, return_exceptions=True):
            assert isinstance(answer, StoreUnavailable)
            assert "another process holds its write lock" in str(answer)
            assert str(world.path) in str(answer)
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert (await store.start(world.request("a"), None)).record.generation == 1


async def test_a_busy_file_is_waited_for(world: World) -> None:
    store = await sqlite_store(world)
    other = sqlite3.connect(world.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    start = asyncio.ensure_future(store.start(world.request(), None))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not start.done()
    other.execute("ROLLBACK")
    other.close()
    assert (await start).record.instance_id == "x"


async def test_a_full_disk_refuses_and_loses_nothing(world: World) -> None:
    store = SqliteStore(world.path, task_hub="hub", clock=world.clock, lease_seconds=LEASE_SECONDS)
    await store.open()
    try:
        assert store._writer is not None
        await store._writer.submit(_let_grow_to_a_hundred_pages)
        kept = []
        for number in range(1000):
            try:
                receipt = await store.start(world.request(str(number), input="x" * 8192), None)
            except StoreUnavailable:
                break
            kept.append(receipt.record)
        assert 10 < len(kept) < 100
        with pytest.raises(StoreUnavailable, match="full"):
            await store.start(world.request("more", input="x" * 8192), None)
        assert [await store.read(each.instance_id) for each in kept] == kept
    finally:
        await store.close()
    again = await world.opened()
    assert [await again.read(each.instance_id) for each in kept] == kept
    await again.start(world.request("more", input="x" * 8192), None)


def _let_grow_to_a_hundred_pages(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 100")


async def test_what_was_granted_to_a_caller_who_went_away_at_the_last_moment_is_given_back(
    world: World,
) -> None:
    store = await sqlite_store(world)
    host_id = await store.join("host")
    assert store._writer is not None
    submit = store._writer.submit  # the moment is between two turns of the loop
    caller: asyncio.Task[StartReceipt]

    def submit_and_go(work: Any) -> asyncio.Future[Any]:
        future = submit(work)
        future.add_done_callback(lambda _: caller.cancel())
        return future

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._writer, "submit", submit_and_go)
        caller = asyncio.create_task(store.start(world.request(), host_id))
        await asyncio.wait({caller})
    assert caller.cancelled()
    await store.release(0, 0)
    backlog = await store.backlog()
    assert (backlog.due, backlog.held) == (1, 0)
