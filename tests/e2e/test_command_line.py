"""The command line straight on the hub's file, beside the running host."""

from __future__ import annotations

import json
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

from proofs.hosts import HostDied
from proofs.hubs import HubProcess
from soloist.cli import main
from soloist.cli.start import start
from tests.contract.databases import new_database
from tests.e2e.conftest import APP, Served, serve


def soloist(served: Served, *arguments: str) -> Result:
    """Run a command on the served hub."""
    hub = ("--store", str(served.store), "--app", str(APP))
    return CliRunner().invoke(main, [*arguments, *hub])


def test_an_instance_is_started_signalled_shown_and_purged_beside_the_host(served: Served) -> None:
    started = soloist(served, "instances", "start", "Job", "--id", "cli", "--input", '{"a": 1}')
    assert started.output == "Instance 'cli' started.\n"
    again = soloist(served, "instances", "start", "Job", "--id", "cli")
    assert again.exit_code == 1
    assert "already exists" in again.output
    assert soloist(served, "instances", "raise-event", "cli", "go").exit_code == 0
    assert served.finished("cli")["output"] == {"a": 1}
    shown = soloist(served, "instances", "show", "cli", "--history")
    for word in ("Completed", "TaskScheduled", "EventRaised", "generation"):
        assert word in shown.output
    listed = soloist(served, "instances", "list", "--prefix", "cli", "--json")
    assert json.loads(listed.output)["status"] == "Completed"
    assert soloist(served, "instances", "purge", "cli").exit_code == 0
    missing = soloist(served, "instances", "show", "cli")
    assert (missing.exit_code, missing.output) == (1, "Error: No instance with ID 'cli' found.\n")


def test_an_instance_is_terminated_beside_the_host(served: Served) -> None:
    soloist(served, "instances", "start", "Job", "--id", "cut")
    assert soloist(served, "instances", "terminate", "cut", "--reason", "no").exit_code == 0
    assert served.finished("cut")["output"] == "no"


def test_input_that_is_not_json_is_refused_with_the_remedy(served: Served) -> None:
    result = soloist(served, "instances", "start", "Job", "--input", "hello")
    assert result.exit_code == 2
    assert "quotes" in result.output


def test_listing_where_there_is_no_hub_makes_none(tmp_path: Path) -> None:
    place = tmp_path / "hub.db"
    result = CliRunner().invoke(
        main, ["instances", "list", "--store", str(place), "--app", str(APP)]
    )
    assert result.exit_code == 1
    assert "There is no store at" in result.output
    assert not place.exists()


def test_a_host_says_what_runs_the_app(served: Served) -> None:
    version = metadata.version("azure-functions-durable")
    line = f"App: azure-functions-durable {version} on Python {platform.python_version()}"
    assert f"{line} ({sys.executable})\n" in served.host.output


