"""Refusals: which errors are a durable client's own, and what the host said in them.

The client of ``azure-functions-durable`` 1.x raises plain exceptions with texts of its own making.
Which answer it raises one for is known from the frame that raises, because that holds the answer.
The gRPC clients of 2.x raise errors with trailing metadata; the keys are those of
``soloist.rpc.errors``, and an error of any other server has none of them.
"""

from __future__ import annotations

from typing import Any

CLIENT_MODULE = "azure.durable_functions.models.DurableOrchestrationClient"
KIND_KEY = "soloist-kind"
CONFLICT_KEY = "soloist-conflict-bin"

_CONFLICT = 409
_UNAVAILABLE = 503
_STATUSES = {
    "invalid": 400,
    "not_found": 404,
    "conflict": _CONFLICT,
    "gone": 410,
    "precondition": 412,
    "too_large": 413,
    "exhausted": _UNAVAILABLE,
    "unavailable": _UNAVAILABLE,
}
"""The status for each kind of failure that is the fault of neither the app nor the host."""

_PASSING = (429, _UNAVAILABLE)


class Answer(list[Any]):
    """What the 1.x client is given for a call: the status and the decoded body.

    ``instance_id`` is the one that a start asked for.
    """

    instance_id: str | None = None


def refusal_of(error: BaseException) -> dict[str, Any] | None:
    """Return status and text of the refusal as which a durable client raised ``error``; ``None``
    for every other error, also for one raised *because of* a refusal: that is the app's answer."""
    facts = facts_of(error)
    status = _STATUSES.get(facts.get(KIND_KEY, ""))
    if status is not None:
        conflicting = facts.get(CONFLICT_KEY)
        if isinstance(conflicting, bytes):
            return _conflict(conflicting.decode("utf-8", "replace"))
        return _refusal(status, str(error.details()))  # type: ignore[attr-defined]  # it has facts
    answer = _answer_behind(error)
    if answer is None:
        return None
    status, body = answer
    if status == _CONFLICT and answer.instance_id is not None:
        return _conflict(answer.instance_id)
    if status in _PASSING:
        status = _UNAVAILABLE
    if not (400 <= status < 500 or status == _UNAVAILABLE):
        return None
    text = body.get("ExceptionMessage") if isinstance(body, dict) else body
    return _refusal(status, str(text or error))


def facts_of(error: BaseException) -> dict[str, Any]:
    """Return what came along with an error of gRPC's; of other errors, nothing."""
    read = getattr(error, "trailing_metadata", None)
    if not callable(read):
        return {}
    try:
        return {str(key): value for key, value in read() or ()}
    except Exception:  # an error of somebody else's, with a method of that name
        return {}


def _answer_behind(error: BaseException) -> Answer | None:
    """Return the answer that the 1.x client was about when it raised, if it did."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    if step is None or step.tb_frame.f_globals.get("__name__") != CLIENT_MODULE:
        return None
    held = step.tb_frame.f_locals.values()
    return next((each for each in held if isinstance(each, Answer)), None)


def _conflict(instance_id: str) -> dict[str, Any]:
    return _refusal(_CONFLICT, f"An instance with ID '{instance_id}' already exists.")


def _refusal(status: int, text: str) -> dict[str, Any]:
    return {"status": status, "text": text}
