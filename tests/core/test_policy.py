"""The start table: every status under every policy."""

from __future__ import annotations

import pytest

from soloist.core.policy import StartDecision, StartPolicy, decide_start
from soloist.core.status import TERMINAL_STATUSES, RuntimeStatus

LIVE = sorted(set(RuntimeStatus) - TERMINAL_STATUSES)


@pytest.mark.parametrize("policy", StartPolicy)
def test_an_absent_id_is_created_under_every_policy(policy: StartPolicy) -> None:
    assert decide_start(policy, existing=None, same_function=False) is StartDecision.CREATE


@pytest.mark.parametrize("status", LIVE)
@pytest.mark.parametrize(
    ("policy", "decision"),
    [
        (StartPolicy.FAIL, StartDecision.CONFLICT),
        (StartPolicy.REPLACE, StartDecision.REPLACE),
        (StartPolicy.RETURN, StartDecision.RETURN),
        (StartPolicy.NEVER, StartDecision.CONFLICT),
    ],
)
def test_a_live_instance_blocks_unless_the_policy_says_otherwise(
    status: RuntimeStatus, policy: StartPolicy, decision: StartDecision
) -> None:
    assert decide_start(policy, existing=status, same_function=True) is decision


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES))
@pytest.mark.parametrize(
    ("policy", "decision"),
    [
        (StartPolicy.FAIL, StartDecision.REPLACE),
        (StartPolicy.REPLACE, StartDecision.REPLACE),
        (StartPolicy.RETURN, StartDecision.REPLACE),
        (StartPolicy.NEVER, StartDecision.CONFLICT),
    ],
)
def test_a_finished_instance_is_replaced_unless_ids_are_used_once(
    status: RuntimeStatus, policy: StartPolicy, decision: StartDecision
) -> None:
    assert decide_start(policy, existing=status, same_function=True) is decision


@pytest.mark.parametrize("status", LIVE)
def test_a_live_instance_of_another_function_is_never_returned(status: RuntimeStatus) -> None:
    decision = decide_start(StartPolicy.RETURN, existing=status, same_function=False)
    assert decision is StartDecision.CONFLICT
