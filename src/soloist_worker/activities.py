"""Activities: running one, from its input's text to its result's."""

from __future__ import annotations

import json
from typing import Any

from soloist_worker.app import App
from soloist_worker.calls import Call
from soloist_worker.codec import Codec
from soloist_worker.failures import Failure, failure, failure_of
from soloist_worker.frames import Message
from soloist_worker.functions import Function


def find(app: App, message: Message) -> Function | str:
    """Return the activity, or why there is none."""
    name = message["name"]
    return app.activity(name) or app.unknown(name, "activity")


def prepare(call: Call) -> dict[str, Any]:
    """Return the keyword arguments for one run."""
    value = _decode(call.message["input"], call.codec)
    return call.function.arguments(value, call.client_binding, call.message["generation"])


def done(call: Call, returned: Any, arguments: dict[str, Any]) -> Message:
    """Return the answer that carries a result.

    Raises:
        ValueError: the result cannot be encoded.
    """
    try:
        text = call.codec.dumps(returned)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The activity's result is not JSON serializable: {error}") from error
    return _answer(call.message, text, None)


def failed(message: Message, error: BaseException) -> Message:
    """Return the answer for an exception that escaped."""
    return _answer(message, None, failure_of(error))


def refused(message: Message, text: str) -> Message:
    """Return the answer when it is not the activity that speaks."""
    return _answer(message, None, failure(text))


def _answer(message: Message, result: str | None, details: Failure | None) -> Message:
    return {
        "kind": "activity_done",
        "call": message["call"],
        "result": result,
        "failure": details,
    }


def _decode(text: str | None, codec: Codec) -> Any:
    if text is None:
        return None
    try:
        return codec.loads(text)
    except json.JSONDecodeError:
        return text
    except Exception as error:
        raise ValueError(f"The activity's input cannot be decoded: {error}") from error
