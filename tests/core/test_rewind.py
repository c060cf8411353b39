"""Rewind in the core: where the history is cut, and what comes again."""

from __future__ import annotations

from datetime import UTC, datetime

from soloist.core.events import (
    EntityOperationCalled,
    EntityOperationFailed,
    EventRaised,
    ExecutionCompleted,
    ExecutionResumed,
    ExecutionRewound,
    ExecutionStarted,
    ExecutionSuspended,
    HistoryEvent,
    OrchestratorStarted,
    SubOrchestrationInstanceCompleted,
    SubOrchestrationInstanceCreated,
    SubOrchestrationInstanceFailed,
    TaskCompleted,
    TaskFailed,
    TaskScheduled,
    TimerCreated,
    TimerFired,
)
from soloist.core.failures import FailureDetails
from soloist.core.rewind import rewound
from soloist.core.state import OrchestrationState
from soloist.core.status import RuntimeStatus

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BAD = FailureDetails("bad", "ValueError")
BEGUN: tuple[HistoryEvent, ...] = (OrchestratorStarted(NOW), ExecutionStarted(NOW, "Job", "e1"))
FAILED = ExecutionCompleted(NOW, RuntimeStatus.FAILED, None, BAD)


def test_what_failed_in_the_last_turn_is_open_again_and_what_succeeded_comes_again() -> None:
    kept = (*BEGUN, TaskScheduled(NOW, 0, "A"), TaskScheduled(NOW, 1, "B"))
    last = (
        OrchestratorStarted(NOW),
        TaskFailed(NOW, 0, BAD),
        EventRaised(NOW, "E"),
        TaskCompleted(NOW, 1, "2"),
        FAILED,
    )
    found = rewound((*kept, *last), "why", NOW)
    assert found.history == kept
    assert found.mail == (
        ExecutionRewound(NOW, "why"),
        EventRaised(NOW, "E"),
        TaskCompleted(NOW, 1, "2"),
    )
    assert OrchestrationState(found.history).open_tasks.keys() == {0, 1}


def test_a_failure_that_the_code_had_dealt_with_stays() -> None:
    kept = (
        *BEGUN,
        TaskScheduled(NOW, 0, "A"),
        OrchestratorStarted(NOW),
        TaskFailed(NOW, 0, BAD),
        TaskScheduled(NOW, 1, "B"),
    )
    found = rewound((*kept, OrchestratorStarted(NOW), TaskFailed(NOW, 1, BAD), FAILED), None, NOW)
    assert found.history == kept


def test_code_that_failed_by_itself_runs_again_from_the_start() -> None:
    found = rewound((*BEGUN, FAILED), None, NOW)
    assert found.history == ()
    assert found.mail == (ExecutionRewound(NOW, None),)


def test_failed_children_and_entity_calls_are_named_and_timers_fire_again() -> None:
    child = SubOrchestrationInstanceCreated(NOW, 0, "c", "Child")
    call = EntityOperationCalled(NOW, 1, "@counter@k", "add")
    kept = (*BEGUN, child, call, TimerCreated(NOW, 2, NOW))
    last = (
        OrchestratorStarted(NOW),
        SubOrchestrationInstanceFailed(NOW, 0, BAD),
        EntityOperationFailed(NOW, 1, BAD),
        TimerFired(NOW, 2, NOW),
        FAILED,
    )
    found = rewound((*kept, *last), None, NOW)
    assert (found.children, found.calls) == ((child,), (call,))
    assert found.mail == (ExecutionRewound(NOW, None),)
    assert OrchestrationState(found.history).open_timers.keys() == {2}


def test_a_turn_that_only_ran_the_ended_code_once_more_is_not_the_failing_one() -> None:
    child = SubOrchestrationInstanceCreated(NOW, 1, "c", "Child")
    kept = (*BEGUN, TaskScheduled(NOW, 0, "A"), child)
    failing = (OrchestratorStarted(NOW), TaskFailed(NOW, 0, BAD))
    again = (OrchestratorStarted(NOW), SubOrchestrationInstanceCompleted(NOW, 1, "1"), FAILED)
    found = rewound((*kept, *failing, *again), None, NOW)
    assert found.history == kept
    assert found.mail == (
        ExecutionRewound(NOW, None),
        SubOrchestrationInstanceCompleted(NOW, 1, "1"),
    )
    assert found.children == ()


def test_what_was_held_back_while_suspended_belongs_to_the_turn_of_the_resumption() -> None:
    kept = (*BEGUN, TaskScheduled(NOW, 0, "A"), TaskScheduled(NOW, 1, "B"))
    held = (ExecutionSuspended(NOW), TaskFailed(NOW, 0, BAD), TaskCompleted(NOW, 1, "2"))
    last = (OrchestratorStarted(NOW), ExecutionResumed(NOW), FAILED)
    found = rewound((*kept, *held, *last), None, NOW)
    assert found.history == kept
    assert found.mail == (ExecutionRewound(NOW, None), TaskCompleted(NOW, 1, "2"))
    assert not OrchestrationState(found.history).is_suspended


def test_code_that_failed_by_itself_after_it_had_dealt_with_a_failure_repeats_its_last_turn() -> (
    None
):
    kept = (
        *BEGUN,
        TaskScheduled(NOW, 0, "A"),
        OrchestratorStarted(NOW),
        TaskFailed(NOW, 0, BAD),
        TaskScheduled(NOW, 1, "B"),
    )
    found = rewound((*kept, OrchestratorStarted(NOW), TaskCompleted(NOW, 1), FAILED), None, NOW)
    assert found.history == kept
    assert found.mail == (ExecutionRewound(NOW, None), TaskCompleted(NOW, 1))
