"""The modern surface: apps on ``azure-functions-durable`` 2.x.

Their orchestrators and entities are not replayed by us. The SDK registers a handle for each, which
takes a request of the Durable Task protocol and returns the response, both as Base64; the host
speaks that protocol, and the worker only carries the texts. Activities are called as ever, but
their payloads are read and written by the converter that the SDK has registered, because an app
may let it keep large ones elsewhere.
"""

from __future__ import annotations

from typing import Any

from soloist_worker.app import App
from soloist_worker.calls import Call
from soloist_worker.failures import Failure, failure, failure_of
from soloist_worker.frames import Message
from soloist_worker.functions import Function

_KINDS = {"orchestrationTrigger": "orchestrator", "entityTrigger": "entity"}


def find(app: App, message: Message) -> Function | str:
    """Return the function with the handle, or why there is none."""
    name = message["name"]
    kind = _KINDS[message["trigger"]]
    return app.handle(message["trigger"], name) or app.unknown(name, kind)


def prepare(call: Call) -> dict[str, Any]:
    """Return the keyword arguments for one run."""
    from azure.functions import EntityContext, OrchestrationContext  # in the user's environment

    is_entity = call.function.trigger == "entityTrigger"
    context = EntityContext if is_entity else OrchestrationContext
    return call.function.arguments(context(call.message["body"]), call.client_binding)


def done(call: Call, returned: Any, arguments: dict[str, Any]) -> Message:
    """Return the answer that carries the response.

    Raises:
        TypeError: the handle returned something else.
    """
    if not isinstance(returned, str):
        raise TypeError(
            f"The SDK's handle of '{call.function.name}' returned a value of type"
            f" {type(returned).__name__}, not a text."
        )
    return _answer(call.message, returned, None)


def failed(message: Message, error: BaseException) -> Message:
    """Return the answer for an exception that escaped the handle."""
    return _answer(message, None, failure_of(error))


def refused(message: Message, text: str) -> Message:
    """Return the answer when it is not the handle that speaks."""
    return _answer(message, None, failure(text))


def _answer(message: Message, body: str | None, details: Failure | None) -> Message:
    return {"kind": "handle_done", "call": message["call"], "body": body, "failure": details}
