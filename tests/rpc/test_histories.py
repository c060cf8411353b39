"""Histories and actions in the protocol's words: nothing is left out, and what goes comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import msgspec
import pytest
from durabletask.internal import orchestrator_service_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from soloist.core import actions as a
from soloist.core import events as e
from soloist.core.extras import Extras
from soloist.core.failures import FailureDetails
from soloist.core.messages import Execution, event_of
from soloist.core.status import RuntimeStatus
from soloist.errors import InvalidRequest
from soloist.rpc.actions import core_actions
from soloist.rpc.histories import _WRITERS, HistoryWriter
from soloist.rpc.protobuf import failure_message, failure_of, moment, timestamp

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
EXTRAS = Extras(tags={"team": "blue"}, version="1", trace_parent="00-1", trace_span="2")
DAY = timedelta(days=1)
MOMENTS = st.datetimes(datetime.min + DAY, datetime.max - DAY, timezones=st.just(UTC))


def test_every_event_of_a_history_has_its_words() -> None:
    assert set(_WRITERS) == set(get_args(e.HistoryEvent))


@given(MOMENTS)
def test_a_time_comes_back_as_it_went(at: datetime) -> None:
    assert moment(timestamp(at)) == at


def test_a_time_outside_the_calendar_is_refused() -> None:
    far = timestamp(NOW)
    far.seconds = 10**14
    with pytest.raises(InvalidRequest):
        moment(far)


@given(
    st.recursive(
        st.builds(FailureDetails, st.text(), st.text(), st.text()),
        lambda inner: st.builds(
            FailureDetails, st.text(), st.text(), st.text(), inner, st.booleans()
        ),
        max_leaves=5,
    )
)
def test_a_failure_comes_back_as_it_went(failure: FailureDetails) -> None:
    assert failure_of(failure_message(failure)) == failure


def test_what_an_sdk_added_to_a_failure_comes_back() -> None:
    message = pb.TaskFailureDetails(errorMessage="bad")
    message.properties["code"].number_value = 7
    message.properties["why"].list_value.values.add().string_value = "x"
    assert failure_message(failure_of(message)) == message


ACTIONS: tuple[a.Action, ...] = (
    a.ScheduleTask(1, "A", "1", EXTRAS),
    a.CreateTimer(2, NOW + timedelta(seconds=5)),
    a.ScheduleSubOrchestration(
        3, "C", "2", "child", "2", msgspec.structs.replace(EXTRAS, version=None)
    ),
    a.CallEntity(4, "@e@k", "add", "3", "request-4"),
    a.SignalEntity(5, "@e@k", "add", None, NOW, "request-5"),
    a.LockEntities(6, "section", ("@e@1", "@e@2")),
    a.UnlockEntity(7, "section", "@e@1"),
    a.SendEvent(8, "other", "go", "4"),
)


def test_actions_become_events_that_say_the_same_and_are_replayed_under_their_ids() -> None:
    execution = Execution(instance_id="x", generation=1, execution_id="e1", name="Job")
    writer = HistoryWriter("x", is_for_replay=True)
    written = writer.all(event_of(action, NOW, execution) for action in ACTIONS)
    assert [each.eventId for each in written] == list(range(1, 9))
    again = core_actions(_action_of(each) for each in written)
    assert again == ACTIONS


def _action_of(event: pb.HistoryEvent) -> pb.OrchestratorAction:
    """Return the action that an event records, as an SDK asked for it."""
    action = pb.OrchestratorAction(id=event.eventId)
    match event.WhichOneof("eventType"):
        case "taskScheduled":
            fields, target = event.taskScheduled, action.scheduleTask
        case "timerCreated":
            fields, target = event.timerCreated, action.createTimer
        case "subOrchestrationInstanceCreated":
            fields, target = event.subOrchestrationInstanceCreated, action.createSubOrchestration
        case "eventSent":
            sent = event.eventSent
            action.sendEvent.instance.instanceId = sent.instanceId
            action.sendEvent.name = sent.name
            action.sendEvent.data.CopyFrom(sent.input)
            return action
        case kind:
            target = getattr(action.sendEntityMessage, kind)
            target.CopyFrom(getattr(event, kind))
            return action
    for field, value in fields.ListFields():
        mine = getattr(target, field.name)
        if hasattr(mine, "CopyFrom"):
            mine.CopyFrom(value)
        elif hasattr(mine, "update"):
            mine.update(value)
        else:
            setattr(target, field.name, value)
    return action


def test_answers_of_entities_carry_the_id_of_their_call() -> None:
    history: list[e.HistoryEvent] = [
        e.EntityOperationCalled(NOW, 4, "@e@k", "add", "3", "request-4"),
        e.EntityOperationCompleted(NOW, 4, "7"),
        e.EntityOperationCalled(NOW, 5, "@e@k", "add"),
        e.EntityOperationFailed(NOW, 5, FailureDetails("bad", "ValueError")),
    ]
    written = HistoryWriter("x", is_for_replay=True).all(history)
    assert written[1].entityOperationCompleted.requestId == "request-4"
    assert written[3].entityOperationFailed.requestId == "5"


def test_a_rewind_is_shown_to_people_and_not_replayed_as_one() -> None:
    history: list[e.HistoryEvent] = [e.ExecutionRewound(NOW, "why"), e.TimerCancelled(NOW, 1)]
    (replayed,) = HistoryWriter("x", is_for_replay=True).all(history)
    assert replayed.HasField("genericEvent")
    shown = HistoryWriter("x", is_for_replay=False).all(history)
    assert [each.WhichOneof("eventType") for each in shown] == [
        "executionRewound",
        "genericEvent",
        "orchestratorCompleted",
    ]


def test_each_turn_ends_where_people_see_it() -> None:
    history: list[e.HistoryEvent] = [
        e.OrchestratorStarted(NOW),
        e.ExecutionStarted(NOW, "Job", "e1"),
        e.OrchestratorStarted(NOW),
        e.ExecutionCompleted(NOW, RuntimeStatus.COMPLETED, "1"),
    ]
    shown = HistoryWriter("x", is_for_replay=False).all(history)
    assert [each.WhichOneof("eventType") for each in shown] == [
        "orchestratorStarted",
        "executionStarted",
        "orchestratorCompleted",
        "orchestratorStarted",
        "orchestratorCompleted",
        "executionCompleted",
    ]


def test_an_end_comes_last_and_once() -> None:
    end = pb.OrchestratorAction(
        id=1,
        completeOrchestration=pb.CompleteOrchestrationAction(
            orchestrationStatus=pb.ORCHESTRATION_STATUS_COMPLETED
        ),
    )
    task = pb.OrchestratorAction(id=2, scheduleTask=pb.ScheduleTaskAction(name="A"))
    read = core_actions([end, task, end])
    assert read == (a.ScheduleTask(2, "A"), a.CompleteExecution(abandons_open_work=True))


@pytest.mark.parametrize("kind", ["terminateOrchestration", "rewindOrchestration", None])
def test_an_action_that_is_not_carried_out_is_named(kind: str | None) -> None:
    action = pb.OrchestratorAction(id=1)
    if kind is not None:
        getattr(action, kind).SetInParent()
    with pytest.raises(InvalidRequest, match=kind or "no kind"):
        core_actions([action])
