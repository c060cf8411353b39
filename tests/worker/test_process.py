"""The worker as a process of its own, at the other end of a socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.worker.apps import ProcessHost, activity, episode, http, load, write_app
from tests.worker.hosting import completed, turn_of

HELLO = """
    import gc
    import json
    import os
    import sys
    import threading

    gate = threading.Event()


    @app.orchestration_trigger(context_name="context")
    def hello(context):
        greeting = yield context.call_activity("say", "Tokyo")
        return greeting


    @app.activity_trigger(input_name="city")
    def say(city: str):
        return f"Hello {city}"


    @app.activity_trigger(input_name="unused")
    def surroundings(unused):
        return {
            "cwd": os.getcwd(),
            "root": os.environ["AzureWebJobsScriptRoot"],
            "sees_host": "soloist" in sys.modules,
            "path": sys.path,
            "main": threading.current_thread() is threading.main_thread(),
        }


    @app.activity_trigger(input_name="unused")
    def looks_for_cycles_in_modules(unused):
        return any(each is sys.modules[__name__].__dict__ for each in gc.get_objects())


    @app.activity_trigger(input_name="unused")
    def policy(unused):
        return os.sched_getscheduler(0)


    @app.activity_trigger(input_name="unused")
    async def async_thread(unused):
        return threading.current_thread() is threading.main_thread()


    @app.activity_trigger(input_name="unused")
    def wait(unused):
        gate.wait()
        return "waited"


    @app.activity_trigger(input_name="unused")
    async def open_gate(unused):
        gate.set()


    @app.route(route="exit")
    def leave(req):
        sys.exit(3)
