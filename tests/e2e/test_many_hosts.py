"""Several hosts on one database: any of them answers for all, and one that goes is replaced."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from proofs.hosts import HostProcess
from proofs.postgres import PostgresServer
from tests.contract.databases import new_database
from tests.e2e.conftest import APP, Served

LEASE_SECONDS = "2"


class Fleet:
    """Hosts on one database."""

    def __init__(self, url: str, folder: Path, opened: ExitStack) -> None:
        self.url = url
        self._ledger = folder / "ledger.txt"
        self._opened = opened

    def serve(self, *options: str, app: Path = APP) -> Served:
        """Start one more host."""
        host = HostProcess(
            app,
            self.url,
            *("--lease-seconds", LEASE_SECONDS, *options),
            environment={"LEDGER": str(self._ledger)},
        )
        self._opened.callback(lambda: host.kill() if host.is_running else None)
        http = self._opened.enter_context(httpx.Client(base_url=host.origin, timeout=30))
        return Served(host, self._ledger.parent, self._ledger, http)

    def hosts(self) -> list[dict[str, Any]]:
        """What ``soloist hosts`` shows."""
        shown = subprocess.run(
            [
                *(sys.executable, "-m", "soloist", "hosts", "--json"),
                *("--app", str(APP), "--store", self.url),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        return [json.loads(line) for line in shown.stdout.splitlines()]


@pytest.fixture
def fleet(postgres_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """A database, and nobody there yet."""
    with new_database(postgres_url) as url, ExitStack() as opened:
        yield Fleet(url, tmp_path, opened)


def test_of_racing_starts_at_two_hosts_one_wins_and_both_know_it(fleet: Fleet) -> None:
    one, other = fleet.serve(), fleet.serve()
    with ThreadPoolExecutor(16) as callers:
        answers = list(
            callers.map(lambda at: at.start("Job", "only", {}).status_code, [one, other] * 8)
        )
    assert sorted(answers) == [202] + [409] * 15
    assert other.raise_event("only", "go").status_code == 202
    assert one.finished("only")["runtimeStatus"] == "Completed"
    assert other.finished("only")["runtimeStatus"] == "Completed"
    ledger = one.ledger.read_text().splitlines()
    assert [line for line in ledger if "only" in line] == ["ran only"]


def test_hosts_are_shown_with_what_they_hold(fleet: Fleet) -> None:
    one = fleet.serve()
    fleet.serve()
    for number in range(3):
        assert one.start("Job", f"held-{number}", {}).status_code == 202
    shown = {each["address"]: each for each in fleet.hosts()}
    assert len(shown) == 2
    mine = shown[one.host.origin]
    assert mine["held"] == 3
    assert mine["is_live"]
    assert mine["version"]


def test_a_killed_hosts_work_is_taken_over(fleet: Fleet) -> None:
    one, other = fleet.serve(), fleet.serve()
    for number in range(20):
        assert one.start("Job", f"job-{number}", number).status_code == 202
    one.host.kill()
    for number in range(20):
        assert other.raise_event(f"job-{number}", "go").status_code == 202
    for number in range(20):
        assert other.finished(f"job-{number}")["output"] == number
    assert [each["address"] for each in fleet.hosts()] == [other.host.origin]


def test_a_stopped_host_hands_its_leases_back_at_once(fleet: Fleet) -> None:
    patient = ("--lease-seconds", "600")
    one, other = fleet.serve(*patient), fleet.serve(*patient)
    assert one.start("Job", "handed", "over").status_code == 202
    one.host.signal(signal.SIGTERM)
    assert one.host.wait() == 0
    assert other.raise_event("handed", "go").status_code == 202
    assert other.finished("handed")["output"] == "over"


def test_a_host_that_was_paused_beyond_its_lease_goes_on_with_other_work(fleet: Fleet) -> None:
    one, other = fleet.serve(), fleet.serve()
    assert one.start("Job", "paused", "kept").status_code == 202
    one.host.signal(signal.SIGSTOP)
    while (answer := other.raise_event("paused", "go")).status_code == 503:
        pass  # it stands still with the instance locked, which the database ends
    assert answer.status_code == 202
    assert other.finished("paused")["output"] == "kept"
    one.host.signal(signal.SIGCONT)
    assert one.start("Job", "next", 1).status_code == 202
    assert one.raise_event("next", "go").status_code == 202
    assert one.finished("next")["output"] == 1


def test_an_instance_is_run_only_by_hosts_whose_version_fits(fleet: Fleet, tmp_path: Path) -> None:
    old, new = (versioned_app(tmp_path, version) for version in ("1.0", "2.0"))
    one, other = fleet.serve(app=old), fleet.serve(app=new)
    assert one.start("Job", "old", "begun by 1.0").status_code == 202
    assert other.start("Job", "new", "begun by 2.0").status_code == 202
    one.host.kill()
    assert other.raise_event("new", "go").status_code == 202
    assert other.finished("new")["output"] == "begun by 2.0"
    assert other.raise_event("old", "go").status_code == 202
    assert other.status("old").json()["runtimeStatus"] != "Completed"
    again = fleet.serve(app=old)
    assert again.finished("old")["output"] == "begun by 1.0"
    assert {each["app_version"] for each in fleet.hosts() if each["is_live"]} == {"1.0", "2.0"}


def versioned_app(folder: Path, version: str) -> Path:
    """Copy the app, and let it run only instances of its own version."""
    app = folder / version
    shutil.copytree(APP, app)
    settings = json.loads((app / "host.json").read_text())
    settings.setdefault("extensions", {}).setdefault("durableTask", {}).update(
        {
            "defaultVersion": version,
            "versionMatchStrategy": "Strict",
            "versionFailureStrategy": "Reject",
        }
    )
    (app / "host.json").write_text(json.dumps(settings))
    return app


def test_while_the_database_is_away_callers_are_told_to_come_back(tmp_path: Path) -> None:
    with PostgresServer() as server, ExitStack() as opened:
        served = Fleet(server.create_database(), tmp_path, opened).serve()
        assert served.http.get("/ready").json()["durability"]["survivesCrash"]
        assert served.start("Job", "before", 1).status_code == 202
        server.stop()
        answers = (
            served.start("Job", "meanwhile", 2),
            served.status("before"),
            served.raise_event("before", "go"),
            served.http.get("/ready"),
            served.http.post("/api/orchestrators/Job/meanwhile"),
        )
        assert [each.status_code for each in answers] == [503] * 5
        assert all(int(each.headers["Retry-After"]) >= 1 for each in answers)
        assert served.http.get("/live").status_code == 200
        server.start()
        while (answer := served.raise_event("before", "go")).status_code == 503:
            pass  # it is tried once a second at the least
        assert answer.status_code == 202
        assert served.http.get("/ready").status_code == 200
        assert served.status("meanwhile").status_code == 404
        assert served.finished("before")["output"] == 1
