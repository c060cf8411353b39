"""Extras: what travels with a start or a task beside its name, its version and its input."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Extras(msgspec.Struct, frozen=True, omit_defaults=True):
    """Facts that few starts and tasks have; who has none costs nothing.

    ``tags`` are the caller's own labels. ``version`` is an activity's. ``trace_*`` is the caller's
    place in a distributed trace. An instance with ``start_at`` does not begin before that.
    """

    tags: dict[str, str] = {}
    version: str | None = None
    trace_parent: str | None = None
    trace_span: str | None = None
    trace_state: str | None = None
    start_at: datetime | None = None


def extras_or_none(extras: Extras) -> Extras | None:
    """Return extras, ``None`` when they say nothing."""
    return None if extras == Extras() else extras
