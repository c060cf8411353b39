"""Turns of an orchestrator: the laws that hold whatever code and world do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soloist.core import messages
from soloist.core.actions import (
    Action,
    CancelTimer,
    CarriedEvent,
    CompleteExecution,
    ContinueAsNew,
    CreateTimer,
    EpisodeResult,
    LockEntities,
    ScheduleTask,
    SendEvent,
    UnlockEntity,
)
from soloist.core.episode import Conclusion, End, Limits, Turn, close_turn, open_turn
from soloist.core.events import (
    Arrival,
    EntityLockGranted,
    EventRaised,
    ExecutionCompleted,
    ExecutionStarted,
    ExecutionTerminated,
    HistoryEvent,
    OrchestratorStarted,
    TaskCompleted,
    TaskFailed,
    TaskScheduled,
    TimerCancelled,
    TimerFired,
    decode_events,
    encode_events,
)
from soloist.core.failures import FailureDetails
from soloist.core.state import OrchestrationState
from soloist.core.status import RuntimeStatus
from soloist.errors import HistoryCorrupt

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
WHO = messages.Execution(instance_id="x", generation=1, execution_id="e1", name="Job")
STARTED = ExecutionStarted(NOW, "Job", "e1", '{"a":1}')


class Execution:
    """Drives the two halves of turns as a session does."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.state = OrchestrationState()
        self.history: list[HistoryEvent] = []
        self.end: End | None = None
        self.now = NOW
        self.limits = limits or Limits()

    def take(self, arrivals: list[Arrival], *actions: Action) -> Conclusion:
        turn = open_turn(self.state, arrivals, self.end, self.now)
        result = EpisodeResult(actions) if turn.needs_code else EpisodeResult()
        conclusion = close_turn(self.state, turn, result, self.end, self.now, self.limits, WHO)
        self.end = conclusion.end
        self.history += conclusion.events
        self.now += timedelta(seconds=1)
        return conclusion


def test_the_first_turn_records_the_clock_the_start_and_what_the_code_asked_for() -> None:
    execution = Execution()
    conclusion = execution.take([STARTED], ScheduleTask(0, "A", "1"))
    assert conclusion.events == (
        OrchestratorStarted(NOW),
        STARTED,
        TaskScheduled(NOW, 0, "A", "1"),
    )
    assert conclusion.status is RuntimeStatus.RUNNING
    assert not conclusion.is_over


def test_a_returned_orchestrator_is_completed_with_its_output() -> None:
    conclusion = Execution().take([STARTED], CompleteExecution('"done"'))
    assert conclusion.status is RuntimeStatus.COMPLETED
    assert conclusion.output == '"done"'
    assert conclusion.is_over
    assert isinstance(conclusion.events[-1], ExecutionCompleted)


def test_a_raising_orchestrator_fails_but_what_it_began_is_recorded_first() -> None:
    execution = Execution()
    failure = FailureDetails("bad", "ValueError")
    conclusion = execution.take([STARTED], ScheduleTask(0, "A"), CompleteExecution(failure=failure))
    assert conclusion.status is RuntimeStatus.RUNNING
    conclusion = execution.take([TaskCompleted(NOW, 0, "1")])
    assert conclusion.status is RuntimeStatus.FAILED
    assert conclusion.failure == failure


def test_an_execution_ends_only_when_nothing_it_began_is_open() -> None:
    execution = Execution()
    fire_at = NOW + timedelta(hours=1)
    conclusion = execution.take(
        [STARTED], ScheduleTask(0, "A"), CreateTimer(1, fire_at), CompleteExecution("1")
    )
    assert not conclusion.is_over
    conclusion = execution.take([TaskCompleted(NOW, 0)])
    assert not conclusion.is_over
    conclusion = execution.take([TimerFired(fire_at, 1, fire_at)])
    assert conclusion.is_over
    assert conclusion.output == "1"


def test_a_cancelled_timer_holds_nothing_up() -> None:
    execution = Execution()
    execution.take([STARTED], ScheduleTask(0, "A"), CreateTimer(1, NOW + timedelta(hours=1)))
    conclusion = execution.take([TaskCompleted(NOW, 0)], CancelTimer(1), CompleteExecution(None))
    assert conclusion.is_over
    assert TimerCancelled(execution.now - timedelta(seconds=1), 1) in conclusion.events


