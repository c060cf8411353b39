"""Suspension in the core: what enters the history, and when the code sees it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from soloist.core.actions import EpisodeResult
from soloist.core.episode import Limits, close_turn, open_turn
from soloist.core.events import (
    Arrival,
    EventRaised,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSuspended,
    OrchestratorStarted,
)
from soloist.core.messages import Execution
from soloist.core.state import OrchestrationState
from soloist.core.status import RuntimeStatus

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
WHO = Execution(instance_id="x", generation=1, execution_id="e1", name="Job")
ARRIVALS: dict[str, Arrival] = {
    "event": EventRaised(NOW, "E"),
    "suspend": ExecutionSuspended(NOW, "why"),
    "resume": ExecutionResumed(NOW),
}


@given(st.lists(st.lists(st.sampled_from(sorted(ARRIVALS)), min_size=1, max_size=4), max_size=8))
def test_the_code_sees_exactly_what_was_not_held_back(turns: Sequence[Sequence[str]]) -> None:
    state = OrchestrationState([ExecutionStarted(NOW, "Job", "e1")])
    is_suspended = False
    for names in turns:
        expected_code = False
        for name in names:
            if name == "event":
                expected_code |= not is_suspended
            elif name == "resume":
                expected_code |= is_suspended
                is_suspended = False
            else:
                is_suspended = True
        turn = open_turn(state, [ARRIVALS[name] for name in names], None, NOW)
        assert turn.needs_code == expected_code
        begins = [isinstance(event, OrchestratorStarted) for event in turn.events]
        assert begins[:1] == [expected_code] or not begins
        conclusion = close_turn(state, turn, EpisodeResult(), None, NOW, Limits(), WHO)
        assert state.is_suspended == is_suspended
        expected = RuntimeStatus.SUSPENDED if is_suspended else RuntimeStatus.RUNNING
        assert conclusion.status is expected
        raised = [event for event in turn.events if isinstance(event, EventRaised)]
        assert len(raised) == names.count("event"), "what arrives is recorded in any case"
