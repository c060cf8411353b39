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

APP = Path(__file__).parent / "timers_app"
DOWN_SECONDS = 2.5
_SECOND = timedelta(seconds=1)


class Firing(msgspec.Struct, frozen=True):
    """One line of the ledger."""

    occurrence: datetime
    is_past_due: bool


class Tally(msgspec.Struct):
    """What was seen."""

    firings: list[Firing] = msgspec.field(default_factory=list)
    violations: list[str] = msgspec.field(default_factory=list)

    def describe(self) -> str:
        """Return the table."""
        first, last = self.firings[0].occurrence, self.firings[-1].occurrence
        due = round((last - first) / _SECOND) + 1
        lines = [
            f"{'occurrences':<34}{due:>8}",
            f"{'firings':<34}{len(self.firings):>8}",
            f"{'of them past due':<34}{sum(each.is_past_due for each in self.firings):>8}",
            f"{'violations':<34}{len(self.violations):>8}",
            *self.violations[:20],
        ]
        return "\n".join(lines)


def prove(folder: Path, seconds: float) -> Tally:
    """Let three hosts one after another keep the timer: the first is stopped, the second killed."""
    ledger = folder / "ledger.txt"
    ledger.touch()
    for end in (HostProcess.stop, HostProcess.kill, HostProcess.stop):
        host = HostProcess(
            APP,
            folder / "hub.db",
            *("--log-level", "error"),
            environment={"PROOF_LEDGER": str(ledger)},
        )
        time.sleep(seconds)
        end(host)
        time.sleep(DOWN_SECONDS)
    return judge([_firing(line) for line in ledger.read_text().splitlines()])


def judge(firings: list[Firing]) -> Tally:
    """Hold what was fired against what was due."""
    tally = Tally(firings)
    for before, after in pairwise(firings):
        distance = after.occurrence - before.occurrence
        if distance < timedelta() or (distance == timedelta() and not after.is_past_due):
            tally.violations.append(f"{after.occurrence} fired after {before.occurrence}")
        if distance > _SECOND and not before.is_past_due:
            tally.violations.append(f"lost without a word: {before.occurrence} {after.occurrence}")
    if not any(each.is_past_due for each in firings):
        tally.violations.append("nothing was past due, though hosts were down")
    return tally


def _firing(line: str) -> Firing:
    occurrence, is_past_due = line.rsplit(maxsplit=1)
    return Firing(datetime.fromisoformat(occurrence), is_past_due == "True")


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = prove(Path(folder), arguments.seconds)
    print(tally.describe())
    raise SystemExit(bool(tally.violations))


if __name__ == "__main__":
    main()