def test_cancelling_a_timer_that_fired_in_the_same_turn_records_nothing() -> None:
    execution = Execution()
    execution.take([STARTED], CreateTimer(0, NOW))
    conclusion = execution.take([TimerFired(NOW, 0, NOW)], CancelTimer(0), CompleteExecution(None))
    assert conclusion.is_over
    assert not any(isinstance(event, TimerCancelled) for event in conclusion.events)


def test_a_second_completion_of_a_task_never_enters_the_history() -> None:
    execution = Execution()
    execution.take([STARTED], ScheduleTask(0, "A"))
    failed = TaskFailed(NOW, 0, FailureDetails("late"))
    turn = open_turn(execution.state, [TaskCompleted(NOW, 0, "1"), failed], None, NOW)
    assert turn.events[1:] == (TaskCompleted(NOW, 0, "1"),)
    execution.take([TaskCompleted(NOW, 0, "1")])
    assert open_turn(execution.state, [failed], None, NOW) == Turn((), needs_code=False)


def test_termination_cuts_off_what_arrives_behind_it_and_runs_no_code() -> None:
    execution = Execution()
    execution.take([STARTED], ScheduleTask(0, "A"))
    terminated = ExecutionTerminated(NOW, "enough")
    raised = EventRaised(NOW, "E")
    turn = open_turn(execution.state, [raised, terminated, TaskCompleted(NOW, 0)], None, NOW)
    assert turn == Turn((raised, terminated), needs_code=False)
    conclusion = execution.take([raised, terminated, TaskCompleted(NOW, 0)])
    assert conclusion.status is RuntimeStatus.TERMINATED
    assert conclusion.output == "enough"
    assert conclusion.is_over


def test_a_pending_instance_can_be_terminated_before_its_code_ever_ran() -> None:
    conclusion = Execution().take([STARTED, ExecutionTerminated(NOW, None)])
    assert conclusion.status is RuntimeStatus.TERMINATED


def test_events_after_continue_as_new_belong_to_the_next_execution() -> None:
    execution = Execution()
    carried = CarriedEvent("early", "1")
    execution.take([STARTED], ScheduleTask(0, "A"), ContinueAsNew("2", (carried,)))
    execution.take([EventRaised(NOW, "late", "3")])
    conclusion = execution.take([TaskCompleted(NOW, 0)])
    assert conclusion.is_over
    assert conclusion.end == ContinueAsNew("2", (carried, CarriedEvent("late", "3")))


def test_the_clock_of_episodes_never_goes_back() -> None:
    execution = Execution()
    execution.take([STARTED], ScheduleTask(0, "A"))
    execution.now = NOW - timedelta(hours=1)
    conclusion = execution.take([TaskCompleted(NOW, 0)])
    assert conclusion.events[0] == OrchestratorStarted(NOW)


def test_too_many_actions_fail_the_instance_with_the_setting_named() -> None:
    execution = Execution(Limits(max_actions=2))
    conclusion = execution.take([STARTED], *(ScheduleTask(i, "A") for i in range(3)))
    assert conclusion.status is RuntimeStatus.FAILED
    assert conclusion.failure is not None
    assert "maxOrchestrationActions" in conclusion.failure.message


@pytest.mark.parametrize(
    "action", [ScheduleTask(0, "A", "x" * 11), CompleteExecution("x" * 11), ContinueAsNew("é" * 6)]
)
def test_an_oversized_payload_fails_the_instance_with_the_bound_named(action: Action) -> None:
    conclusion = Execution(Limits(max_payload_bytes=10)).take([STARTED], action)
    assert conclusion.status is RuntimeStatus.FAILED
    assert conclusion.failure is not None
    assert "--max-payload-bytes" in conclusion.failure.message


@pytest.mark.parametrize(
    "event",
    [
        TaskCompleted(NOW, 7),
        TimerFired(NOW, 7, NOW),
        TimerCancelled(NOW, 7),
        TaskScheduled(NOW, 0, "A"),
        STARTED,
    ],
)
def test_an_event_that_cannot_follow_is_refused_not_absorbed(event: HistoryEvent) -> None:
    state = OrchestrationState([OrchestratorStarted(NOW), STARTED, TaskScheduled(NOW, 0, "A")])
    with pytest.raises(HistoryCorrupt):
        state.apply(event)


