"""What a person may get wrong: a clear sentence each, no traceback, nothing lost."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from proofs.hosts import HostDied, HostProcess
from tests.e2e.conftest import APP, Served

HEADER = "import azure.functions as func\nimport azure.durable_functions as df\napp = df.DFApp()\n"


def app_with(folder: Path, code: str, host_json: str = '{"version": "2.0"}') -> Path:
    """Write an app."""
    folder.mkdir(exist_ok=True)
    (folder / "function_app.py").write_text(code)
    (folder / "host.json").write_text(host_json)
    return folder


def refusal(app: Path, store: Path | str, *options: str) -> str:
    """Start a host that must not start; return what it printed."""
    with pytest.raises(HostDied) as death:
        HostProcess(app, store, *options)
    return str(death.value)


def test_a_second_host_on_the_same_file_is_refused_and_told_who_holds_it(served: Served) -> None:
    text = refusal(APP, served.store)
    assert f"pid {served.host.pid}" in text
    assert "Traceback" not in text
    assert served.http.get("/api/ping").status_code == 200


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        text = refusal(APP, tmp_path / "hub.db", "--port", port)
    assert f"port {port}" in text
    assert "--port" in text
    assert "Traceback" not in text


def test_a_syntax_error_shows_the_users_line_and_nothing_of_ours(tmp_path: Path) -> None:
    text = refusal(app_with(tmp_path / "app", HEADER + "def broken(:\n"), tmp_path / "hub.db")
    assert "def broken(:" in text
    assert "SyntaxError" in text
    assert "soloist_worker" not in text


def test_an_import_error_shows_the_users_frames(tmp_path: Path) -> None:
    text = refusal(app_with(tmp_path / "app", "import nothing_of_that_name\n"), tmp_path / "hub.db")
    assert "nothing_of_that_name" in text
    assert "soloist_worker" not in text


def test_unsupported_triggers_are_all_named_and_can_be_skipped(tmp_path: Path) -> None:
    code = HEADER + (
        '@app.queue_trigger(arg_name="message", queue_name="q", connection="C")\n'
        "def on_queue(message: func.QueueMessage) -> None: ...\n"
        '@app.event_hub_message_trigger(arg_name="event", event_hub_name="h", connection="C")\n'
        "def on_event(event: func.EventHubEvent) -> None: ...\n"
        '@app.route(route="ping")\n'
        'def ping(req: func.HttpRequest) -> str: return "pong"\n'
    )
    app = app_with(tmp_path / "app", code)
    text = refusal(app, tmp_path / "hub.db")
    for word in ("on_queue", "queueTrigger", "on_event", "eventHubTrigger"):
        assert word in text
    host = HostProcess(app, tmp_path / "hub.db", "--skip-unsupported")
    assert "ping" in "".join(host.output)
    assert host.stop() == 0


APPS_THAT_ARE_REFUSED = {
    "SyntaxError": HEADER + "def broken(:\n",
    "nothing_of_that_name": "import nothing_of_that_name\n",
    "needs one FunctionApp": "import azure.functions as func\n",
    "exited with code 3": HEADER + "import os\nos._exit(3)\n",
    "unique function name": HEADER
    + '@app.function_name("twice")\n@app.route(route="a")\ndef a(req): return "a"\n'
    + '@app.function_name("twice")\n@app.route(route="b")\ndef b(req): return "b"\n',
    "schedule": HEADER
    + '@app.timer_trigger(arg_name="timer", schedule="every night")\ndef nightly(timer): ...\n',
    "queueTrigger": HEADER
    + '@app.queue_trigger(arg_name="message", queue_name="q", connection="C")\n'
    + "def on_queue(message): ...\n",
}
"""What is wrong with them, by a word of what the user is told."""


@pytest.mark.parametrize("word", APPS_THAT_ARE_REFUSED)
def test_an_app_that_is_refused_leaves_no_hub_behind(tmp_path: Path, word: str) -> None:
    app = app_with(tmp_path / "app", APPS_THAT_ARE_REFUSED[word])
    files = sorted(app.rglob("*"))
    store = app / ".soloist" / "hub.db"
    text = refusal(app, store, "--keys")
    assert word in text
    assert [each for each in sorted(app.rglob("*")) if "__pycache__" not in each.parts] == files


def test_an_app_that_is_refused_leaves_the_hub_that_is_there(tmp_path: Path) -> None:
    app = app_with(tmp_path / "app", HEADER)
    store = app / ".soloist" / "hub.db"
    host = HostProcess(app, store)
    assert f"is made in {store}" in "".join(host.output)
    assert host.stop() == 0
    app_with(app, HEADER + "def broken(:\n")
    before = store.read_bytes()
    assert "SyntaxError" in refusal(app, store)
    assert store.read_bytes() == before
    app_with(app, HEADER)
    host = HostProcess(app, store)
    assert f"lies in {store}" in "".join(host.output)
    assert host.stop() == 0


def test_comments_in_host_json_are_pointed_at(tmp_path: Path) -> None:
    app = app_with(tmp_path / "app", HEADER, '{\n  // a comment\n  "version": "2.0"\n}')
    text = refusal(app, tmp_path / "hub.db")
    assert "host.json" in text
    assert "comment" in text
    assert "Traceback" not in text


def test_a_folder_without_an_app_is_named(tmp_path: Path) -> None:
    text = refusal(tmp_path, tmp_path / "hub.db")
    assert "function_app.py" in text
    assert "Traceback" not in text


def test_a_hub_in_an_impossible_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    text = refusal(APP, tmp_path / "file" / "hub.db")
    assert str(tmp_path / "file") in text
    assert "Traceback" not in text


def test_a_file_that_is_no_hub_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "letter.txt"
    place.write_text("Dear reader, " * 500)
    text = refusal(APP, place)
    assert "letter.txt" in text
    assert place.read_text().startswith("Dear reader")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert str(folder) in refusal(APP, folder / "hub.db")


def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    shutil.copytree(APP, tmp_path / "app")
    text = refusal(tmp_path / "app", "postgresql://me:secret@127.0.0.1:1/hub")
    assert "database 'hub' at 127.0.0.1:1 does not answer" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("path", "body", "code", "word"),
    [
        ("/orchestrators/Nobody/x1", b"1", 400, "Nobody"),
        ("/orchestrators/Job/" + "x" * 101, b"1", 400, "100"),
        ("/orchestrators/Job/@entity", b"1", 400, "@"),
        ("/orchestrators/Job/x2", b"{not json", 400, "JSON"),
        ("/orchestrators/Job/x3", b"NaN", 400, "JSON"),
        ("/orchestrators/Job/x4", b"[" * 100_000, 400, ""),
        ("/orchestrators/Job/x5", b'"' + b"x" * (5 * 1024 * 1024) + b'"', 413, "bytes"),
    ],
)
def test_a_bad_start_is_refused_with_a_reason_and_starts_nothing(
    served: Served, path: str, body: bytes, code: int, word: str
) -> None:
    answer = served.http.post(
        served.host.management + path,
        content=body,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == code
    assert word in answer.json()["Message"] + answer.json()["ExceptionMessage"]
    assert served.status(path.rpartition("/")[2][:50]).status_code == 404


BAD_STARTS = (
    ("Nobody/x1", 400, "The function 'Nobody' doesn't exist"),
    ("Job/a%2Fb", 400, "'/'"),
    ("Job/a%5Cb", 400, "it contains '\\\\'"),
    ("Job/a%23b", 400, "it contains '#'"),
    ("Job/a%3Fb", 400, "'?'"),
    ("Job/a%3FifExists%3Dreplace", 400, "'?'"),
    ("Job/a%07b", 400, "U+0007"),
    ("Job/@b", 400, "it begins with '@'"),
    ("Job/" + "x" * 101, 400, "at most 100 are allowed"),
    ("Job/%20", 400, "white space"),
    ("Job/%FF", 400, "not valid UTF-8"),
)


@pytest.mark.parametrize(("path", "code", "words"), BAD_STARTS)
def test_so_is_one_by_a_function_of_the_app_that_checks_nothing(
    served: Served, path: str, code: int, words: str
) -> None:
    answer = served.http.post(f"/api/orchestrators/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (
        code,
        "text/plain; charset=utf-8",
    )
    assert words in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("size", [5, 40])
def test_an_input_beyond_the_bound_is_told_to_the_caller(served: Served, size: int) -> None:
    body = b'"' + b"x" * (size * 1024 * 1024) + b'"'
    answer = served.http.post("/api/orchestrators/Job/large", content=body)
    assert answer.status_code == 413
    assert "--max-payload-bytes" in answer.text
    assert served.status("large").status_code == 404


def test_what_the_app_itself_cannot_read_stays_its_own_error(served: Served) -> None:
    answer = served.http.post("/api/orchestrators/Job/x2", content=b"{not json")
    assert (answer.status_code, answer.content) == (500, b"")
