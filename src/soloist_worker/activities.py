"""Activities: running one, from its input's text to its result's."""

from __future__ import annotations

import json
from typing import Any

from soloist_worker.codec import Codec
from soloist_worker.failures import failure, failure_of
from soloist_worker.frames import Message
from soloist_worker.functions import Function


def prepare(
    function: Function, message: Message, codec: Codec, client_binding: str | None
) -> dict[str, Any]:
    """Return the keyword arguments for one run."""
    value = _decode(message["input"], codec)
    return function.arguments(value, client_binding, message["generation"])


def run(function: Function, message: Message, codec: Codec, client_binding: str | None) -> Message:
    """Run a synchronous activity here and now; whatever it raises is an answer."""
    call: int = message["call"]
    try:
        result = function.call(**prepare(function, message, codec, client_binding))
        return done(call, result, codec)
    except BaseException as error:
        return failed(call, error)


async def run_async(
    function: Function, message: Message, codec: Codec, client_binding: str | None
) -> Message:
    """Run an asynchronous activity; whatever it raises is an answer."""
    call: int = message["call"]
    try:
        result = await function.call(**prepare(function, message, codec, client_binding))
        return done(call, result, codec)
    except BaseException as error:
        return failed(call, error)


def done(call: int, result: Any, codec: Codec) -> Message:
    """Return the answer that carries a result.

    Raises:
        ValueError: the result cannot be encoded.
    """
    try:
        text = codec.dumps(result)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The activity's result is not JSON serializable: {error}") from error
    return {"kind": "activity_done", "call": call, "result": text, "failure": None}


def failed(call: int, error: BaseException) -> Message:
    """Return the answer for an exception that escaped."""
    return {"kind": "activity_done", "call": call, "result": None, "failure": failure_of(error)}


def refused(call: int, text: str) -> Message:
    """Return the answer when it is not the activity that speaks."""
    return {"kind": "activity_done", "call": call, "result": None, "failure": failure(text)}


def _decode(text: str | None, codec: Codec) -> Any:
    if text is None:
        return None
    try:
        return codec.loads(text)
    except json.JSONDecodeError:
        return text
    except Exception as error:
        raise ValueError(f"The activity's input cannot be decoded: {error}") from error
