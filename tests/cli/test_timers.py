"""``soloist timers``."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from soloist.client import Client
from soloist.core.events import TimerDeclared
from soloist.core.ids import timer_id
from soloist.core.status import RuntimeStatus
from soloist.core.timers import TimerState, encode_timer
from soloist.stores import MemoryStore
from tests.cli.conftest import Terminal

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def keep(terminal: Terminal, function: str, state: TimerState) -> None:
    """Leave in the hub what a host keeps of a timer."""

    async def declare(store: MemoryStore, _client: Client) -> None:
        await store.deliver(timer_id(function), TimerDeclared(AT, False), None)

    terminal.on_store(declare)
    terminal.settle(timer_id(function), RuntimeStatus.RUNNING, encode_timer(state))


def test_timers_are_listed_with_their_last_firing_and_their_next(terminal: Terminal) -> None:
    every = TimerState(schedule="0 */5 * * * *", zone="Europe/Berlin", last_at=AT, next_at=AT)
    keep(terminal, "Sweep", every)
    keep(terminal, "Fires", TimerState(schedule="1.00:00:00", zone="UTC", firing_at=AT))
    _, fires, sweep = terminal.type("timers").stdout.splitlines()
    assert fires.split() == ["Fires", "1.00:00:00", "UTC", "-", "now"]
    assert sweep.split()[0] == "Sweep" and "Europe/Berlin" in sweep
    assert sweep.endswith("2026-01-02T03:04:05Z  2026-01-02T03:04:05Z")
    lines = terminal.type("timers", "--json").stdout.splitlines()
    assert [json.loads(each)["function"] for each in lines] == ["Fires", "Sweep"]


def test_a_hub_without_timers_says_so(terminal: Terminal) -> None:
    terminal.type("entities", "signal", "Counter", "a", "add")
    shown = terminal.type("timers")
    assert (shown.exit_code, shown.stdout) == (0, "No host of the hub has had timer triggers.\n")
