"""Logging: structlog, one shape for Soloist's own lines and for those of its libraries.

Secrets do not reach a log: values of ``code`` in anything that looks like a query are blotted
out, and so are fields that are named like keys.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Final, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS: Final = ("debug", "info", "warning", "error")
DEFAULT_LEVEL: Final = "info"

_BLOT = "***"
_CODE_IN_QUERY = re.compile(r"([?&\"']code=)[^&\s\"'#]+", re.IGNORECASE)
_SECRET_FIELDS = frozenset({"code", "key", "master_key", "system_key", "x-functions-key"})

Logger = structlog.typing.FilteringBoundLogger


def logger(name: str) -> Logger:
    """Return the logger of a module; it may be made before logging is configured."""
    return cast("Logger", structlog.get_logger(room=name.removeprefix("soloist.")))


def configure_logging(
    level: str = DEFAULT_LEVEL, *, as_json: bool = False, stream: TextIO | None = None
) -> None:
    """Send all logging to ``stream`` (standard error): JSON lines if asked for, a coloured
    console on a terminal, ``key=value`` lines otherwise.

    Raises:
        ValueError: ``level`` is not one of ``LEVELS``.
    """
    if level.lower() not in LEVELS:
        raise ValueError(f"The log level {level!r} is none of {', '.join(LEVELS)}.")
    threshold = getattr(logging, level.upper())
    out = stream or sys.stderr
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    last = _renderers(as_json, out)
    structlog.configure(
        processors=[*common, *last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Unbreakable(out))),
        cache_logger_on_first_use=False,  # tests and a reload configure again
    )
    handler = logging.StreamHandler(_Unbreakable(out))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(threshold, logging.INFO))
    # It would write down every address that is called, with all that is secret in it.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def blot_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace keys and ``code`` values in an event; a structlog processor."""
    for field, value in event.items():
        if field in _SECRET_FIELDS and value is not None:
            event[field] = _BLOT
        elif isinstance(value, str):
            event[field] = without_secrets(value)
    return event


def without_secrets(text: str) -> str:
    """Return ``text`` with the value of every ``code`` query parameter blotted out."""
    if "code=" not in text.lower():
        return text
    return _CODE_IN_QUERY.sub(rf"\g<1>{_BLOT}", text)


class _Unbreakable:
    """A stream whose loss stops nobody: a host must not end because no one reads its log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except (OSError, ValueError):
            return  # gone, or closed

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return  # gone, or closed


def _renderers(as_json: bool, out: TextIO) -> list[Processor]:
    if as_json:
        return [
            structlog.processors.format_exc_info,
            blot_secrets,
            structlog.processors.JSONRenderer(default=str),
        ]
    if out.isatty():
        console = structlog.dev.ConsoleRenderer(
            colors=True,
            timestamp_key="at",
            # The others print local variables, among them what nobody should read.
            exception_formatter=structlog.dev.plain_traceback,
        )
        return [structlog.processors.format_exc_info, blot_secrets, console]
    return [structlog.processors.format_exc_info, blot_secrets, _as_line]


_logfmt = structlog.processors.LogfmtRenderer(
    key_order=["at", "level", "room", "event"], drop_missing=True
)


def _as_line(wrapped: WrappedLogger, method: str, event: EventDict) -> str:
    """Render ``key=value``; a traceback follows on lines of its own, where people can read it."""
    traceback = event.pop("exception", None)
    fields = {name.replace(" ", "_"): value for name, value in event.items() if value is not None}
    line = str(_logfmt(wrapped, method, fields))
    return f"{line}\n{traceback.rstrip()}" if traceback else line
