"""Failures: exceptions of the user's code, told as facts.

Tracebacks hold the user's frames: the worker's own, which lead to them, are cut off.
"""

from __future__ import annotations

import os
import traceback
from types import TracebackType
from typing import Any

_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_SDK_FOLDER = os.sep + os.path.join("azure", "durable_functions") + os.sep
_IMPORT_SYSTEM = "<frozen importlib"
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


def trace_of(error: BaseException) -> str:
    """Return the traceback as text. A very long one keeps its end, where the cause stands."""
    frames = _first_of_user(error.__traceback__)
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception:  # a user's __str__ or __repr__ may do anything
        text = "".join(traceback.format_tb(frames)) + type(error).__name__
    if len(text) > _MAX_TRACE_CHARACTERS:
        text = "...\n" + text[-_MAX_TRACE_CHARACTERS:]
    return text


def _first_of_user(frames: TracebackType | None) -> TracebackType | None:
    """Skip the frames that lead to the user's code: ours, the SDK's, the import system's."""
    while frames is not None and _is_strange(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return frames


def _is_strange(file_name: str) -> bool:
    return file_name.startswith((_OWN_FOLDER, _IMPORT_SYSTEM)) or _SDK_FOLDER in file_name
