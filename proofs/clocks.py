"""Hosts on one database whose machines disagree about the time by hours, and whose clocks jump.

What is shown: leases are not lost while their host lives, timers fire neither early nor never, and
what is told of times is the database's time, whatever the hosts' machines believe. And a host that
is killed is still replaced in time.

    python -m proofs.clocks --seconds 60 --seed 1
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from proofs.arena import HTTP_DOORS, Arena
from proofs.postgres import PostgresServer
from proofs.report import Finding, conclude, parser_for

RACERS = 2
CALLERS = 8
OWN_SHARE = 0.7
LEASE_SECONDS = 8.0
HOUR = 3600

# By how many seconds each host's clock is wrong, and how far it jumps.
CLOCKS = ((-3 * HOUR, 0), (5 * HOUR, 0), (0, 2 * HOUR), (-HOUR, HOUR))

_BACK = "considered gone"


def prove(seconds: float, seed: int, *, plant: str | None = None) -> Finding:
    """Let wrong clocks work together for a while."""
    draw = random.Random(seed)  # reproducible, not secret
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = stack.enter_context(PostgresServer()).create_database()
        arena = Arena(folder, store, seed, is_stormy=True)
        stack.callback(arena.stop)
        planted = () if plant is None else ("--plant", plant)
        for number, (wrong_seconds, jump_seconds) in enumerate(CLOCKS):
            clock = (
                "--clock-seconds",
                str(wrong_seconds),
                "--clock-jump-seconds",
                str(jump_seconds),
            )
            arena.add_host(
                *("--log-level", "warning", "--lease-seconds", str(LEASE_SECONDS)),
                launcher=("proofs.launcher", *clock, "--seed", str(seed + number), *planted, "--"),
            )
        arena.send_racers(RACERS, callers=CALLERS, doors=HTTP_DOORS, own_share=OWN_SHARE)
        arena.wait_for_load(50)
        time.sleep(seconds)
        arena.stop_racers()
        gone = sum(_BACK in line for host in arena.hosts for line in host.output)
        if gone:
            arena.violations.append(f"{gone} times a host that lived was considered gone")
        arena.send_racers(RACERS, 200, callers=CALLERS, doors=HTTP_DOORS, own_share=OWN_SHARE)
        draw.choice(arena.hosts).kill()
        arena.wait_for_racers()
        arena.judge()
        arena.did["hosts with wrong clocks"] = len(CLOCKS)
        return arena.finding("clocks", plant)


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)

    def run(arguments: argparse.Namespace) -> Finding:
        return prove(arguments.seconds, arguments.seed, plant=arguments.plant)

    conclude(parser, run)


if __name__ == "__main__":
    main()
