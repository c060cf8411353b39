"""Entities: operations, run one after another by the SDK's own handle.

Each operation is a batch of its own to the SDK: within a batch, an operation that sets no result
is given the one of the operation before it. The state goes from one to the next as text.
The SDK keeps no more of an exception than its message, so the user's function is called through
one that remembers it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from soloist_worker.app import App
from soloist_worker.classic import input_text
from soloist_worker.failures import Failure, failure, failure_of
from soloist_worker.frames import MAX_FRAME_BYTES, Message
from soloist_worker.functions import Function

_MAX_CHARACTERS = MAX_FRAME_BYTES // 8  # JSON may need six bytes for one character

State = str | None
"""JSON text; ``None`` when the entity does not exist."""


def find(app: App, message: Message) -> Function | str:
    """Return the entity function, or why there is none."""
    name = message["name"]
    return app.entity(name) or app.unknown(name, "entity")


def run(function: Function, message: Message) -> Message:
    """Run the operations here and now; whatever they raise is an answer."""
    state: State = message["state"]
    results = []
    for operation in message["operations"]:
        result, state = _operate(function, message, operation, state)
        results.append(result)
    if _size(results, state) > _MAX_CHARACTERS:
        text = f"The operations came to more than {_MAX_CHARACTERS} characters; nothing is kept."
        return refused(message, text)
    return _answer(message, results, state)


def refused(message: Message, text: str) -> Message:
    """Return the answer when it is not the entity that speaks: every operation has failed."""
    result = _result(None, failure(text))
    return _answer(message, [result for _ in message["operations"]], message["state"])


def _operate(
    function: Function, message: Message, operation: Message, state: State
) -> tuple[Message, State]:
    """Run one operation; return its result and the state after it.

    As on Azure, an operation that fails keeps the state that it set before.
    """
    raised: list[Exception] = []
    try:
        handle = _handle(function, raised)
        answer = json.loads(handle(_batch(message, operation, state)))
    except BaseException as error:
        # The SDK could not even tell, so what the operation set is lost with its result.
        return _result(None, failure_of(raised[0] if raised else error)), state
    state = answer["entityState"] if answer["entityExists"] else None
    if raised:
        return _result(None, failure_of(raised[0])), state
    return _result(answer["results"][0]["result"], None), state


def _handle(function: Function, raised: list[Exception]) -> Callable[[str], str]:
    """Return the SDK's handle of the user's function, which notes what that raises."""
    from azure.durable_functions import Entity  # in the user's environment

    user_function = getattr(function.call, "entity_function")  # noqa: B009  # the SDK's own

    def remembering(context: Any) -> None:
        try:
            returned = user_function(context)
            if inspect.iscoroutine(returned):
                returned.close()
                raise TypeError(
                    f"The entity function '{function.name}' returned a coroutine, which entities"
                    " cannot await. Make it a plain function."
                )
        except Exception as error:
            raised.append(error)
            raise

    handle: Callable[[str], str] = Entity.create(remembering)
    return handle


def _batch(message: Message, operation: Message, state: State) -> str:
    text = input_text(operation["input"])
    return json.dumps(
        {
            "self": {"name": message["name"].lower(), "key": message["key"]},
            "exists": state is not None,
            "state": state,
            "batch": [
                {
                    "name": operation["name"],
                    "input": "null" if text is None else json.dumps(text),
                    "isSignal": operation["is_signal"],
                }
            ],
        }
    )


def _size(results: list[Message], state: State) -> int:
    texts = [state, *(each["result"] for each in results)]
    details = [each["failure"] for each in results if each["failure"] is not None]
    texts += [text for each in details for text in (each["message"], each["stack_trace"])]
    return sum(len(text or "") for text in texts)


def _result(text: str | None, details: Failure | None) -> Message:
    return {"result": text, "failure": details}


def _answer(message: Message, results: list[Message], state: State) -> Message:
    result = {"results": results, "state": state}
    return {"kind": "entity_done", "call": message["call"], "result": result}
