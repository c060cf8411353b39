"""A bad network between hosts and PostgreSQL: cuts, silence, delays, lost commits, lost answers.

What is shown: nothing that was acknowledged is lost and nothing is done twice, whatever the hosts
could or could not learn; meanwhile callers are put off with 503 and a time to come back; and when
the network is fair again, hosts go on by themselves.

    python -m proofs.network --rounds 60 --seed 1
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from proofs.arena import HTTP_DOORS, Arena
from proofs.plants import launcher
from proofs.postgres import PostgresServer
from proofs.proxy import Proxy
from proofs.report import Finding, conclude, parser_for

HOSTS = 3
RACERS = 3
CALLERS = 16
OWN_SHARE = 0.7
LEASE_SECONDS = 5.0
MAX_LOST = 5
RESTS_SECONDS = (0.2, 1.5)


class Storms:
    """What can happen to one host's connections, by name."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self.kinds: dict[str, Callable[[Proxy], None]] = {
            "connections cut": self._cut,
            "answers to commits lost": self._lose_answers,
            "commits lost": self._lose_commits,
            "database away": self._refuse,
            "slow": self._delay,
            "half open": self._half_open,
        }

    def _cut(self, proxy: Proxy) -> None:
        proxy.cut()

    def _lose_answers(self, proxy: Proxy) -> None:
        proxy.lose_answers(self._draw.randint(1, MAX_LOST))

    def _lose_commits(self, proxy: Proxy) -> None:
        proxy.lose_commits(self._draw.randint(1, MAX_LOST))

    def _refuse(self, proxy: Proxy) -> None:
        proxy.refuse()
        time.sleep(self._draw.uniform(0.2, 3.0))
        proxy.be_fair()

    def _delay(self, proxy: Proxy) -> None:
        proxy.delay(self._draw.uniform(0.02, 0.2))
        time.sleep(self._draw.uniform(0.5, 2.0))
        proxy.be_fair()

    def _half_open(self, proxy: Proxy) -> None:
        proxy.half_open()
        time.sleep(self._draw.uniform(0.5, 8.0))
        proxy.be_fair()


def prove(
    rounds: int,
    seed: int,
    *,
    kinds: tuple[str, ...] = (),
    hosts: int = HOSTS,
    racers: int = RACERS,
    callers: int = CALLERS,
    plant: str | None = None,
) -> Finding:
    """Disturb the connections of a host, or of all, ``rounds`` times under load."""
    draw = random.Random(seed)  # reproducible, not secret
    storms = Storms(draw)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(PostgresServer())
        store = server.create_database()
        arena = Arena(folder, store, seed, is_stormy=True)
        proxies = [stack.enter_context(Proxy(server.port)) for _ in range(hosts)]
        stack.callback(arena.stop)
        options = ("--log-level", "warning", "--lease-seconds", str(LEASE_SECONDS))
        for proxy in proxies:
            arena.add_host(*options, store=proxy.url_for(store), launcher=launcher(plant))
        arena.send_racers(racers, callers=callers, doors=HTTP_DOORS, own_share=OWN_SHARE)
        arena.wait_for_load()
        met: Counter[str] = Counter()
        for number in range(rounds):
            time.sleep(draw.uniform(*RESTS_SECONDS))
            names = kinds or tuple(storms.kinds)
            name = names[number % len(names)]
            for proxy in proxies if draw.random() < 0.2 else [draw.choice(proxies)]:
                storms.kinds[name](proxy)
            met[name] += 1
        for proxy in proxies:
            proxy.be_fair()
        arena.check_recovery()
        arena.stop_racers()
        arena.judge()
        arena.did |= met
        arena.did["commits whose answer was lost"] = sum(each.seen.lost_answers for each in proxies)
        arena.did["commits that were lost"] = sum(each.seen.lost_commits for each in proxies)
        arena.did["connections lost"] = sum(each.seen.cut + each.seen.hung for each in proxies)
        return arena.finding("network", plant)


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", help="only this kind of storm; may be repeated")

    def run(arguments: argparse.Namespace) -> Finding:
        kinds = tuple(arguments.kind or ())
        return prove(arguments.rounds, arguments.seed, kinds=kinds, plant=arguments.plant)

    conclude(parser, run)


if __name__ == "__main__":
    main()
