"""Short runs of the proofs; ``python3 tasks.py prove`` runs the long ones."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

import proofs.all
from proofs import timers
from proofs.all import PROOFS
from proofs.entities import Entities
from proofs.failover import ASYNCHRONOUS
from proofs.plants import PLANTS
from proofs.report import Finding, is_well, read_finding, table

ROOT = Path(__file__).resolve().parents[2]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
needs_linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="disks are made to fail on Linux only"
)


def found(check: str, *options: str) -> Finding:
    """Run a proof as people do, in a process of its own; return what it found."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "finding.json"
        ended = subprocess.run(
            [sys.executable, "-m", f"proofs.{check}", *options, "--finding", str(written)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=110,
        )
        finding = read_finding(written)
    assert finding is not None, ended.stdout
    assert ended.returncode == bool(finding.violations)
    assert finding.line in ended.stdout
    return finding


def test_an_entity_holds_each_operation_once_and_in_order_however_often_its_host_is_killed(
    tmp_path: Path,
) -> None:
    finding = Entities(tmp_path, seed=7).run(signals=100, orchestrations=20, kills=2)
    assert finding.violations == ()
    assert finding.did["orchestrations"] == 20
    assert finding.did["signals acknowledged"] == 100


def test_a_timer_fires_each_second_once_over_a_stop_and_a_kill(tmp_path: Path) -> None:
    finding = timers.prove(tmp_path, seconds=2.5)
    assert finding.violations == ()
    assert finding.did["firings"] > 4


@needs_fork
def test_a_verb_killed_at_any_statement_is_done_whole_or_not_at_all() -> None:
    finding = found("statements", "--verb", "replace", "--verb", "commit and send")
    assert finding.violations == ()
    assert finding.did["kills"] > 50


@needs_fork
def test_a_replacement_cut_in_two_is_found_out() -> None:
    finding = found("statements", "--verb", "replace", "--plant", "half-replace")
    assert any("half done" in each for each in finding.violations)


@needs_linux
def test_a_disk_that_fails_in_every_way_loses_nothing_that_was_acknowledged() -> None:
    finding = found("disk", "--rounds", "1", "--seed", "7")
    assert finding.violations == ()
    assert finding.did["put off (503)"] > 20


@needs_linux
def test_a_host_that_acknowledges_before_it_commits_is_found_out() -> None:
    options = ("--rounds", "1", "--patience-seconds", "3", "--plant", "ack-before-commit")
    finding = found("disk", *options)
    assert any("accepted and never ended" in each for each in finding.violations)


def test_every_proof_and_every_planted_bug_in_the_list_is_there() -> None:
    folder = Path(proofs.all.__file__).parent
    concluding = {
        each.stem for each in folder.glob("*.py") if "conclude(parser" in each.read_text()
    }
    assert {each.name for each in PROOFS} == concluding - {"report"}
    planted = {each.name for proof in PROOFS for each in proof.plants}
    assert planted <= PLANTS.keys() | {ASYNCHRONOUS}


def test_a_planted_bug_that_nobody_caught_is_not_well() -> None:
    sound = Finding(check="some", did={"kills": 3}, seconds=1.0, violations=())
    missed = msgspec.structs.replace(sound, plant="a bug")
    caught = msgspec.structs.replace(missed, violations=("lost",))
    broken = msgspec.structs.replace(caught, broke_down=True)
    assert [is_well(sound, each) for each in (None, caught, missed, broken)] == [
        *(True, True, False, False)
    ]
    assert not is_well(caught, None)
    lines = table([(sound, caught), (sound, missed)]).splitlines()
    assert [line.split()[-1] for line in lines[2:]] == ["1", "NO"]
