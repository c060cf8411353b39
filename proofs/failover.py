"""Lose the primary under load (kill -9) and promote its synchronous standby; hosts follow by URL.

What is shown: nothing that was acknowledged is lost or done twice, because a commit was
acknowledged only when both servers had it; and hosts go on by themselves on the other server.

    python -m proofs.failover --rounds 5 --seed 1
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from proofs.arena import HTTP_DOORS, Arena
from proofs.plants import launcher
from proofs.postgres import primary_and_standby, url_of_either
from proofs.report import Finding, conclude, parser_for

HOSTS = 3
RACERS = 3
CALLERS = 12
OWN_SHARE = 0.7
LEASE_SECONDS = 3.0
LOAD_SECONDS = (2.0, 5.0)
DATABASE = "proof"

ASYNCHRONOUS = "asynchronous-standby"
"""Planted in the servers, not in the hosts: commits are acknowledged before the standby, which has
fallen behind, has them."""


def prove(rounds: int, seed: int, *, plant: str | None = None) -> Finding:
    """Fail over ``rounds`` times, each time with new servers, hosts and racers."""
    draw = random.Random(seed)  # reproducible, not secret
    findings = [_fail_over(draw, seed * 100 + number, plant) for number in range(rounds)]
    did: dict[str, int] = {"failovers": rounds}
    for finding in findings:
        for what, count in finding.did.items():
            did[what] = did.get(what, 0) + count
    return Finding(
        check="failover",
        did=did,
        seconds=sum(each.seconds for each in findings),
        violations=tuple(text for each in findings for text in each.violations),
        seed=seed,
        plant=plant,
    )


def _fail_over(draw: random.Random, seed: int, plant: str | None) -> Finding:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        primary, standby = stack.enter_context(primary_and_standby())
        primary.create_database(DATABASE)
        if plant == ASYNCHRONOUS:
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            primary.execute("SELECT pg_reload_conf()")
        arena = Arena(folder, url_of_either(primary, standby, DATABASE), seed, is_stormy=True)
        stack.callback(arena.stop)
        options = ("--log-level", "error", "--lease-seconds", str(LEASE_SECONDS))
        for _ in range(HOSTS):
            arena.add_host(*options, launcher=launcher(plant))
        arena.send_racers(RACERS, callers=CALLERS, doors=HTTP_DOORS, own_share=OWN_SHARE)
        arena.wait_for_load()
        time.sleep(draw.uniform(*LOAD_SECONDS))
        if plant == ASYNCHRONOUS:
            standby.fall_behind()
            time.sleep(1)
        primary.kill()
        time.sleep(draw.uniform(0.0, 1.0))
        standby.promote()
        arena.check_recovery()
        time.sleep(draw.uniform(*LOAD_SECONDS))
        arena.stop_racers()
        arena.judge()
        return arena.finding("failover")


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)

    def run(arguments: argparse.Namespace) -> Finding:
        return prove(arguments.rounds, arguments.seed, plant=arguments.plant)

    conclude(parser, run)


if __name__ == "__main__":
    main()
