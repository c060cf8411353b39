"""Stop hosts in their tracks (SIGSTOP) for longer than their leases, and let them go on.

A host that was paused believes that it holds what others have taken over meanwhile. What is shown:
what it commits late is refused; nothing that was acknowledged is lost, nothing is done twice to a
history, and an id has one instance at a time.

    python -m proofs.pauses --rounds 60 --seed 1
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from proofs.arena import HTTP_DOORS, Arena
from proofs.hosts import HostProcess
from proofs.plants import launcher
from proofs.postgres import PostgresServer
from proofs.report import Finding, conclude, parser_for

HOSTS = 3
RACERS = 3
CALLERS = 40
OWN_SHARE = 0.7
LEASE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 3.0
LONGEST_RUN_SECONDS = 1.0

_LATE = "stale commit refused"
_BACK = "considered gone"


def prove(
    rounds: int,
    seed: int,
    *,
    hosts: int = HOSTS,
    racers: int = RACERS,
    callers: int = CALLERS,
    plant: str | None = None,
) -> Finding:
    """Pause hosts ``rounds`` times under load."""
    draw = random.Random(seed)  # reproducible, not secret
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = stack.enter_context(PostgresServer()).create_database()
        arena = Arena(folder, store, seed, is_stormy=True)
        stack.callback(arena.stop)
        options = ("--log-level", "info", "--lease-seconds", str(LEASE_SECONDS))
        arena.add_hosts(hosts, *options, launcher=launcher(plant))
        arena.send_racers(racers, callers=callers, doors=HTTP_DOORS, own_share=OWN_SHARE)
        arena.wait_for_load()
        for _ in range(rounds):
            time.sleep(draw.uniform(0.2, LONGEST_RUN_SECONDS))
            _pause(draw.choice(arena.hosts), draw.uniform(LEASE_SECONDS, LONGEST_PAUSE_SECONDS))
        arena.stop_racers()
        arena.judge()
        arena.did["pauses"] = rounds
        lines = [line for host in arena.hosts for line in host.output]
        arena.did["late commits refused"] = sum(_LATE in line for line in lines)
        arena.did["hosts that joined again"] = sum(_BACK in line for line in lines)
        return arena.finding("pauses", plant)


def _pause(host: HostProcess, seconds: float) -> None:
    os.kill(host.pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(host.pid, signal.SIGCONT)


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)

    def run(arguments: argparse.Namespace) -> Finding:
        return prove(arguments.rounds, arguments.seed, plant=arguments.plant)

    conclude(parser, run)


if __name__ == "__main__":
    main()
