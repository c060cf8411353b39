"""A few seeds of the simulation, and proof that it sees what is broken; ``python3 tasks.py prove
simulation`` runs many."""

from __future__ import annotations

import pytest

from proofs.simulation import LawBroken, loaded_app, simulate
from soloist.core.events import SubOrchestrationInstanceCompleted
from soloist.core.messages import Outgoing, Reply
from soloist.core.outcomes import Outcome
from soloist.stores import MemoryStore, memory
from soloist.stores.memory_state import Instance, Moved
from soloist_worker.app import App

SEEDS = range(1, 9)
EVENTS = 120


@pytest.fixture(scope="module")
def app() -> App:
    return loaded_app()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_laws_hold_whatever_happens(app: App, seed: int) -> None:
    counts = simulate(app, seed, EVENTS)
    assert counts["commits checked"] > 30
    assert counts["hosts killed"] + counts["hosts paused"] > 0


def test_a_store_that_does_not_fence_is_found_out(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_current(instance: Instance, _outcome: Outcome) -> bool:
        return not instance.record.status.is_terminal

    monkeypatch.setattr(memory, "_is_current", is_current)
    with pytest.raises(LawBroken, match="seed"):
        _simulate_many(app, range(1, 40))


def test_a_parent_that_is_not_told_of_its_childs_end_is_found_out(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = MemoryStore._send

    def lossy(store: MemoryStore, message: Outgoing, moved: Moved) -> None:
        event = message.event if isinstance(message, Reply) else None
        if not isinstance(event, SubOrchestrationInstanceCompleted) or event.task_id % 2:
            send(store, message, moved)

    monkeypatch.setattr(MemoryStore, "_send", lossy)
    with pytest.raises(LawBroken, match="waits for a child that has ended"):
        _simulate_many(app, range(1, 40))


def _simulate_many(app: App, seeds: range) -> None:
    for seed in seeds:
        simulate(app, seed, EVENTS)
