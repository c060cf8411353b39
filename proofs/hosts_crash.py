"""``kill -9`` hosts and workers on PostgreSQL, at random and at every boundary of a transaction.

What is shown: every start that was acknowledged completes, once; an id holds one instance at a
time; what a killed host held is taken over by the others; nothing is stuck.

    python -m proofs.hosts_crash --rounds 100 --seed 1
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

from proofs.arena import HTTP_DOORS, Arena
from proofs.hosts import HostDied, HostProcess
from proofs.plants import launcher
from proofs.postgres import PostgresServer, children_of, free_port
from proofs.report import Finding, conclude, parser_for

HOSTS = 3
RACERS = 3
CALLERS = 10
OWN_SHARE = 0.7
LEASE_SECONDS = 2.0
FAILPOINT_SECONDS = 20.0
DEPTHS = {
    "commit.before": 150,
    "commit.written": 150,
    "commit.durable": 150,
    "start.replacing": 8,
}
KINDS = ("a host at random", "a worker", *DEPTHS)

_FAILPOINT = "SOLOIST_FAILPOINT"


class Crashes:
    """Hosts on ports that stay theirs, killed one at a time under load."""

    def __init__(self, arena: Arena, seed: int, plant: str | None) -> None:
        self._arena = arena
        self._random = random.Random(seed)  # reproducible, not secret
        self._plant = plant
        self._ports = [free_port() for _ in range(HOSTS)]
        self.kills: Counter[str] = Counter()
        for port in self._ports:
            self._start(port)

    def round(self, number: int) -> None:
        """Kill something, and bring it up again."""
        kind = KINDS[number % len(KINDS)]
        place = self._random.randrange(HOSTS)
        host = self._arena.hosts[place]
        time.sleep(self._random.uniform(0.1, 1.0))
        if kind == "a worker":
            self._kill_a_worker(host)
        else:
            host.kill()
            if kind in DEPTHS:
                self._die_at(place, kind)
            time.sleep(self._random.uniform(0.0, 1.5 * LEASE_SECONDS))
            self._start(self._ports[place], place)
        self.kills[f"kill -9 of {kind}" if kind not in DEPTHS else f"kill -9 at {kind}"] += 1

    def _start(self, port: int, place: int | None = None, **environment: str) -> HostProcess:
        options = ("--port", str(port), "--log-level", "error")
        host = self._arena.add_host(
            *(*options, "--lease-seconds", str(LEASE_SECONDS)),
            launcher=launcher(self._plant),
            environment=environment,
        )
        if place is not None:  # it takes the place of the one that died
            self._arena.hosts[place] = self._arena.hosts.pop()
        return host

    def _die_at(self, place: int, failpoint: str) -> None:
        """Let a host die of itself; if it never comes to that place, help."""
        depth = self._random.randint(1, DEPTHS[failpoint])
        with suppress(HostDied):
            host = self._start(self._ports[place], place, **{_FAILPOINT: f"{failpoint}:{depth}"})
            deadline = time.monotonic() + FAILPOINT_SECONDS
            while host.is_running and time.monotonic() < deadline:
                time.sleep(0.05)
            if host.is_running:
                self.kills["never came there"] += 1
                host.kill()

    def _kill_a_worker(self, host: HostProcess) -> None:
        workers = children_of(host.pid)
        if workers:
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(workers), signal.SIGKILL)


def prove(rounds: int, seed: int, *, plant: str | None = None) -> Finding:
    """Kill ``rounds`` times under load, let the rest finish, and judge."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = stack.enter_context(PostgresServer()).create_database()
        arena = Arena(folder, store, seed, is_stormy=True)
        stack.callback(arena.stop)
        crashes = Crashes(arena, seed, plant)
        arena.send_racers(RACERS, callers=CALLERS, doors=HTTP_DOORS, own_share=OWN_SHARE)
        arena.wait_for_load()
        for number in range(rounds):
            crashes.round(number)
        arena.check_recovery()
        arena.stop_racers()
        arena.judge()
        arena.did |= crashes.kills
        return arena.finding("hosts_crash", plant)


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)

    def run(arguments: argparse.Namespace) -> Finding:
        return prove(arguments.rounds, arguments.seed, plant=arguments.plant)

    conclude(parser, run)


if __name__ == "__main__":
    main()
