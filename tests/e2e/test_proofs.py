"""Short runs of the proofs of entities and timers; ``python3 tasks.py prove`` runs the long ones."""

from __future__ import annotations

from pathlib import Path

from proofs import timers
from proofs.entities import Entities


def test_an_entity_holds_each_operation_once_and_in_order_however_often_its_host_is_killed(
    tmp_path: Path,
) -> None:
    tally = Entities(tmp_path, seed=7).run(signals=100, orchestrations=20, kills=2)
    assert tally.violations == []
    assert (tally.completed, len(tally.acknowledged)) == (20, 100)


def test_a_timer_fires_each_second_once_over_a_stop_and_a_kill(tmp_path: Path) -> None:
    tally = timers.prove(tmp_path, seconds=2.5)
    assert tally.violations == []
    assert len(tally.firings) > 4
