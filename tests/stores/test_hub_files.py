"""Hub files: opening, refusing to open, their schema and their settings."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from soloist.contracts.clock import Clock
from soloist.core.instances import AccessKey
from soloist.errors import HubTooNew, SettingsError, StoreUnavailable
from soloist.stores import MemoryStore, SqliteStore, migrations, store_at
from soloist.stores.sqlite import commits, inboxes, keys, leases, moved, reads, rewinds, starts
from soloist.stores.sqlite.connection import open_reader, open_writer
from soloist.testing.clock import JumpClock
from tests.contract.world import World, mail_of, present


def at(path: Path | str, clock: Clock | None = None) -> SqliteStore:
    store = store_at(str(path), task_hub="hub", clock=clock or JumpClock())
    assert isinstance(store, SqliteStore)
    return store


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_writer(tmp_path / "hub.db", 0)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///hub.db", "hub.db"),
        ("sqlite:////var/lib/hub.db", "/var/lib/hub.db"),
        ("sqlite:///my%20hub.db", "my hub.db"),
        ("hub.db", "hub.db"),
        ("/var/lib/hub.db", "/var/lib/hub.db"),
    ],
)
def test_a_url_names_a_file(url: str, path: str) -> None:
    assert at(url).path == Path(path)


def test_memory_is_a_url_too() -> None:
    assert isinstance(store_at("memory:", task_hub="hub", clock=JumpClock()), MemoryStore)


@pytest.mark.parametrize(
    "url", ["", "mysql://x", "sqlite:", "sqlite:///", "sqlite://x", "memory:x"]
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="not understood"):
        at(url)


async def test_missing_folders_are_made(tmp_path: Path) -> None:
    store = at(tmp_path / "a" / "b" / "hub.db")
    await store.open()
    await store.open()
    await store.close()
    assert (tmp_path / "a" / "b" / "hub.db").is_file()


async def test_a_closed_hub_can_be_opened_again(world: World) -> None:
    store = at(world.path)
    for _ in range(2):
        await store.open()
        await store.join("host")
        await store.close()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"deeper.* cannot be made: Not a dir"):
        await at(tmp_path / "file" / "deeper" / "hub.db").open()


async def test_a_folder_is_no_hub(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"is a folder. Name a file in it"):
        await at(tmp_path).open()


async def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 100)
    with pytest.raises(StoreUnavailable, match="not an SQLite database"):
        await at(path).open()
    assert path.read_text() == "dear diary, " * 100


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreUnavailable, match="some other program"):
        await at(tmp_path / "other.db").open()
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


async def test_a_hub_of_a_newer_soloist_is_refused(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    connection.execute("INSERT INTO schema_migrations VALUES (999, 'later', 0)")
    with pytest.raises(HubTooNew, match=r"newer Soloist \(schema 999"):
        await at(tmp_path / "hub.db").open()


async def test_a_file_that_cannot_be_written_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not by permissions, which do not hold back a superuser.
    open_writer(tmp_path / "hub.db", 0).close()
    real = sqlite3.connect

    def read_only(path: Path, **options: object) -> sqlite3.Connection:
        return real(f"file:{path}?mode=ro", uri=True, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(StoreUnavailable, match=r"cannot be written\. Give this user write access"):
        await at(tmp_path / "hub.db").open()


def test_the_writer_syncs_every_commit(connection: sqlite3.Connection) -> None:
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_reader_cannot_write(connection: sqlite3.Connection, tmp_path: Path) -> None:
    with (
        closing(open_reader(tmp_path / "hub.db")) as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader.execute("DELETE FROM hubs")


def test_migrations_are_applied_once_and_noted(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    applied = "SELECT version, name, applied_at FROM schema_migrations"
    known = migrations.load("soloist.stores.sqlite")
    assert connection.execute(applied).fetchall() == [(m.version, m.name, 0) for m in known]
    open_writer(tmp_path / "hub.db", 1).close()
    assert len(connection.execute(applied).fetchall()) == len(known)


async def test_an_older_hub_is_upgraded_with_its_data(world: World) -> None:
    first = migrations.load("soloist.stores.sqlite")[0]
    with closing(sqlite3.connect(world.path)) as older:
        older.executescript(first.sql)
        older.executescript(FILLED)
    store = await world.opened()
    record = await present(store)
    assert (record.generation, record.input, record.parent) == (7, '"in"', None)
    assert record.custom_status == '"half"'
    events = (world.mark(), world.mark())
    assert await store.history(7) == events
    assert await mail_of(store, 7) == [world.raised()]
    assert await store.keys() == (AccessKey("master", "k", "v", world.now()),)
    host_id = await store.join("host")
    (lease,) = (await store.lease(host_id, 9)).leases
    receipt = await store.commit(world.sends(lease, world.child(lease), length=2), host_id)
    assert receipt is not None
    assert receipt.leases[0].record.generation == 8
    assert receipt.leases[0].record.parent is not None
    await store.release(7, lease.epoch)
    assert (await store.backlog()).due == 1
    assert (await store.deliver("x", world.raised(), None)).message_id == 6


def test_all_migrations_applied_equal_the_schema(connection: sqlite3.Connection) -> None:
    tables: dict[str, set[str]] = {}
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
        columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        tables[table] = {column[1] for column in columns}
    assert {name: columns for name, columns in tables.items() if name != "sqlite_sequence"} == {
        "schema_migrations": {"version", "name", "applied_at"},
        "hubs": {"hub_id", "name", "created_at"},
        "instances": {
            "generation",
            "hub_id",
            "instance_id",
            "name",
            "version",
            "created_at",
            "input",
            "parent_instance_id",
            "parent_generation",
            "parent_execution_id",
            "parent_task_id",
            "extras",
        },
        "executions": {
            "generation",
            "hub_id",
            "execution_id",
            "status",
            "owner",
            "epoch",
            "due_at",
            "updated_at",
            "history_length",
            "custom_status",
            "output",
            "failure",
        },
        "history": {"generation", "sequence", "codec", "events"},
        "inbox": {"message_id", "generation", "terminates", "event", "due_at"},
        "hosts": {
            "host_id",
            "hub_id",
            "name",
            "process_id",
            "machine",
            "joined_at",
            "expires_at",
            "address",
            "version",
            "app_version",
            "renewed_at",
            "lacks",
        },
        "access_keys": {"hub_id", "scope", "name", "value", "created_at"},
    }


NOW = 1_767_225_600_000_000
"""The time at which a clock of tests begins."""

FILLED = f"""
INSERT INTO schema_migrations VALUES (1, 'initial', 0);
INSERT INTO hubs VALUES (1, 'hub', 0);
INSERT INTO instances VALUES (7, 1, 'x', 'Greet', NULL, {NOW}, '"in"');
INSERT INTO executions VALUES
    (7, 1, 'e', 'Running', 1, 4, NULL, {NOW}, 2, '"half"', NULL, NULL);
