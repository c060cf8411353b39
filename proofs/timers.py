"""A timer that fires every second while its host is stopped and killed.

What is shown: no occurrence fires twice, but for one that a kill cut short, which then says that
it is past due; where occurrences are missing, the firing before them, which makes them good, says
that it is past due.

    python -m proofs.timers --seconds 5
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec

from proofs.hosts import HostProcess
from proofs.plants import launcher
from proofs.report import Finding, conclude, parser_for

APP = Path(__file__).parent / "timers_app"
DOWN_SECONDS = 2.5
_SECOND = timedelta(seconds=1)


class Firing(msgspec.Struct, frozen=True):
    """One line of the ledger."""

    occurrence: datetime
    is_past_due: bool


def prove(folder: Path, seconds: float, plant: str | None = None) -> Finding:
    """Let three hosts one after another keep the timer: the first is stopped, the second killed."""
    began = time.monotonic()
    ledger = folder / "ledger.txt"
    ledger.touch()
    for end in (HostProcess.stop, HostProcess.kill, HostProcess.stop):
        host = HostProcess(
            APP,
            folder / "hub.db",
            *("--log-level", "error"),
            environment={"PROOF_LEDGER": str(ledger)},
            launcher=launcher(plant),
        )
        time.sleep(seconds)
        end(host)
        time.sleep(DOWN_SECONDS)
    firings = [_firing(line) for line in ledger.read_text().splitlines()]
    span = firings[-1].occurrence - firings[0].occurrence
    return Finding(
        check="timers",
        did={
            "occurrences": round(span / _SECOND) + 1,
            "firings": len(firings),
            "of them past due": sum(each.is_past_due for each in firings),
        },
        seconds=time.monotonic() - began,
        violations=tuple(judge(firings)),
        plant=plant,
    )


def judge(firings: list[Firing]) -> list[str]:
    """Hold what was fired against what was due; return what is wrong."""
    violations = []
    for before, after in pairwise(firings):
        distance = after.occurrence - before.occurrence
        if distance < timedelta() or (distance == timedelta() and not after.is_past_due):
            violations.append(f"{after.occurrence} fired after {before.occurrence}")
        if distance > _SECOND and not before.is_past_due:
            violations.append(f"lost without a word: {before.occurrence} {after.occurrence}")
    if not any(each.is_past_due for each in firings):
        violations.append("nothing was past due, though hosts were down")
    return violations


def _firing(line: str) -> Firing:
    occurrence, is_past_due = line.rsplit(maxsplit=1)
    return Firing(datetime.fromisoformat(occurrence), is_past_due == "True")


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)

    def run(arguments: argparse.Namespace) -> Finding:
        with tempfile.TemporaryDirectory() as folder:
            return prove(Path(folder), arguments.seconds, arguments.plant)

    conclude(parser, run)


if __name__ == "__main__":
    main()
