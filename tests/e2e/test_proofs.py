"""Short runs of the proofs; ``python3 tasks.py prove`` runs the long ones."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from proofs import timers
from proofs.entities import Entities
from proofs.report import Finding, read_finding

ROOT = Path(__file__).resolve().parents[2]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


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
