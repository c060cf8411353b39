"""Timers in the core: which occurrence fires next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from soloist.core.timers import (
    TimerState,
    TimerTrigger,
    begun,
    decode_timer,
    encode_timer,
    ended,
    taken_up,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOURLY = TimerTrigger(schedule="0 0 * * * *")


def hour(number: int) -> datetime:
    return NOON + timedelta(hours=number)


def next_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0) + timedelta(hours=1)


def kept(**changes: object) -> TimerState:
    fields: dict[str, object] = {"schedule": HOURLY.schedule, "zone": "UTC", **changes}
    return TimerState(**fields)  # type: ignore[arg-type]  # the test names them


def test_a_timer_begins_with_the_first_occurrence_to_come() -> None:
    state = taken_up(None, HOURLY, next_hour, NOON)
    assert (state.next_at, state.last_at, state.firing_at) == (hour(1), None, None)


def test_a_changed_schedule_begins_now_and_remembers_the_last_firing() -> None:
    old = kept(schedule="0 30 * * * *", last_at=hour(-1), next_at=hour(-1))
    state = taken_up(old, HOURLY, next_hour, NOON)
    assert (state.next_at, state.last_at) == (hour(1), hour(-1))


def test_what_was_missed_or_cut_short_is_next_if_the_timer_is_monitored() -> None:
    casual = TimerTrigger(schedule=HOURLY.schedule, is_monitored=False)
    for state in (kept(next_at=hour(-3)), kept(firing_at=hour(-3), next_at=hour(-2))):
        assert taken_up(state, HOURLY, next_hour, NOON).next_at == hour(-3)
        assert taken_up(state, casual, next_hour, NOON).next_at == hour(1)
        assert taken_up(state, HOURLY, next_hour, NOON).firing_at is None


def test_one_firing_makes_good_all_that_was_missed() -> None:
    state = begun(kept(next_at=hour(-3)), hour(-3), next_hour, NOON)
    assert (state.firing_at, state.next_at) == (hour(-3), hour(1))
    state = ended(state, NOON)
    assert (state.firing_at, state.last_at) == (None, hour(-3))
    assert decode_timer(encode_timer(state)) == state