INSERT INTO history VALUES (7, 0, 1,
    '[{{"type":"OrchestratorStarted","at":"2026-01-01T00:00:00Z"}}]');
INSERT INTO history VALUES (7, 1, 1,
    '[{{"type":"OrchestratorStarted","at":"2026-01-01T00:00:00Z"}}]');
INSERT INTO inbox VALUES
    (5, 7, 0, '{{"type":"EventRaised","at":"2026-01-01T00:00:00Z","name":"go"}}');
INSERT INTO hosts VALUES (1, 1, 'older', 1, 'machine', 0, 0);
INSERT INTO access_keys VALUES (1, 'master', 'k', 'v', {NOW});
"""

FRAGMENTS = {"RECORD", "TARGET", "ENTITY_MARK", "_FENCE", "_LET_GO", "_FIND", "_ONE"}
HOT = {
    name: statement
    for module in (commits, inboxes, keys, leases, moved, reads, rewinds, starts)
    for name, statement in vars(module).items()
    if name.isupper() and isinstance(statement, str) and name not in FRAGMENTS
}


def explained(connection: sqlite3.Connection, statement: str) -> list[str]:
    """Return the steps of SQLite's plan for a statement."""
    numbered = [int(each) for each in re.findall(r"\?(\d+)", statement)]
    places = max(numbered) if numbered else statement.count("?")
    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", [1] * places)
    return [step[3] for step in plan.fetchall()]


@pytest.mark.parametrize("name", sorted(HOT))
def test_every_statement_finds_its_rows_by_an_index(
    connection: sqlite3.Connection, name: str
) -> None:
    plan = explained(connection, HOT[name])
    # A constant row is no table, and a subquery here yields three rows at most.
    harmless = ("SCAN sqlite_sequence", "SCAN CONSTANT ROW", "SCAN (subquery")
    scans = [step for step in plan if step.startswith("SCAN")]
    assert [each for each in scans if not each.startswith(harmless)] == []
    assert not any("TEMP B-TREE FOR ORDER BY" in step for step in plan)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("_DUE", "executions_due"),
        ("_NEXT_DUE_AT", "executions_due"),
        ("_CHILDREN", "instances_parent"),
        ("_RELEASE", "inbox_delayed"),
        ("_TAKE_SOME", "executions_held"),
    ],
)
def test_a_statement_uses_the_index_that_was_made_for_it(
    connection: sqlite3.Connection, name: str, index: str
) -> None:
    assert any(index in step for step in explained(connection, HOT[name]))
