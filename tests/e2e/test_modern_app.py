"""An app on ``azure-functions-durable`` 2.x, in its own Python, hosted by ours."""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import grpc
import pytest
from durabletask.internal import orchestrator_service_pb2 as pb

from proofs.hosts import HostDied
from tests.e2e.conftest import Served, serve
from tests.e2e.environments import Unavailable, modern_python
from tests.e2e.test_bad_input import BAD_STARTS
from tests.e2e.test_singleton import CALLERS, race
from tests.rpc.sdk import new_client, outcome, stub_of, until, worker

APP = Path(__file__).parent / "modern_app"
HOARDER = Path(__file__).parent / "modern_hoarder"


@pytest.fixture(scope="session")
def python(pytestconfig: pytest.Config) -> str:
    """The app's interpreter, with what its requirements.txt lists."""
    assert pytestconfig.cache is not None
    try:
        return str(modern_python(APP / "requirements.txt", pytestconfig.cache.mkdir("modern_app")))
    except Unavailable as reason:
        pytest.skip(str(reason))


@contextmanager
def hosted(folder: Path, python: str, *options: str, app: Path = APP) -> Iterator[Served]:
    """Host the app, and end in order what is still there then."""
    served = serve(folder, "--python", python, *options, app=app)
    with served.http:
        yield served
    if served.host.is_running:
        assert served.host.stop() == 0


