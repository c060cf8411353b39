"""A short race for a few ids; ``python3 tasks.py prove races`` runs the long ones."""

from __future__ import annotations

from proofs import races


def test_racers_through_every_door_see_one_instance_at_a_time() -> None:
    finding = races.prove(120, seed=3, racers=2, hosts=2)
    assert finding.violations == ()
    assert finding.did["starts"] > 80


def test_a_start_that_looks_before_it_inserts_is_found_out() -> None:
    finding = races.prove(400, seed=3, racers=2, on_postgres=False, plant="check-then-insert")
    assert any("is not the work of one register" in each for each in finding.violations)
