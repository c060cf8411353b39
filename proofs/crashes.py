"""``kill -9`` the host, at random moments and at every commit boundary, under load.

What is shown: every start that was acknowledged completes, once; an id holds one instance at a
time; nothing is stuck; every history folds and replays without deviation.

    python -m proofs.crashes --rounds 300 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from proofs.hosts import HostDied, HostProcess
from proofs.report import Finding, conclude, parser_for
from proofs.workload import HTTP_SECONDS, Workload

BOUNDARIES = ("commit.before", "commit.written", "commit.durable", "start.replacing")
CALLERS = 12
ROUND_SECONDS = 60.0


class Crashes:
    """One run of the proof in a folder of its own."""

    def __init__(self, folder: Path, seed: int, plant: str | None = None) -> None:
        self._load = Workload(folder, seed, plant)
        self._seed = seed
        self._plant = plant
        self._kills: Counter[str] = Counter()

    def run(self, rounds: int) -> Finding:
        """Kill ``rounds`` hosts, let the last one finish, and judge."""
        began = time.monotonic()
        for number in range(rounds):
            self._round(number)
        host = self._load.host()
        try:
            asyncio.run(self._load.settle(host))
        finally:
            host.stop()
        asyncio.run(self._load.judge())
        return Finding(
            check="crashes",
            did={
                "kills": sum(self._kills.values()),
                "starts acknowledged": len(self._load.accepted),
                "refused": self._load.refused,
                "without an answer": len(self._load.unanswered),
            },
            seed=self._seed,
            seconds=time.monotonic() - began,
            violations=tuple(self._load.violations),
            details=tuple(f"{f'kill -9 {k}':<34}{v:>8}" for k, v in self._kills.items()),
            plant=self._plant,
        )

    def _round(self, number: int) -> None:
        place = ("at random", *BOUNDARIES)[number % (1 + len(BOUNDARIES))]
        failpoint = None
        if place != "at random":
            depth = 3 if place == "start.replacing" else 60
            failpoint = f"{place}:{self._load.random.randint(1, depth)}"
        armed = {} if failpoint is None else {"SOLOIST_FAILPOINT": failpoint}
        self._kills[place] += 1
        try:
            host = self._load.host(**armed)
        except HostDied as death:
            if not death.was_killed:
                raise
            return
        asyncio.run(self._call_until_dead(host, failpoint))

    async def _call_until_dead(self, host: HostProcess, failpoint: str | None) -> None:
        async with httpx.AsyncClient(base_url=host.management, timeout=HTTP_SECONDS) as http:
            callers = [asyncio.create_task(self._keep_calling(http)) for _ in range(CALLERS)]
            if failpoint is None:
                await asyncio.sleep(self._load.random.uniform(0.0, 1.0))
                await asyncio.to_thread(host.kill)
            _, late = await asyncio.wait(callers, timeout=ROUND_SECONDS)
            if late:
                self._load.violations.append(f"{failpoint} is not reached in {ROUND_SECONDS} s")
                await asyncio.to_thread(host.kill)
            await asyncio.gather(*callers)
        code = await asyncio.to_thread(host.wait)
        if code != -signal.SIGKILL:
            self._load.violations.append(f"the host ended by itself with code {code}")

    async def _keep_calling(self, http: httpx.AsyncClient) -> None:
        while await self._load.call(http) is not None:
            pass


def prove(rounds: int, seed: int, plant: str | None = None) -> Finding:
    """Run the proof in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return Crashes(Path(folder), seed, plant).run(rounds)


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)

    def run(arguments: argparse.Namespace) -> Finding:
        return prove(arguments.rounds, arguments.seed, arguments.plant)

    conclude(parser, run)


if __name__ == "__main__":
    main()
