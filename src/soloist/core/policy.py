"""What a start does when its id is already taken.

The table is ``overridableExistingInstanceStates`` of Durable Functions (``fail`` is its
NonRunningStates, ``replace`` its AnyState) with two more rows: ``return`` and ``never``.
"""

from __future__ import annotations

from enum import StrEnum

from soloist.core.status import RuntimeStatus


class StartPolicy(StrEnum):
    """Which existing instances a start may replace."""

    FAIL = "fail"
    """Replace a finished instance; refuse beside a live one. The default."""
    REPLACE = "replace"
    """Replace whatever is there, also a running instance."""
    RETURN = "return"
    """Answer with a live instance of the same function; replace a finished one."""
    NEVER = "never"
    """An id is used once, until it is purged."""


class StartDecision(StrEnum):
    """What becomes of one start."""

    CREATE = "create"
    REPLACE = "replace"
    RETURN = "return"
    CONFLICT = "conflict"


def decide_start(
    policy: StartPolicy,
    *,
    existing: RuntimeStatus | None,
    same_function: bool,
    replaceable: frozenset[RuntimeStatus] | None = None,
) -> StartDecision:
    """Decide one start from the status of the instance in the way (``None``: there is none).

    ``replaceable``, where it is given, says which instances may be replaced, and nothing else does.
    """
    if existing is None:
        return StartDecision.CREATE
    if replaceable is not None:
        return StartDecision.REPLACE if existing in replaceable else StartDecision.CONFLICT
    if policy is StartPolicy.NEVER:
        return StartDecision.CONFLICT
    if existing.is_terminal or policy is StartPolicy.REPLACE:
        return StartDecision.REPLACE
    if policy is StartPolicy.RETURN and same_function:
        return StartDecision.RETURN
    return StartDecision.CONFLICT
