"""Our replay and the SDK's own agree on everything that an orchestrator's code can see."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, assume, event, given, note, settings
from hypothesis import strategies as st

from tests.worker.hosting import (
    CODEC,
    INSTANCE,
    Story,
    at_second,
    completed,
    failed,
    fired,
    raised,
    started,
    turn_of,
)
from tests.worker.oracle import Oracle
from tests.worker.programs import Log, Program, orchestrator_of, programs

_MAX_TURNS = 12
# The SDK stops with an error of its own when a nested task_all fails and its other tasks end
# later. Ours goes on; there is nothing to compare.
_SDK_DEFECT = "does not have pending sub-task"


class _World:
    """The open work of an execution, and a choice of what happens next."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self.activities: set[int] = set()
        self.timers: set[int] = set()
        self.cancelled: set[int] = set()
        self.fired: set[int] = set()

    def absorb(self, actions: list[dict[str, Any]]) -> None:
        for action in actions:
            if action["type"] == "ScheduleTask":
                self.activities.add(action["task_id"])
            elif action["type"] == "CreateTimer":
                self.timers.add(action["task_id"])
            elif action["type"] == "CancelTimer":
                self.timers.discard(action["task_id"])
                self.cancelled.add(action["task_id"])

    def arrivals(self) -> list[dict[str, Any]]:
        return [self._arrival() for _ in range(self._draw(st.integers(1, 4)))]

    def _arrival(self) -> dict[str, Any]:
        choices: list[tuple[str, Any]] = [("event", name) for name in ("go", "GO", "Stop")]
        choices += [("activity", task_id) for task_id in sorted(self.activities)] * 2
        choices += [("timer", task_id) for task_id in sorted(self.timers)] * 2
        kind, which = self._draw(st.sampled_from(choices))
        if kind == "event":
            return raised(which, self._draw(st.sampled_from([None, "1", '"a"', '{"b": 2}'])))
        if kind == "timer":
            self.timers.discard(which)
            self.fired.add(which)
            return fired(which)
        self.activities.discard(which)
        if self._draw(st.integers(0, 3)) == 0:
            return failed(which, self._draw(st.sampled_from(["bad", "", "two\nlines"])))
        return completed(which, self._draw(st.sampled_from(["null", "9.5", '"sent"', "[1]"])))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(program=programs, data=st.data())
def test_random_orchestrations_look_the_same_under_both(program: Program, data: Any) -> None:
    live_log, again_log, oracle_log = Log(), Log(), Log()
    story = Story(orchestrator_of(program, live_log))
    again = Story(orchestrator_of(program, again_log))
    text = data.draw(st.sampled_from([None, "5", '{"a": 1}', '"\\"5\\""']))
    sent = json.loads(text) if text and text.startswith('"') else text
    oracle = Oracle(orchestrator_of(program, oracle_log), INSTANCE, sent)
    world = _World(data.draw)
    events = started(text)
    for number in range(_MAX_TURNS):
        note(str(events))
        again.history = story.history
        repeated = again.again(events)
        result = story.turn(events)
        oracle.turn(events)
        assume(_SDK_DEFECT not in (oracle.error or ""))
        assert repeated == result, "the same history yields the same actions"
        world.absorb(result["actions"])
        _compare(story, oracle, world, result)
        assert live_log.seen == again_log.seen == oracle_log.seen
        assert again_log.replaying == oracle_log.replaying
        assert True not in live_log.replaying
        if oracle.is_done or oracle.error is not None:
            event(f"over after {number + 1} turns")
            return
        arrivals = world.arrivals()
        events = turn_of(*arrivals, at=at_second(data.draw(st.integers(0, number + 1))))


def _compare(story: Story, oracle: Oracle, world: _World, result: dict[str, Any]) -> None:
    end = next((each for each in result["actions"] if "task_id" not in each), None)
    details = (end or {}).get("failure")
    assert (details or {}).get("message") == oracle.error
    asked = [each for each in story.actions if each["type"] in ("ScheduleTask", "CreateTimer")]
    assert [each["task_id"] for each in asked] == list(range(len(asked)))
    if not oracle.is_labelled:
        return
    status = result["custom_status"]
    assert (json.loads(status) if status else None) == oracle.custom_status
    assert len(asked) == len(oracle.leaves)
    for ours, theirs in zip(asked, oracle.leaves, strict=True):
        if ours["type"] == "ScheduleTask":
            assert (ours["name"], ours["input"]) == (theirs["functionName"], theirs["input"])
        else:
            assert ours["fire_at"][:19] == theirs["fireAt"][:19]
            gone = world.cancelled | world.fired
            assert not theirs["isCanceled"] or ours["task_id"] in gone
    cancelled = {each for each, leaf in enumerate(oracle.leaves) if leaf.get("isCanceled")}
    assert world.cancelled <= cancelled
    if details is None and oracle.is_done:
        assert end is not None
        follow = [each for each in oracle.actions if each["actionType"] == 4]
        if follow:
            assert json.loads(end["input"]) == follow[0]["input"]
        else:
            assert end == {
                "type": "CompleteExecution",
                "result": None if oracle.output is None else json.dumps(oracle.output),
                "failure": None,
            }
    else:
        assert (end is None) == (oracle.error is None)


def test_the_codec_is_the_sdks() -> None:
    assert CODEC.dumps.__module__ == "azure.functions._durable_functions"
