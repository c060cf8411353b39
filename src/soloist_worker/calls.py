"""Calls: one run of one function that is called with arguments, whatever triggered it.

What differs from trigger to trigger stands in a module of its own (``activities``, ``web``,
``timers``): what the function is given, and how what comes of it is told to the host.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from soloist_worker.app import App
from soloist_worker.codec import Codec
from soloist_worker.frames import Message
from soloist_worker.functions import Function


class Call(NamedTuple):
    """One run. ``client_binding`` is what durable client parameters are given."""

    function: Function
    message: Message
    codec: Codec
    client_binding: str | None


class Trigger(Protocol):
    """One kind of trigger. Nothing that a function raises leaves this protocol."""

    def find(self, app: App, message: Message) -> Function | str:
        """Return the function to run, or the sentence that says why there is none."""

    def prepare(self, call: Call) -> dict[str, Any]:
        """Return the keyword arguments."""

    def done(self, call: Call, returned: Any, arguments: dict[str, Any]) -> Message:
        """Return the answer for what the function returned."""

    def failed(self, message: Message, error: BaseException) -> Message:
        """Return the answer for an exception that escaped."""

    def refused(self, message: Message, text: str) -> Message:
        """Return the answer when it is not the function that speaks."""


def run(trigger: Trigger, call: Call) -> Message:
    """Run a synchronous function here and now; whatever it raises is an answer."""
    try:
        arguments = trigger.prepare(call)
        return trigger.done(call, call.function.call(**arguments), arguments)
    except BaseException as error:
        return trigger.failed(call.message, error)


async def run_async(trigger: Trigger, call: Call) -> Message:
    """Run an asynchronous function; whatever it raises is an answer."""
    try:
        arguments = trigger.prepare(call)
        return trigger.done(call, await call.function.call(**arguments), arguments)
    except BaseException as error:
        return trigger.failed(call.message, error)
