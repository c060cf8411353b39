"""Short runs of the proofs of many hosts; ``python3 tasks.py prove`` runs the long ones."""

from __future__ import annotations

import os

import pytest

from proofs import failover, hosts_crash, network, pauses, postgres_statements

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def test_what_a_host_commits_after_a_pause_is_refused() -> None:
    finding = pauses.prove(3, seed=1, hosts=2, racers=1, callers=20)
    assert finding.violations == ()
    assert finding.did["late commits refused"] > 0


def test_a_store_without_a_fence_is_found_out() -> None:
    finding = pauses.prove(3, seed=1, hosts=2, racers=1, callers=20, plant="postgres-no-fence")
    assert any("does not fold" in each or "was done" in each for each in finding.violations)


def test_a_commit_whose_fate_is_unknown_is_neither_lost_nor_done_twice() -> None:
    kinds = ("answers to commits lost", "commits lost", "connections cut", "database away")
    finding = network.prove(4, seed=1, kinds=kinds, hosts=2, racers=1)
    assert finding.violations == ()
    assert finding.did["commits whose answer was lost"] > 0


def test_hosts_follow_to_the_standby_and_nothing_acknowledged_is_lost() -> None:
    finding = failover.prove(1, seed=1)
    assert finding.violations == ()
    assert finding.did["accepted"] > 50


def test_what_killed_hosts_and_workers_held_is_taken_over() -> None:
    finding = hosts_crash.prove(3, seed=1, racers=1, callers=4)
    assert finding.violations == ()
    assert finding.did["accepted"] > 50


@needs_fork
def test_a_replacement_killed_at_any_statement_is_old_or_new() -> None:
    finding = postgres_statements.prove(["replace"])
    assert finding.violations == ()
    assert finding.did["kills"] > 20


@needs_fork
def test_a_replacement_cut_in_two_is_found_out_on_postgres() -> None:
    finding = postgres_statements.prove(["replace"], "postgres-half-replace")
    assert any("half done" in each for each in finding.violations)