"""


def test_an_app_is_loaded_described_and_run(tmp_path: Path) -> None:
    with ProcessHost() as host:
        loaded = host.ask(load(write_app(tmp_path, HELLO)))
        assert loaded["kind"] == "loaded"
        assert {each["name"] for each in loaded["functions"]} >= {"hello", "say"}
        first = host.ask(episode(1, "HELLO"))
        (action,) = first["result"]["actions"]
        assert action == {"type": "ScheduleTask", "task_id": 0, "name": "say", "input": '"Tokyo"'}
        done = host.ask(activity(2, "Say", action["input"]))
        assert done == {
            "kind": "activity_done",
            "call": 2,
            "result": '"Hello Tokyo"',
            "failure": None,
        }
        events = turn_of(completed(0, done["result"]))
        last = host.ask(episode(3, "hello", position=2, events=events))
        assert last["result"]["actions"][0]["result"] == '"Hello Tokyo"'


def test_a_session_that_is_not_held_asks_for_the_past(tmp_path: Path) -> None:
    events = turn_of(completed(0, '"x"'))
    with ProcessHost() as host:
        host.ask(load(write_app(tmp_path, HELLO)))
        answer = host.ask(episode(1, "hello", position=3, events=events))
        assert answer == {"kind": "history_missing", "call": 1}


def test_the_app_sees_its_own_surroundings(tmp_path: Path) -> None:
    folder = write_app(tmp_path, HELLO)
    (folder / ".python_packages/lib/site-packages").mkdir(parents=True)
    with ProcessHost() as host:
        host.ask(load(folder))
        seen = json.loads(host.ask(activity(1, "surroundings"))["result"])
        worker_folder = str(Path(__file__).parents[2] / "src" / "soloist_worker")
        assert (seen["cwd"], seen["root"], seen["sees_host"]) == (str(folder),) * 2 + (False,)
        assert seen["path"][:2] == [str(folder), str(folder / ".python_packages/lib/site-packages")]
        assert worker_folder not in seen["path"]
        assert seen["main"] is False
        assert host.ask(activity(2, "async_thread"))["result"] == "true"


def test_whoever_looks_for_cycles_need_not_look_through_the_apps_modules(tmp_path: Path) -> None:
    with ProcessHost() as host:
        host.ask(load(write_app(tmp_path, HELLO)))
        assert host.ask(activity(1, "looks_for_cycles_in_modules"))["result"] == "false"


def may_choose_a_policy() -> bool:
    """Whether a process may change its policy: other systems have none, a container may forbid
    it, and one that somebody else has chosen is kept."""
    if sys.platform != "linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    change = "import os; os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))"
    ended = subprocess.run([sys.executable, "-c", change], stderr=subprocess.DEVNULL, check=False)
    return ended.returncode == 0


@pytest.mark.skipif(not may_choose_a_policy(), reason="no policies to choose from here")
def test_user_code_that_is_given_work_does_not_interrupt_the_host(tmp_path: Path) -> None:
    with ProcessHost() as host:
        host.ask(load(write_app(tmp_path, HELLO)))
        done = host.ask(activity(1, "policy", "null"))
        assert done["result"] == str(os.SCHED_BATCH)


def test_a_blocking_function_blocks_no_asynchronous_one(tmp_path: Path) -> None:
    with ProcessHost() as host:
        host.ask(load(write_app(tmp_path, HELLO), threads=1))
        host.post(activity(1, "wait"))
        assert host.ask(episode(2, "hello"))["kind"] == "episode_done"
        host.post(activity(3, "open_gate"))
        answers: dict[int, Any] = {}
        while len(answers) < 2:
            answers |= {each["call"]: each for each in host.frame() or []}
        assert answers[1]["result"] == '"waited"'


def test_episodes_of_one_frame_are_answered_in_one_frame(tmp_path: Path) -> None:
    with ProcessHost() as host:
        host.ask(load(write_app(tmp_path, HELLO)))
        host.post(*(episode(each, "hello", generation=each) for each in range(10)))
        answers: list[Any] = []
        while len(answers) < 10:
            answers += host.frame() or []
        assert [each["call"] for each in answers] == list(range(10))


def test_stop_lets_what_runs_finish(tmp_path: Path) -> None:
    with ProcessHost() as host:
        host.ask(load(write_app(tmp_path, HELLO)))
        host.post(activity(1, "wait"))
        host.post({"kind": "stop"})
        host.post(activity(2, "open_gate"))
        answers = (host.frame() or []) + (host.frame() or [])
        assert {each["call"] for each in answers} == {1, 2}
        assert host.frame() is None
        assert host.wait() == 0


def test_stop_before_anything_was_loaded_ends_the_process() -> None:
    with ProcessHost() as host:
        host.post({"kind": "stop"})
        assert host.wait() == 0


def test_the_process_ends_with_its_host_even_while_a_function_runs(tmp_path: Path) -> None:
    host = ProcessHost()
    with host:
        host.ask(load(write_app(tmp_path, HELLO)))
        host.post(activity(1, "wait"))
    assert host.wait() == 0


def test_an_interrupt_is_the_hosts_to_answer(tmp_path: Path) -> None:
    with ProcessHost() as host:
        host.ask(load(write_app(tmp_path, HELLO)))
        os.kill(host.process.pid, signal.SIGINT)
        assert host.ask(activity(1, "say", '"x"'))["result"] == '"Hello x"'


def test_a_function_that_exits_has_failed_and_nothing_else(tmp_path: Path) -> None:
    with ProcessHost() as host:
        host.ask(load(write_app(tmp_path, HELLO)))
        failed = host.ask(http(1, "leave"))
        assert failed["failure"]["error_type"] == "SystemExit"
        assert host.ask(activity(2, "say", '"x"'))["result"] == '"Hello x"'


def test_host_json_with_comments_is_explained(tmp_path: Path) -> None:
    folder = write_app(tmp_path, HELLO)
    (folder / "host.json").write_text('{\n  // mine\n  "version": "2.0"\n}')
    with ProcessHost() as host:
        refused = host.ask(load(folder))
        assert refused["kind"] == "load_failed"
        assert refused["message"].startswith("host.json is not strict JSON")
        assert "line 2" in refused["message"]
        assert "Remove comments" in refused["message"]
