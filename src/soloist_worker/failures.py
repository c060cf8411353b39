"""Failures: exceptions of the user's code, told as facts.

Tracebacks hold the user's frames: the worker's own, which lead to them, are cut off.
"""

from __future__ import annotations

import os
import traceback
from types import TracebackType
from typing import Any

_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MAX_TRACE_CHARACTERS = 16 * 1024

Failure = dict[str, Any]


def failure(message: str, error_type: str = "", stack_trace: str = "") -> Failure:
    """Return failure details; an empty ``error_type`` means that Soloist itself is speaking."""
    return {"message": message, "error_type": error_type, "stack_trace": stack_trace}


def failure_of(error: BaseException, message: str | None = None) -> Failure:
    """Return the failure that an exception of the user's code amounts to."""
    text = text_of(error) if message is None else message
    return failure(text, type(error).__name__, trace_of(error))


def text_of(error: BaseException) -> str:
    """Return the exception's text, even when making that text fails."""
    try:
        return str(error)
    except Exception as second:
        return f"<the text of this {type(error).__name__} raises {type(second).__name__}>"


def trace_of(error: BaseException, *strangers: str) -> str:
    """Return the traceback as text.

    Frames of the worker, and of files whose name begins with one of ``strangers``, are cut from
    its beginning. A very long text keeps its end, where the cause stands.
    """
    frames = skip_frames(error.__traceback__, (_OWN_FOLDER, *strangers))
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception:  # a user's __str__ or __repr__ may do anything
        text = "".join(traceback.format_tb(frames)) + type(error).__name__
    if len(text) > _MAX_TRACE_CHARACTERS:
        text = "...\n" + text[-_MAX_TRACE_CHARACTERS:]
    return text


def skip_frames(frames: TracebackType | None, prefixes: tuple[str, ...]) -> TracebackType | None:
    """Return the traceback from the first frame on that lies in none of the places."""
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(prefixes):
        frames = frames.tb_next
    return frames
