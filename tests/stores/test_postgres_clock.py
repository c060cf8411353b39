"""The database's clock, as a host knows it."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from soloist.stores.postgres.clock import DatabaseClock
from soloist.stores.times import from_micros

SECOND = 1_000_000


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The machine's monotonic clock, to be set."""
    seconds = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    return seconds


def test_between_two_answers_the_machine_counts_on(machine: list[float]) -> None:
    clock = DatabaseClock()
    machine[0] = 100.002
    clock.set(5 * SECOND, asked_at=100.0)
    machine[0] = 107.001
    assert clock.now() == from_micros(12 * SECOND)


def test_an_answer_that_took_long_does_not_move_what_a_fast_one_told(
    machine: list[float],
) -> None:
    clock = DatabaseClock()
    clock.set(5 * SECOND, asked_at=100.0)
    machine[0] = 103.0  # this host stood still when the database had answered
    clock.set(5 * SECOND, asked_at=100.0)
    assert clock.now() == from_micros(8 * SECOND)


def test_another_database_is_believed_in_time(machine: list[float]) -> None:
    clock = DatabaseClock()
    clock.set(5 * SECOND, asked_at=100.0)
    machine[0] = 130.0
    clock.set(3_600 * SECOND, asked_at=129.98)
    assert clock.now() == from_micros(3_600 * SECOND) + timedelta(seconds=0.01)


def test_it_never_goes_back(machine: list[float]) -> None:
    clock = DatabaseClock()
    clock.set(50 * SECOND, asked_at=100.0)
    before = clock.now()
    machine[0] = 101.0
    clock.set(5 * SECOND, asked_at=101.0)
    assert clock.now() == before