def test_nothing_follows_the_end_of_an_execution() -> None:
    state = OrchestrationState([STARTED, ExecutionCompleted(NOW, RuntimeStatus.COMPLETED)])
    with pytest.raises(HistoryCorrupt, match="EventRaised follows the end"):
        state.apply(EventRaised(NOW, "E"))


@st.composite
def _arrivals(draw: st.DrawFn) -> list[Arrival]:
    def one() -> st.SearchStrategy[Arrival]:
        ids = st.integers(0, 6)
        return st.one_of(
            ids.map(lambda i: TaskCompleted(NOW, i, "r")),
            ids.map(lambda i: TaskFailed(NOW, i, FailureDetails("bad", "E"))),
            ids.map(lambda i: TimerFired(NOW, i, NOW)),
            st.sampled_from("xy").map(lambda name: EventRaised(NOW, name, "1")),
        )

    return draw(st.lists(one(), max_size=6))


@st.composite
def _actions(draw: st.DrawFn, first_id: int) -> tuple[Action, ...]:
    actions: list[Action] = []
    for task_id in range(first_id, first_id + draw(st.integers(0, 3))):
        kind = draw(st.booleans())
        actions.append(ScheduleTask(task_id, "A") if kind else CreateTimer(task_id, NOW))
    if draw(st.booleans()):
        actions.append(CancelTimer(draw(st.integers(0, 6))))
    ends: list[Action | None] = [None, None, CompleteExecution("1"), ContinueAsNew("2")]
    end = draw(st.sampled_from(ends))
    return (*actions, end) if end is not None else tuple(actions)


@given(st.data())
def test_any_history_that_turns_produce_folds_to_the_same_state_and_survives_the_codec(
    data: st.DataObject,
) -> None:
    execution = Execution()
    arrivals: list[Arrival] = [STARTED]
    for _ in range(data.draw(st.integers(1, 8))):
        actions = () if execution.end else data.draw(_actions(execution.state.next_task_id))
        conclusion = execution.take(arrivals, *actions)
        if conclusion.is_over:
            break
        arrivals = data.draw(_arrivals())
    again = OrchestrationState(decode_events(encode_events(execution.history)))
    assert again.length == len(execution.history) == execution.state.length
    assert again.open_tasks == execution.state.open_tasks
    assert again.open_timers == execution.state.open_timers
    assert again.is_finished == execution.state.is_finished
    assert again.clock_at == execution.state.clock_at


def test_an_end_may_abandon_what_is_open() -> None:
    execution = Execution()
    execution.take([STARTED], ScheduleTask(0, "A"), CreateTimer(1, NOW + timedelta(hours=1)))
    end = CompleteExecution("1", abandons_open_work=True)
    conclusion = execution.take([EventRaised(NOW, "go")], end)
    assert conclusion.is_over
    assert conclusion.status is RuntimeStatus.COMPLETED


def test_what_has_ended_may_be_begun_again_under_its_id_and_nothing_else() -> None:
    execution = Execution()
    execution.take([STARTED], ScheduleTask(5, "A"), ScheduleTask(3, "B"))
    failed = TaskFailed(NOW, 5, FailureDetails("bad"))
    execution.take([failed], ScheduleTask(5, "A"))
    with pytest.raises(HistoryCorrupt, match="again"):
        execution.take([EventRaised(NOW, "go")], ScheduleTask(3, "B"))


def test_an_orchestration_that_ends_gives_its_entities_free() -> None:
    execution = Execution()
    execution.take([STARTED], LockEntities(0, "s", ("@E@1", "@e@2")))
    execution.take([EntityLockGranted(NOW, 0, "s")], UnlockEntity(1, "s", "@E@1"))
    conclusion = execution.take([EventRaised(NOW, "go")], CompleteExecution("1"))
    (sent,) = conclusion.outgoing
    assert isinstance(sent, messages.SendRequest)
    assert sent.entity_id == "@e@2"


def test_an_event_is_sent_once_and_not_answered() -> None:
    execution = Execution()
    conclusion = execution.take([STARTED], SendEvent(0, "other", "go", "1"))
    assert conclusion.outgoing == (messages.PassEvent("other", EventRaised(NOW, "go", "1")),)
    assert not execution.state.has_open_work
