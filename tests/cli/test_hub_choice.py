"""Which hub a command speaks of, on files; no command but ``start`` and ``serve`` makes one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from soloist.cli import main
from soloist.contracts.clock import SystemClock
from soloist.stores import SqliteStore

COMMANDS = [
    ("hosts",),
    ("instances", "list"),
    ("instances", "start", "Job"),
    ("instances", "purge", "--status", "Completed", "--yes"),
    ("entities", "list"),
    ("entities", "signal", "Counter", "one", "add"),
    ("keys", "list"),
    ("keys", "set", "host", "mine"),
]


def made(path: Path, *task_hubs: str) -> Path:
    """Make hubs in a file."""

    async def make() -> None:
        for task_hub in task_hubs:
            clock = SystemClock()
            store = SqliteStore(path, task_hub=task_hub, clock=clock, lease_seconds=30)
            await store.open()
            await store.close()

    asyncio.run(make())
    return path


def hubs_in(path: Path) -> tuple[str, ...]:
    store = SqliteStore(path, task_hub="", clock=SystemClock(), lease_seconds=30)
    return asyncio.run(store.hubs())


def app_in(folder: Path, hub_name: str | None) -> Path:
    """Write an app's host.json."""
    durable = {} if hub_name is None else {"hubName": hub_name}
    settings = {"version": "2.0", "extensions": {"durableTask": durable}}
    folder.mkdir()
    (folder / "host.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for variable in ("SOLOIST_STORE", "SOLOIST_TASK_HUB", "SOLOIST_APP", "WEBSITE_SITE_NAME"):
        monkeypatch.delenv(variable, raising=False)


def soloist(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def ids(*hub: str) -> list[str]:
    lines = soloist("instances", "list", "--json", *hub).stdout.splitlines()
    return [json.loads(line)["instance_id"] for line in lines]


def test_the_only_hub_of_a_store_need_not_be_named(tmp_path: Path) -> None:
    store = str(made(tmp_path / "hub.db", "default"))
    for command in COMMANDS:
        result = soloist(*command, "--store", store)
        assert result.exit_code == 0, result.output
    assert len(ids("--store", store)) == 1
    assert hubs_in(tmp_path / "hub.db") == ("default",)


def test_of_several_hubs_one_must_be_named(tmp_path: Path) -> None:
    store = str(made(tmp_path / "hub.db", "orders", "bills"))
    for command in COMMANDS:
        result = soloist(*command, "--store", store)
        assert result.exit_code == 2
        assert "has several task hubs: 'orders', 'bills'" in result.output
        assert "--task-hub" in result.output
        assert soloist(*command, "--store", store, "--task-hub", "bills").exit_code == 0
    assert ids("--store", store, "--task-hub", "orders") == []


def test_a_hub_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = made(tmp_path / "hub.db", "orders", "bills")
    for command in COMMANDS:
        result = soloist(*command, "--store", str(path), "--task-hub", "order")
        assert result.exit_code == 2
        assert "has no task hub 'order'; it has: 'orders', 'bills'." in result.output
    assert hubs_in(path) == ("orders", "bills")


def test_a_path_where_nothing_is_stays_so(tmp_path: Path) -> None:
    place = tmp_path / "folder" / "hub.db"
    for command in COMMANDS:
        result = soloist(*command, "--store", str(place), "--task-hub", "orders")
        assert result.exit_code == 1
        assert f"no store at {place}" in result.output
    assert not place.parent.exists()


def test_an_app_that_never_ran_is_left_as_it_is(tmp_path: Path) -> None:
    app = app_in(tmp_path / "app", "Orders")
    for command in COMMANDS:
        result = soloist(*command, "--app", str(app))
        assert result.exit_code == 1
        assert "no store at" in result.output
    assert [each.name for each in app.iterdir()] == ["host.json"]


def test_an_empty_file_holds_no_hub_and_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "hub.db").touch()
    for command in COMMANDS:
        result = soloist(*command, "--store", str(tmp_path / "hub.db"), "--task-hub", "orders")
        assert result.exit_code == 1
        assert "holds no task hub yet" in result.output
        assert "'soloist serve'" in result.output
    assert (tmp_path / "hub.db").stat().st_size == 0


def test_a_hub_in_memory_is_nobody_elses() -> None:
    assert "holds no task hub yet" in soloist("hosts", "--store", "memory:").output


def test_an_app_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    result = soloist("hosts", "--app", str(tmp_path / "missing"))
    assert result.exit_code == 2
    assert "does not exist" in result.output


def test_the_apps_hub_is_the_one_that_host_json_names(tmp_path: Path) -> None:
    store = str(made(tmp_path / "hub.db", "Orders", "Bills"))
    app = app_in(tmp_path / "app", "Bills")
    assert soloist("instances", "start", "Job", "--store", store, "--app", str(app)).exit_code == 0
    assert len(ids("--store", store, "--task-hub", "Bills")) == 1


def test_a_hub_that_only_host_json_knows_is_refused(tmp_path: Path) -> None:
    store = made(tmp_path / "hub.db", "default")
    app = app_in(tmp_path / "app", "Bills")
    result = soloist("instances", "list", "--store", str(store), "--app", str(app))
    assert result.exit_code == 2
    assert f"no task hub 'Bills', which host.json names for the app {app}; it has: 'default'" in (
        result.output
    )
    assert hubs_in(store) == ("default",)


def test_an_app_without_a_hub_name_means_the_hub_that_its_host_runs(tmp_path: Path) -> None:
    app = app_in(tmp_path / "app", None)
    store = str(made(tmp_path / "several.db", "TestHubName", "Bills"))
    assert soloist("instances", "start", "Job", "--store", store, "--app", str(app)).exit_code == 0
    assert len(ids("--store", store, "--task-hub", "TestHubName")) == 1
    other = str(made(tmp_path / "other.db", "default"))
    assert soloist("instances", "list", "--store", other, "--app", str(app)).exit_code == 0


def test_a_password_in_a_store_that_is_refused_is_not_shown() -> None:
    for store in ("host=db password=hunter2", "postgresql//me:hunter2@db/x", "me:hunter2@db/x"):
        result = soloist("instances", "list", "--store", store)
        assert result.exit_code == 1
        assert "postgresql://user:password@host:5432/database" in result.output
        assert "hunter2" not in result.output
