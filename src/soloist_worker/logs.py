"""Logs: what the app logs goes to the host, with the function that it comes from.

As on Azure, the root logger of a worker's process passes records on from INFO, or from DEBUG with
the app setting ``PYTHON_ENABLE_DEBUG_LOGGING``; what is shown of them is the host's decision.

A record may come from anywhere: from a finalizer in the middle of a frame, from a signal handler,
while another thread logs. So the handler holds no lock. Whoever logs waits until the record is
written, as with a stream: a flood slows down those who log, fills no memory, and leaves what was
logged before a crash for the host to read.
"""

from __future__ import annotations

import contextvars
import logging
import os

from soloist_worker.failures import trace_of
from soloist_worker.frames import FrameWriter, Message

_DEBUG_SETTING = "PYTHON_ENABLE_DEBUG_LOGGING"
_TRUE = frozenset(("1", "true", "t", "yes", "y"))
_LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO)
_MAX_CHARACTERS = 32 * 1024
_WAIT_SECONDS = 1.0

_running: contextvars.ContextVar[Message] = contextvars.ContextVar("soloist_running")

enter = _running.set
"""Say which of the host's questions the current context is at; it costs what setting a variable
costs, and is read only by who logs."""


def install(writer: FrameWriter) -> None:
    """Send to the host what anybody in this process logs. For a process of the worker's own."""
    root = logging.getLogger()
    is_debugged = os.environ.get(_DEBUG_SETTING, "").strip().lower() in _TRUE
    root.setLevel(logging.DEBUG if is_debugged else logging.INFO)
    root.addHandler(HostHandler(writer))


class HostHandler(logging.Handler):
    """Writes records as ``log`` messages. Formatters and filters that the app gives it count."""

    def __init__(self, writer: FrameWriter) -> None:
        super().__init__()
        self._writer = writer
        self._process_id = os.getpid()

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit a record that passes the filters, without the lock that handlers usually take."""
        passed = self.filter(record)
        if passed:
            # From Python 3.12 on a filter may put another record in its place.
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record. In a child that was forked it goes to standard error: the way to the host
        is its parent's."""
        try:
            if os.getpid() == self._process_id:
                self._writer.post([self._message(record)])
                self._writer.flush(_WAIT_SECONDS)
            elif logging.lastResort is not None:
                logging.lastResort.emit(record)
        except Exception:
            self.handleError(record)

    def _message(self, record: logging.LogRecord) -> Message:
        if self.formatter is not None:
            # Whatever the formatter returns: a text is what the host takes.
            text, exception = str(self.format(record)), ""
        else:
            text, exception = record.getMessage(), _exception_of(record)
        function, instance_id = _place_of(_running.get(None))
        return {
            "kind": "log",
            "level": next((each for each in _LEVELS if record.levelno >= each), logging.DEBUG),
            "logger": str(record.name),
            "text": _bounded(text),
            "exception": _bounded(exception),
            "function": function,
            "instance_id": instance_id,
        }


def _place_of(question: Message | None) -> tuple[str | None, str | None]:
    """Return the function and the instance that one of the host's questions is about."""
    if question is None:
        return None, None
    if question["kind"] == "entity":
        return question["name"], f"@{question['name']}@{question['key']}"
    return question.get("name") or question["function"], question.get("instance_id")


def _exception_of(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    trace = trace_of(error) if error is not None else record.exc_text
    return "\n".join(each.rstrip("\n") for each in (trace, record.stack_info) if each)


def _bounded(text: str) -> str:
    """Return the text or, of a very long one, its beginning and how much is missing."""
    if len(text) <= _MAX_CHARACTERS:
        return text
    return f"{text[:_MAX_CHARACTERS]}... ({len(text) - _MAX_CHARACTERS} more characters)"
