"""How often the log speaks of a store that is away."""

from __future__ import annotations

from typing import Any

import structlog

from soloist.engine.outage import MAX_NAMED, Outage
from soloist.errors import StoreUnavailable
from soloist.testing.clock import JumpClock
from tests.engine.test_troubles import Trouble

AWAY = StoreUnavailable("It is away.")


def told(logs: Any) -> list[tuple[str, str | None]]:
    """Return the lines, each with how long the outage had lasted."""
    return [(line["event"], line.get("for_seconds") or line.get("after_seconds")) for line in logs]


def test_an_outage_is_told_when_it_begins_every_half_minute_and_when_it_ends() -> None:
    clock = JumpClock()
    outage = Outage(clock)
    with structlog.testing.capture_logs() as logs:
        outage.over()
        for _ in range(70):
            outage.met(AWAY)
            outage.put_off("one", AWAY)
            clock.advance(1)
        outage.over()
        outage.over()
    assert told(logs) == [
        ("store unavailable", None),
        ("store unavailable", "30"),
        ("store unavailable", "60"),
        ("store available again", "70"),
    ]


def test_a_store_that_comes_and_goes_does_not_fill_the_log() -> None:
    clock = JumpClock()
    outage = Outage(clock)
    with structlog.testing.capture_logs() as logs:
        for _ in range(60):
            outage.met(AWAY)
            clock.advance(0.5)
            outage.over()
            clock.advance(0.5)
    assert [event for event, _ in told(logs)] == ["store unavailable", "store available again"] * 2


def test_instances_that_are_put_off_while_the_store_is_there_are_named_up_to_a_bound() -> None:
    clock = JumpClock()
    outage = Outage(clock)
    with structlog.testing.capture_logs() as logs:
        for number in range(100):
            outage.put_off(f"instance-{number}", AWAY)
            outage.over()
    assert [line["instance_id"] for line in logs] == [f"instance-{n}" for n in range(MAX_NAMED)]
    clock.advance(30)
    with structlog.testing.capture_logs() as logs:
        outage.put_off("again", AWAY)
    assert [line["instance_id"] for line in logs] == ["again"]


async def test_a_host_tells_of_an_outage_once_whoever_meets_it() -> None:
    trouble = await Trouble({}).begin()
    clock = trouble.hub.clock
    with structlog.testing.capture_logs() as logs:
        trouble.store.errors = {"lease": [AWAY] * 20, "renew": [AWAY] * 10}
        for _ in range(60):
            clock.advance(0.5)
            await clock.settle()
    events = [event for event, _ in told(logs)]
    assert events == ["store unavailable", "store available again"]
    assert logs[0]["reason"] == "It is away."
    await trouble.engine.stop()
