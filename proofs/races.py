"""Race for a few ids: many client processes, every door, every start policy, one or many hosts.

Every answer is held against the orders of events that could explain it (``proofs.register``), and
the work itself bears witness of when it ran.

    python -m proofs.races --starts 100000 --seed 1
    python -m proofs.races --store sqlite --starts 20000
    python -m proofs.races --plant check-then-insert --starts 2000
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from proofs.arena import Arena
from proofs.plants import launcher
from proofs.postgres import PostgresServer
from proofs.report import Finding, conclude, parser_for

HOSTS = 3
RACERS = 8


def prove(
    starts: int,
    seed: int,
    *,
    on_postgres: bool = True,
    hosts: int = HOSTS,
    racers: int = RACERS,
    plant: str | None = None,
    shows_doors: bool = False,
) -> Finding:
    """Run the proof in a temporary folder; an SQLite hub has one host."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = str(folder / "hub.db")
        if on_postgres:
            store = stack.enter_context(PostgresServer()).create_database()
        arena = Arena(folder, store, seed)
        stack.callback(arena.stop)
        count = hosts if on_postgres else 1
        arena.add_hosts(count, "--log-level", "error", launcher=launcher(plant))
        arena.send_racers(racers, starts)
        arena.wait_for_racers()
        arena.judge()
        if shows_doors:
            print(arena.describe_starts())
        return arena.finding(f"races on {'postgres' if on_postgres else 'sqlite'}", plant)


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--starts", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--hosts", type=int, default=HOSTS)
    parser.add_argument("--racers", type=int, default=RACERS)

    def run(arguments: argparse.Namespace) -> Finding:
        return prove(
            arguments.starts,
            arguments.seed,
            on_postgres=arguments.store == "postgres",
            hosts=arguments.hosts,
            racers=arguments.racers,
            plant=arguments.plant,
            shows_doors=True,
        )

    conclude(parser, run)


if __name__ == "__main__":
    main()
