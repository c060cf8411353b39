"""The watchdog: an orchestrator that blocks is named while it does so."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from soloist_worker.watchdog import Watchdog, place_of
from tests.worker.apps import InProcessHost, ProcessHost, activity, episode, load, write_app

APP = """
    import threading
    import time
    from shared.waiting import wait_long

    gate = threading.Event()


    @app.orchestration_trigger(context_name="context")
    def blocks(context):
        gate.wait()
        return "through"


    @app.orchestration_trigger(context_name="context")
    def waits_elsewhere(context):
        wait_long(gate)
        return "through"


    @app.orchestration_trigger(context_name="context")
    def never_returns(context):
        while True:
            pass


    @app.orchestration_trigger(context_name="context")
    def hello(context):
        return "hello"


    @app.activity_trigger(input_name="x")
    def open_gate(x):
        gate.set()
"""


def write(folder: Path) -> Path:
    """Write the app and a module that it shares."""
    (folder / "shared").mkdir()
    (folder / "shared" / "waiting.py").write_text("def wait_long(gate):\n    gate.wait()\n")
    return write_app(folder, APP)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[InProcessHost]:
    with InProcessHost() as host:
        assert host.ask(load(write(tmp_path), slow_turn_seconds=0.02))["kind"] == "loaded"
        yield host


@pytest.mark.parametrize(
    ("name", "place"),
    [("blocks", "function_app.py:{} in blocks"), ("waits_elsewhere", "shared/waiting.py:2 in")],
)
def test_a_turn_that_blocks_is_named_with_its_place_while_it_lasts(
    host: InProcessHost, tmp_path: Path, name: str, place: str
) -> None:
    lines = (tmp_path / "function_app.py").read_text().splitlines()
    line = lines.index("    gate.wait()") + 1
    slow = host.ask(episode(1, name, instance_id="stuck"))
    assert (slow["kind"], slow["name"], slow["instance_id"]) == ("slow_turn", name, "stuck")
    assert slow["seconds"] >= 0.02
    assert slow["place"].startswith(place.format(line))
    again = host.next()
    assert again["seconds"] >= 0.04
    host.worker.receive([activity(2, "open_gate")])
    answers = [host.next()]
    while "episode_done" not in {each["kind"] for each in answers}:
        answers.append(host.next())
    assert {each["kind"] for each in answers} <= {"slow_turn", "activity_done", "episode_done"}


def test_code_that_never_comes_back_is_seen_too(tmp_path: Path) -> None:
    with ProcessHost() as host:
        host.ask(load(write(tmp_path), slow_turn_seconds=0.02))
        slow = host.ask(episode(1, "never_returns"))
        assert slow["kind"] == "slow_turn"
        assert "in never_returns" in slow["place"]
        host.process.kill()


class _Scene:
    """A watchdog, a clock to turn, and what was reported."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reports: list[dict[str, Any]] = []
        self.dog = Watchdog(
            self.reports.append,
            app_dir=str(Path(__file__).parent),
            slow_seconds=1.0,
            clock=lambda: self.now,
        )
        self.dog.thread_id = threading.get_ident()

    def begin(self) -> None:
        self.dog.turn_at = self.now
        self.dog.turn = episode(1, "slow")

    def seconds(self) -> list[float]:
        return [each["seconds"] for each in self.reports]


def test_a_turn_is_reported_when_it_is_slow_and_then_each_time_twice_as_late() -> None:
    scene = _Scene()
    scene.begin()
    for _ in range(10):
        scene.now += scene.dog.look()
    assert scene.seconds() == [1.0, 2.0, 4.0, 8.0]
    assert "test_watchdog.py:" in scene.reports[0]["place"]


def test_a_late_look_reports_once() -> None:
    scene = _Scene()
    scene.begin()
    scene.now += 9.0
    assert scene.dog.look() == 1.0
    assert scene.seconds() == [9.0]


def test_the_turn_after_a_long_one_is_seen_in_time() -> None:
    scene = _Scene()
    scene.begin()
    scene.now += 40.0
    pause = scene.dog.look()
    scene.begin()
    scene.now += pause
    scene.dog.look()
    assert scene.seconds() == [40.0, 1.0]


def test_a_quick_turn_is_not_reported_and_the_next_one_counts_anew() -> None:
    scene = _Scene()
    for _ in range(5):
        scene.begin()
        scene.now += 0.9
        scene.dog.look()
    assert scene.reports == []
    scene.dog.turn = None
    assert scene.dog.look() == 1.0


def test_a_slow_turn_that_nobody_looked_at_is_reported_when_it_ends() -> None:
    scene = _Scene()
    scene.begin()
    scene.dog.ended(3.0)
    assert [(each["seconds"], each["place"]) for each in scene.reports] == [(3.0, "")]


def test_a_slow_turn_that_was_reported_is_not_reported_again_at_its_end() -> None:
    scene = _Scene()
    scene.begin()
    scene.now += 1.5
    scene.dog.look()
    scene.dog.ended(1.9)
    assert scene.seconds() == [1.5]


def test_the_innermost_frame_of_the_app_is_the_place(tmp_path: Path) -> None:
    frames: list[FrameType] = []
    code = "def outer(call):\n    call()\n"
    space: dict[str, Any] = {}
    exec(compile(code, str(tmp_path / "orders.py"), "exec"), space)
    space["outer"](lambda: frames.append(sys._getframe()))
    assert place_of(frames[0], f"{tmp_path}/") == "orders.py:2 in outer"


def test_without_a_frame_of_the_app_there_is_no_place(tmp_path: Path) -> None:
    assert place_of(sys._getframe(), f"{tmp_path}/") == ""
    assert place_of(None, f"{tmp_path}/") == ""
