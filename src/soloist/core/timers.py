"""Timer triggers: what is remembered of one, and which occurrence fires when.

An occurrence is written down before it is fired, and again when its function has ended. So no two
hosts fire the same one, and one that a crash cut short is known: it is fired once more, past due,
like an occurrence that was missed because no host was up. Occurrences missed in a row are made
good by one firing. Learn, "Timer trigger for Azure Functions".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

NextAfter = Callable[[datetime], datetime | None]
"""The first occurrence of a schedule after a moment, ``None`` when there is none."""


class TimerTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """A timer trigger as the app declares it.

    ``zone`` is the IANA name of the time zone in which ``schedule`` is read. A monitored timer
    makes good, once, what was missed while no host was up.
    """

    schedule: str
    zone: str = "UTC"
    runs_on_startup: bool = False
    is_monitored: bool = True


class TimerState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is remembered of a timer: the last occurrence that fired, the next one, and the one
    that is firing (for a new holder: that was cut short)."""

    schedule: str
    zone: str
    last_at: datetime | None = None
    next_at: datetime | None = None
    firing_at: datetime | None = None
    updated_at: datetime | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(TimerState)


def encode_timer(state: TimerState) -> str:
    """Return the state as JSON text."""
    return _encoder.encode(state).decode()


def decode_timer(text: str) -> TimerState:
    """Return the state written by :func:`encode_timer`."""
    return _decoder.decode(text)


def taken_up(
    state: TimerState | None, trigger: TimerTrigger, next_after: NextAfter, now: datetime
) -> TimerState:
    """Return a timer's state as a host sees it that begins to keep it.

    A new or changed schedule begins now. What was cut short or missed is the next to fire if the
    timer is monitored, and is passed over otherwise.
    """
    if state is None or (state.schedule, state.zone) != (trigger.schedule, trigger.zone):
        return TimerState(
            schedule=trigger.schedule,
            zone=trigger.zone,
            last_at=None if state is None else state.last_at,
            next_at=next_after(now),
            updated_at=now,
        )
    missed_at = state.firing_at or state.next_at
    if missed_at is None or missed_at > now:
        return state
    next_at = missed_at if trigger.is_monitored else next_after(now)
    return msgspec.structs.replace(state, next_at=next_at, firing_at=None)


def begun(
    state: TimerState, occurrence: datetime, next_after: NextAfter, now: datetime
) -> TimerState:
    """Return the state while ``occurrence`` fires."""
    next_at = next_after(max(now, occurrence))
    return msgspec.structs.replace(state, firing_at=occurrence, next_at=next_at, updated_at=now)


def ended(state: TimerState, now: datetime) -> TimerState:
    """Return the state when the firing is over, however it went."""
    return msgspec.structs.replace(state, last_at=state.firing_at, firing_at=None, updated_at=now)