def test_the_hub_of_a_server_without_an_app_is_found_by_its_store(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with new_database(postgres_url) as url:
        for store in (tmp_path / "hub.db", url):
            refused = CliRunner().invoke(main, ["hosts", "--store", str(store)])
            assert refused.exit_code == 1
            first = HubProcess(store)
            hosts = CliRunner().invoke(main, ["hosts", "--json", "--store", str(store)])
            assert json.loads(hosts.output)["is_live"], hosts.output
            start = ["instances", "start", "Job", "--id", "one", "--store", str(store)]
            assert CliRunner().invoke(main, start).output == "Instance 'one' started.\n"
            assert first.stop() == 0
            again = HubProcess(store)
            assert again.stop() == 0
            assert "Task hub 'default' is made in" in first.text
            assert "Task hub 'default' lies in" in again.text


def test_a_database_that_does_not_let_a_host_in_ends_it_with_the_reason(postgres_url: str) -> None:
    url = urlsplit(postgres_url)._replace(path="/nowhere").geturl()
    with pytest.raises(HostDied, match=r'database "nowhere" does not exist\. Create it'):
        HubProcess(url)


def test_keys_are_enforced_when_asked_for_and_listed(tmp_path: Path) -> None:
    served = serve(tmp_path, "--keys")
    with served.http:
        assert served.http.post("/api/orchestrators/Job/x").status_code == 401
        assert served.status("x").status_code == 401
        assert served.http.get("/api/ping").status_code == 200, "anonymous stays anonymous"
        lines = soloist(served, "keys", "list").output.splitlines()
        keys = {tuple(line.split()[:2]): line.split()[2] for line in lines}
        key = {"x-functions-key": keys["host", "default"]}
        started = served.http.post("/api/orchestrators/Job/x", headers=key)
        assert started.status_code == 202
        assert served.http.get(started.headers["location"]).status_code == 202
        served.http.headers["x-functions-key"] = keys["master", "_master"]
        assert served.status("x").status_code == 202
    assert served.host.stop() == 0
    assert not any(key in line for key in keys.values() for line in served.host.output)


def test_a_host_whose_file_was_removed_serves_nobody_and_promises_nothing_when_it_stops(
    tmp_path: Path,
) -> None:
    served = serve(tmp_path)
    gone = "was removed or replaced under the host"
    with served.http as http:
        assert http.get("/ready").status_code == 200
        for each in tmp_path.glob("hub.db*"):
            each.unlink()
        for answer in (http.get("/ready"), served.start("Job", "x"), served.status("x")):
            assert answer.status_code == 503
            assert gone in answer.text
    assert served.host.stop() == 1
    output = "".join(served.host.output)
    assert output.count("the task hub file is gone") == 1
    assert "Stopped. What was unfinished could not be saved." in output
    assert "goes on at the next start" not in output


def test_a_running_host_takes_up_rotated_keys_and_ends_the_links_of_the_old_one(
    tmp_path: Path,
) -> None:
    served = serve(tmp_path, "--keys")
    with served.http as http:
        old, linked = rotate(served, "host", "default"), rotate(served, "host", "default")
        assert old != linked
        while http.post("/api/orchestrators/Job/a", headers=showing(linked)).status_code == 401:
            pass  # until the host has read its keys again
        link = http.post("/api/orchestrators/Job/b", headers=showing(linked)).json()
        assert http.get(link["statusQueryGetUri"]).status_code == 202
        assert http.post("/api/orchestrators/Job/c", headers=showing(old)).status_code == 401
        system = rotate(served, "system", "durabletask_extension")
        while http.get(link["statusQueryGetUri"]).status_code != 401:
            pass
        again = http.post("/api/orchestrators/Job/d", headers=showing(linked)).json()
        assert http.get(again["statusQueryGetUri"]).status_code == 202
    assert served.host.stop() == 0
    assert not any(key in line for key in (linked, system, "s1.") for line in served.host.output)


def rotate(served: Served, scope: str, name: str) -> str:
    """Rotate a key beside the host; return its new value."""
    return soloist(served, "keys", "rotate", scope, name).stdout.strip()


def showing(key: str) -> dict[str, str]:
    """Return the header that presents a key."""
    return {"x-functions-key": key}


def test_every_option_of_the_readme_can_be_set_by_the_environment_it_names(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    named = dict(re.findall(r"^\| `--([a-z-]+).*?` \| `(SOLOIST_\w+)`", readme, re.MULTILINE))
    options = {name: option for option in start.params for name in option.opts}
    assert len(named) > 6
    for name, variable in named.items():
        option = options[f"--{name}"]
        implied = f"SOLOIST_{(option.name or '').upper()}"
        assert variable == (option.envvar or implied), name


def test_the_hub_holds_secrets_and_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    served = serve(tmp_path / "new")
    with served.http:
        served.start("Count", "one", 5)
        served.finished("one")
        for path in served.store.parent.glob("hub.db*"):
            if not path.name.endswith(".lock"):
                assert path.stat().st_mode & 0o077 == 0, path
    assert served.host.stop() == 0
