"""Payloads as PostgreSQL keeps them: any text at all, though its own type has no NUL character."""

from __future__ import annotations

from typing import Any

from soloist.core.instances import InstanceRecord
from soloist.stores.rows import record_of

_NUL, _MARK = "\x00", "\ue000"
_MARKED_MARK, _MARKED_NUL = f"{_MARK}1", f"{_MARK}0"
_INPUT, _AFTER_CUSTOM_STATUS = 6, 9


def to_column(text: str | None) -> str | None:
    """Return a payload as its column holds it: as it is, but for two characters nobody uses."""
    if text is None or not (_NUL in text or _MARK in text):
        return text
    return text.replace(_MARK, _MARKED_MARK).replace(_NUL, _MARKED_NUL)


def from_column(text: str | None) -> str | None:
    """Return the payload in a column."""
    if text is None or _MARK not in text:
        return text
    return text.replace(_MARKED_NUL, _NUL).replace(_MARKED_MARK, _MARK)


def record_in(row: tuple[Any, ...]) -> InstanceRecord:
    """Return the record in a row of ``RECORD_COLUMNS``."""
    payloads = (from_column(each) for each in row[_INPUT:_AFTER_CUSTOM_STATUS])
    return record_of((*row[:_INPUT], *payloads, *row[_AFTER_CUSTOM_STATUS:]))
