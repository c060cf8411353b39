"""Timer functions: what the app sees when the host says that one is due."""

from __future__ import annotations

from typing import Any

from soloist_worker.app import App
from soloist_worker.calls import Call
from soloist_worker.failures import Failure, failure, failure_of
from soloist_worker.frames import Message
from soloist_worker.functions import RETURN, Function
from soloist_worker.replay import parse_time

_NEVER = "0001-01-01T00:00:00"
"""How Azure writes that a timer has not fired before."""


def find(app: App, message: Message) -> Function | str:
    """Return the timer function, or why there is none."""
    name = message["function"]
    function = app.functions.get(name)
    if function is None or function.trigger != "timerTrigger":
        return f"The app has no timer function '{name}'."
    return function


def prepare(call: Call) -> dict[str, Any]:
    """Return the keyword arguments for one run."""
    return call.function.arguments(_request(call.message), call.client_binding)


def done(call: Call, returned: Any, arguments: dict[str, Any]) -> Message:
    """Return the answer of a function that has run.

    Raises:
        RuntimeError: it returned something, and no binding takes it.
    """
    function = call.function
    if returned is not None and all(each["name"] != RETURN for each in function.bindings):
        raise RuntimeError(
            f"The timer function '{function.name}' returned a value of type"
            f" {type(returned).__name__}, but has no {RETURN} binding to take it. Return None."
        )
    return _answer(call.message, None)


def failed(message: Message, error: BaseException) -> Message:
    """Return the answer for an exception that escaped."""
    return _answer(message, failure_of(error))


def refused(message: Message, text: str) -> Message:
    """Return the answer when it is not the function that speaks."""
    return _answer(message, failure(text))


def _answer(message: Message, details: Failure | None) -> Message:
    return {"kind": "timer_done", "call": message["call"], "failure": details}


def _request(message: Message) -> Any:
    from azure.functions import timer  # in the user's environment

    return timer.TimerRequest(
        past_due=message["is_past_due"],
        schedule_status={
            "Last": _told(message["last_at"]),
            "Next": _told(message["next_at"]),
            "LastUpdated": _told(message["updated_at"]),
        },
        schedule={"AdjustForDST": True},
    )


def _told(at: str | None) -> str:
    return _NEVER if at is None else parse_time(at).isoformat()
