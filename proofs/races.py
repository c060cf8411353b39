"""Race for a few ids: many client processes, every door, every start policy, one or many hosts.

Every answer is held against the orders of events that could explain it (``proofs.register``), and
the work itself bears witness of when it ran.

    python -m proofs.races --starts 100000 --seed 1
    python -m proofs.races --store sqlite --starts 20000
    python -m proofs.races --plant check_then_insert --starts 2000
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from proofs.arena import Arena, Tally
from proofs.postgres import PostgresServer

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
) -> Tally:
    """Run the proof in a temporary folder; an SQLite hub has one host."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = str(folder / "hub.db")
        if on_postgres:
            store = stack.enter_context(PostgresServer()).create_database()
        arena = Arena(folder, store, seed)
        stack.callback(arena.stop)
        launcher = () if plant is None else ("proofs.launcher", "--plant", plant, "--")
        for _ in range(hosts if on_postgres else 1):
            arena.add_host(launcher=launcher)
        arena.send_racers(racers, starts)
        arena.wait_for_racers()
        return arena.judge()


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--starts", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--hosts", type=int, default=HOSTS)
    parser.add_argument("--racers", type=int, default=RACERS)
    parser.add_argument("--plant", help="a bug to plant in the hosts (proofs.plants)")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.starts} starts on {arguments.store}")
    tally = prove(
        arguments.starts,
        arguments.seed,
        on_postgres=arguments.store == "postgres",
        hosts=arguments.hosts,
        racers=arguments.racers,
        plant=arguments.plant,
    )
    print(tally.describe())
    raise SystemExit(bool(tally.violations))


if __name__ == "__main__":
    main()
