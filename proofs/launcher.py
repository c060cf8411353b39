"""Start a host in unusual circumstances, or with a bug planted in it.

python -m proofs.launcher --clock-seconds 7200 --plant check-then-insert -- start APP_DIR ...
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import soloist.contracts.clock
from proofs import plants
from soloist.cli import main as soloist_main


def wrong_clock(offset_seconds: float, jump_seconds: float, seed: int) -> None:
    """Let the machine's clock be that wrong, and jump that far to either side now and then."""
    draw = random.Random(seed)

    class WrongTime(datetime):
        """What the machine takes for the time."""

        _jumped_seconds = 0.0

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            if draw.random() < 0.02:
                cls._jumped_seconds = draw.uniform(-jump_seconds, jump_seconds)
            wrong = timedelta(seconds=offset_seconds + cls._jumped_seconds)
            return datetime.now(tz or UTC) + wrong

    soloist.contracts.clock.datetime = WrongTime  # type: ignore[attr-defined]


def main(arguments: Sequence[str]) -> None:
    """Set the circumstances and run the rest as ``soloist`` does."""
    own, rest = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--plant", choices=sorted(plants.PLANTS))
    parser.add_argument("--clock-seconds", type=float, default=0.0)
    parser.add_argument("--clock-jump-seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    circumstances = parser.parse_args(own)
    plants.apply(circumstances.plant)
    if circumstances.clock_seconds or circumstances.clock_jump_seconds:
        wrong_clock(
            circumstances.clock_seconds, circumstances.clock_jump_seconds, circumstances.seed
        )
    sys.argv = ["soloist", *rest]
    soloist_main()


if __name__ == "__main__":
    main(sys.argv[1:])