@pytest.fixture(scope="module")
def modern(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A host of the app, for the tests that only talk to it."""
    with hosted(tmp_path_factory.mktemp("hub"), python) as served:
        yield served


def start(served: Served, function: str, payload: object = None, name: str | None = None) -> str:
    """Start through the app's own function; return the id."""
    name = name or uuid4().hex
    answer = served.http.post(f"/api/orchestrators/{function}/{name}", json=payload)
    assert answer.status_code == 202, answer.text
    return name


def verb(served: Served, name: str, what: str, data: object = None) -> Any:
    """Call one verb of the SDK's client, in the app."""
    answer = served.http.post(f"/api/instances/{name}/{what}", json=data)
    assert answer.status_code in (200, 202), answer.text
    return answer.json()


def output(served: Served, function: str, payload: object = None) -> Any:
    """Start an orchestration and return what it comes to."""
    name = start(served, function, payload)
    status, text = verb(served, name, "wait")
    assert status == "COMPLETED", served.status(name).text
    return json.loads(text)


def entity(served: Served, name: str, key: str, operation: str, data: object = None) -> Any:
    return served.http.post(f"/api/entities/{name}/{key}/{operation}", json=data).json()


# Orchestrators.


def test_an_orchestrator_in_the_words_of_1x_uses_every_kind_of_task(modern: Served) -> None:
    name = start(modern, "Everything")
    squares = [n * n for n in range(10)]
    until(lambda: modern.status(name).json()["customStatus"] == {"squares": squares})
    modern.raise_event(name, "first", 1)
    verb(modern, name, "event", {"name": "second", "data": [2]})
    status, text = verb(modern, name, "wait")
    done = json.loads(text)
    assert status == "COMPLETED"
    assert len(done.pop("guid")) == 36
    assert "bad luck" in done.pop("caught")
    assert done == {
        "sum": sum(squares),
        "events": [1, [2]],
        "winner": 144,
        "steady": 2,
        "child": 25,
        "version": "2.5",
    }


def test_an_orchestrator_in_the_words_of_the_sdk_below_does_too(modern: Served) -> None:
    assert output(modern, "Native", 4) == [8, sum(n * n for n in range(8)), 2, 64, "2.5"]


def test_an_orchestrator_continues_as_new(modern: Served) -> None:
    assert output(modern, "Count", 1) == 5


def test_a_durable_http_call_is_polled_until_it_is_answered(modern: Served) -> None:
    url = f"{modern.host.origin}/api/operation/2"
    assert output(modern, "Asks", url) == [200, {"asked": "yes"}]


def test_a_text_of_megabytes_travels_whole(modern: Served) -> None:
    text = "é" * 600_000  # beyond what gRPC takes by default, with input and output in one message
    assert output(modern, "Carries", text) == text


@pytest.mark.parametrize(
    ("function", "words"),
    [("Unknown", "The function 'nowhere' doesn't exist"), ("Raises", "not today")],
)
def test_a_failure_is_told_with_its_reason(modern: Served, function: str, words: str) -> None:
    name = start(modern, function)
    assert verb(modern, name, "wait")[0] == "FAILED"
    assert words in json.dumps(modern.status(name).json()["output"])


# Entities.


def test_entities_are_called_and_signalled_and_their_failures_caught(modern: Served) -> None:
    name = start(modern, "Shops")
    total, caught = json.loads(verb(modern, name, "wait")[1])
    assert total == 5
    assert "boom" in caught
    assert entity(modern, "Counter", name, "read") == 5
    assert f"@counter@{name}" in entity(modern, "Counter", name, "list")


def test_an_entity_of_a_class_is_locked_with_another_for_a_transfer(modern: Served) -> None:
    assert output(modern, "Transfer", 30) == [-30, 30]


def test_an_entity_signals_another_and_starts_an_orchestration(modern: Served) -> None:
    key = uuid4().hex
    entity(modern, "relay", key, "pass", 4)
    until(lambda: entity(modern, "counter", key, "read") == 4)
    assert verb(modern, f"relayed-{key}", "wait") == ["COMPLETED", "16"]


# The client.


def test_an_instance_is_suspended_resumed_terminated_and_purged(modern: Served) -> None:
    name = start(modern, "Job", {"a": 1})
    until(lambda: modern.ledger.exists() and f"ran {name}" in modern.ledger.read_text())
    verb(modern, name, "suspend")
    until(lambda: verb(modern, name, "state")[0] == "SUSPENDED")
    verb(modern, name, "resume")
    until(lambda: verb(modern, name, "state")[0] == "RUNNING")
    verb(modern, name, "terminate", "enough")
    assert verb(modern, name, "wait") == ["TERMINATED", '"enough"']
    assert name in verb(modern, name, "list")
    assert "ExecutionStartedEvent" in verb(modern, name, "history")
    assert verb(modern, name, "purge") == 1
    assert verb(modern, name, "state") is None
    assert verb(modern, name, "status") == {}


def test_a_failed_instance_is_rewound_once_its_cause_is_mended(
    modern: Served, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    name = start(modern, "Mends", str(mark))
    assert verb(modern, name, "wait")[0] == "FAILED"
    mark.touch()
    verb(modern, name, "rewind")
    until(lambda: verb(modern, name, "state") == ["COMPLETED", "there"])


def test_an_instance_is_restarted_under_a_new_id(modern: Served) -> None:
    name = start(modern, "Square", 6)
    verb(modern, name, "wait")
    again = verb(modern, name, "restart")
    assert again != name
    assert verb(modern, again, "wait") == ["COMPLETED", "36"]


def test_the_status_in_the_words_of_1x_has_a_history(modern: Served) -> None:
    name = start(modern, "Square", 7)
    verb(modern, name, "wait")
    status = verb(modern, name, "status")
    assert (status["runtimeStatus"], status["output"]) == ("Completed", 49)
    assert [each["EventType"] for each in status["historyEvents"]][-1] == "ExecutionCompleted"


def test_a_verb_about_nobody_is_refused_by_name(modern: Served) -> None:
    answer = modern.http.post("/api/instances/nobody/event", json={"name": "x", "data": 1})
    assert (answer.status_code, answer.text) == (404, "No instance with ID 'nobody' found.")


@pytest.mark.parametrize("words", ["orchestrators", "classic", "careless"])
@pytest.mark.parametrize(("path", "code", "text"), BAD_STARTS)
def test_a_bad_start_is_told_to_the_caller(
    modern: Served, words: str, path: str, code: int, text: str
) -> None:
    answer = modern.http.post(f"/api/{words}/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (
        code,
        "text/plain; charset=utf-8",
    )
    assert text in answer.text


@pytest.mark.parametrize("mebibytes", [5, 40])
def test_an_input_beyond_the_bound_is_told_to_the_caller(modern: Served, mebibytes: int) -> None:
    body = b'"' + b"x" * (mebibytes * 1024 * 1024) + b'"'
    answer = modern.http.post("/api/orchestrators/Job/large", content=body)
    assert answer.status_code == 413
    assert "--max-payload-bytes" in answer.text
    assert modern.status("large").status_code == 404


def test_a_schedule_starts_orchestrations_until_it_is_deleted(modern: Served) -> None:
    assert modern.http.post("/api/schedules/often/create").json() == "ACTIVE"
    before = verb(modern, "any", "list")

    def started() -> bool:
        fresh = set(verb(modern, "any", "list")) - set(before)
        return any(modern.status(each).json()["name"] == "Square" for each in fresh)

    until(started)
    assert modern.http.post("/api/schedules/often/delete").json() is None


def test_a_timer_function_on_startup_has_a_client(modern: Served) -> None:
    until(lambda: verb(modern, "on-startup", "state") == ["COMPLETED", 81])


def test_a_function_is_given_its_context(modern: Served) -> None:
    _, invocation_id = verb(modern, "any", "links")
    assert len(invocation_id) == 36


def test_the_management_api_starts_its_functions(modern: Served) -> None:
    assert modern.start("square", "by-the-api", 8).status_code == 202
    assert modern.finished("by-the-api")["output"] == 64
    assert modern.start("nowhere", "by-the-api-2").status_code == 400


def test_a_start_of_a_function_that_is_not_there_is_refused(modern: Served) -> None:
    answer = modern.http.post("/api/orchestrators/nowhere/never", json=None)
    assert answer.status_code == 400
    assert "The function 'nowhere' doesn't exist" in answer.text
    assert modern.status("never").status_code == 404


# Singletons.


@pytest.mark.parametrize("words", ["orchestrators", "classic", "careless"])
def test_one_of_fifty_callers_wins_and_the_others_are_told_409(modern: Served, words: str) -> None:
    name = f"singleton-{words}"
    url = f"/api/{words}/Job/{name}"
    answers, codes = race(modern, url)
    assert codes == Counter({202: 1, 409: CALLERS - 1})
    texts = {answer.text for answer in answers if answer.status_code == 409}
    assert texts == {f"An instance with ID '{name}' already exists."}
    modern.raise_event(name, "go")
    modern.finished(name)
    ran = modern.ledger.read_text().splitlines().count(f"ran {name}")
    assert ran == 1, "the orchestrator's body ran once"
    assert modern.http.post(url).status_code == 202
    modern.raise_event(name, "go")
    modern.finished(name)


def test_an_own_answer_to_a_refusal_stays_the_apps(modern: Served) -> None:
    name = start(modern, "Job")
    assert modern.http.post(f"/api/mapped/{name}").status_code == 500
    modern.raise_event(name, "go")


# The host.


def test_the_clients_door_is_this_users_alone_and_has_no_work(modern: Served) -> None:
    environment = Path(f"/proc/{modern.host.pid}/net/unix")
    if not environment.exists():
        pytest.skip("this system does not list its sockets in files")
    places = [line.split()[-1] for line in environment.read_text().splitlines()]
    doors = [Path(each) for each in places if each.endswith("/door")]
    ours = [each for each in doors if each.exists() and each.stat().st_uid == os.getuid()]
    assert ours
    assert {stat.S_IMODE(each.parent.stat().st_mode) for each in ours} == {0o700}
    for each in ours:
        with grpc.insecure_channel(f"unix:{each}") as channel:
            with pytest.raises(grpc.RpcError) as refused:
                list(stub_of(channel).GetWorkItems(pb.GetWorkItemsRequest()))
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED, "it hands out no work"


def test_an_instance_whose_worker_is_killed_in_mid_turn_completes_once(
    modern: Served, tmp_path: Path
) -> None:
    name = start(modern, "Dies", str(tmp_path / "died"))
    assert modern.finished(name)["output"] == 9
    lines = modern.ledger.read_text().splitlines()
    assert lines.count(f"survived {name}") == 1


def test_instances_and_entities_go_on_after_a_kill_of_the_host(python: str, tmp_path: Path) -> None:
    with hosted(tmp_path, python) as served:
        start(served, "Job", "kept", name="one")
        entity(served, "Counter", "c", "add", 2)
        until(lambda: entity(served, "Counter", "c", "read") == 2)
        until(lambda: served.ledger.exists() and "ran one" in served.ledger.read_text())
        served.host.kill()
    with hosted(tmp_path, python, "--workers", "2") as served:
        entity(served, "Counter", "c", "add", 3)
        assert served.http.post("/api/careless/Job/one").status_code == 409
        served.raise_event("one", "go")
        assert verb(served, "one", "wait") == ["COMPLETED", '"kept"']
        until(lambda: entity(served, "Counter", "c", "read") == 5)
        assert served.ledger.read_text().splitlines().count("ran one") == 1


def test_each_link_opens_itself_where_keys_are_asked_for(python: str, tmp_path: Path) -> None:
    with hosted(tmp_path, python, "--keys") as served:
        name = "a+b~ü"
        started = served.http.post(f"/api/careless/Job/{quote(name, safe='')}")
        assert started.status_code == 202
        links = started.json()
        assert links["id"] == name
        assert served.http.get(started.headers["location"]).status_code == 202
        asked, _ = served.http.post(f"/api/instances/{quote(name, safe='')}/links").json()
        assert asked == links, "the asynchronous client makes the same links"

        bare, _, code = links["statusQueryGetUri"].rpartition("code=")
        assert served.http.get(bare).status_code == 401
        end = links["terminatePostUri"].rpartition("code=")[0].replace("{text}", "x")
        assert served.http.post(f"{end}code={code}").status_code == 401
        event = links["sendEventPostUri"].replace("{eventName}", "go")
        assert served.http.post(event, json=1).status_code == 202
        until(lambda: verb(served, quote(name, safe=""), "state")[0] == "COMPLETED")


def test_it_runs_beside_a_grpc_door_that_was_asked_for(python: str, tmp_path: Path) -> None:
    with hosted(tmp_path, python, "--grpc-port", "0") as served:
        assert output(served, "Native", 2) == [4, 14, 2, 16, "2.5"]
        found = re.search(r"Durable Task gRPC: (\S+) \(", "".join(served.host.output))
        assert found is not None
        client = new_client(found[1])
        name = client.schedule_new_orchestration("Square", input=3)
        assert outcome(client, name).get_output() == 9
        with worker(found[1], orchestrators=(foreign,)):
            name = client.schedule_new_orchestration("foreign")
            assert outcome(client, name).get_output() == 16
        client.close()


def test_an_app_keeps_large_payloads_elsewhere(python: str, tmp_path: Path) -> None:
    with hosted(tmp_path, python, app=HOARDER) as served:
        words = "long " * 1000
        answer = served.http.post("/api/repeat", content=words)
        assert answer.text == words * 2
        kept = [json.loads(each.read_text()) for each in (tmp_path / "payloads").iterdir()]
        assert words in kept
        assert words * 2 in kept
        (listed,) = served.http.get(f"{served.host.management}/instances").json()
        assert "long" not in json.dumps(listed), "the hub holds references only"

        assert served.start("Repeats", "lost", "file:gone").status_code == 202
        status = served.finished("lost")
        assert status["runtimeStatus"] == "Failed"
        assert "The turn could not be finished" in str(status["output"])
        assert "gone" in str(status["output"]), "a failure of the SDK's own is told too"


def foreign(context: Any, _: Any) -> Any:
    """Runs in a worker of the door, and calls an orchestrator of the app."""
    return (yield context.call_sub_orchestrator("Square", input=4))


def test_without_the_extra_it_is_refused_with_what_to_install(python: str, tmp_path: Path) -> None:
    launcher = ("tests.e2e.without_grpc",)
    with pytest.raises(HostDied) as told:
        serve(tmp_path, "--python", python, app=APP, launcher=launcher)
    assert "azure-functions-durable 2.0.0rc3" in str(told.value)
    assert "pip install '.[grpc]'" in str(told.value)
