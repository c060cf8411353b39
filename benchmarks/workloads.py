"""What is measured: workloads with their sizes, and who runs them in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from benchmarks.contestants import CONTESTANTS, Contestant

Sizes = Mapping[str, Any]

HUBS = ("soloist-sqlite", "soloist-postgres")
WEBS = ("web-sqlite", "web-postgres")
FLOORS = ("floor-sqlite", "floor-postgres")
DURABLE_PEERS = ("dbos-sqlite", "dbos-wal", "dbos-postgres", "absurd")
IN_MEMORY = ("durabletask", "grpc-sqlite")
"""The same client and worker over the same protocol, so compared with each other."""

BACKLOG = "backlog"


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of work. ``at_most`` bounds how often it is repeated; ``seconds`` is about how long
    it takes; ``changed`` are full sizes that differ for some contestants."""

    name: str
    title: str
    contestants: tuple[str, ...]
    full: Sizes
    quick: Sizes
    seconds: float
    at_most: int | None = None
    changed: Mapping[str, Sizes] = {}

    def sizes(self, contestant: str, *, is_quick: bool) -> Sizes:
        """Return the sizes of one contestant's work."""
        if is_quick:
            return self.quick
        return {**self.full, **self.changed.get(contestant, {})}


WORKLOADS = {
    each.name: each
    for each in (
        Workload(
            name="alone",
            title="W1 alone: hello sequences, one at a time",
            contestants=(*HUBS, *FLOORS, *DURABLE_PEERS, *IN_MEMORY),
            full={"calls": 300},
            quick={"calls": 40},
            changed={
                # A log that still grows takes half again as long to sync: most of these come after.
                **{
                    name: {"calls": 1_000}
                    for name in ("soloist-sqlite", "floor-sqlite", "dbos-wal")
                },
                "absurd": {"calls": 40},
                "dbos-sqlite": {"calls": 60},
                "dbos-postgres": {"calls": 100},
                "durabletask": {"calls": 100},
            },
            seconds=1.5,
        ),
        Workload(
            name="hello",
            title="W1: hello sequences (three activities), 100 outstanding",
            contestants=(*HUBS, *WEBS, *FLOORS, *DURABLE_PEERS, *IN_MEMORY),
            full={"outstanding": 100, "seconds": 4.0},
            quick={"outstanding": 100, "seconds": 1.5},
            seconds=5.0,
        ),
        Workload(
            name="fan",
            title="W2: one orchestration, 1,000 activities at once",
            contestants=(*HUBS, *DURABLE_PEERS, *IN_MEMORY),
            full={"activities": 1_000},
            quick={"activities": 300},
            changed={"dbos-sqlite": {"activities": 300}},
            seconds=2.5,
        ),
        Workload(
            name="wide",
            title="W2: up to 10,000 activities at once",
            contestants=HUBS,
            full={"activities": [1_000, 2_500, 5_000, 10_000]},
            quick={"activities": [300, 1_000, 3_000]},
            seconds=4.0,
        ),
        Workload(
            name="steps",
            title="W4: one orchestration, 2,000 activities one after another",
            contestants=(*HUBS, *DURABLE_PEERS, *IN_MEMORY),
            full={"steps": 2_000, "window": 200},
            quick={"steps": 400, "window": 40},
            # The SDK is sent the whole history with every step: 2,000 would take minutes. The
            # other is slow from the first step on.
            changed={name: {"steps": 400, "window": 40} for name in (*IN_MEMORY, "dbos-sqlite")},
            seconds=4.0,
        ),
        Workload(
            name="curve",
            title="W4: 10,000 activities one after another",
            contestants=(*HUBS, "dbos-wal", "dbos-postgres", "absurd"),
            full={"steps": 10_000, "window": 200, "points": 50},
            quick={"steps": 1_000, "window": 100, "points": 20},
            changed={name: {"steps": 4_000, "window": 200, "points": 20} for name in DURABLE_PEERS},
            at_most=1,
            seconds=15.0,
        ),
        Workload(
            name="replay",
            title="W4: a history of 10,000 events, replayed on a host that has never seen it",
            contestants=HUBS,
            full={"events": 10_000},
            quick={"events": 2_000},
            seconds=5.0,
        ),
        Workload(
            name="hot",
            title="starts of one id that is taken, 64 callers: each is refused",
            contestants=HUBS,
            full={"callers": 64, "seconds": 2.0},
            quick={"callers": 64, "seconds": 1.0},
            seconds=2.0,
        ),
        Workload(
            name="later",
            title="durable starts, 16 callers, of instances that nobody runs yet",
            contestants=(*HUBS, *DURABLE_PEERS),
            full={"callers": 16, "seconds": 2.0},
            quick={"callers": 16, "seconds": 1.0},
            seconds=2.5,
        ),
        # Last in its process, because some are not done with what was started for a long time.
        Workload(
            name="starts",
            title="durable starts, 16 callers; the instances run beside them",
            contestants=(*HUBS, *WEBS, "bare", *DURABLE_PEERS, *IN_MEMORY),
            full={"callers": 16, "seconds": 2.0},
            quick={"callers": 16, "seconds": 1.0},
            seconds=2.5,
        ),
        Workload(
            name=BACKLOG,
            title="W5: a backlog of waiting instances, and a hello sequence beside it",
            contestants=HUBS,
            full={"calls": 200, "idle_seconds": 5.0},
            quick={"calls": 40, "idle_seconds": 1.0},
            at_most=3,
            seconds=7.0,
        ),
    )
}

BACKLOGS = (0, 25_000, 50_000, 100_000)
QUICK_BACKLOGS = (0, 5_000, 10_000)
_START_SECONDS = 2.0


class Ask(msgspec.Struct, frozen=True):
    """One workload asked of one contestant."""

    workload: Workload
    sizes: Sizes


class Visit(msgspec.Struct, frozen=True):
    """What is asked of one contestant while its program runs once, on one fresh store."""

    contestant: Contestant
    repetition: int
    asks: tuple[Ask, ...]

    @property
    def seconds(self) -> float:
        """About how long it takes."""
        return _START_SECONDS + sum(each.workload.seconds for each in self.asks)


def plan(
    repetitions: int, *, only: frozenset[str], without: frozenset[str], is_quick: bool
) -> list[Visit]:
    """Return every visit in order: the first repetition of everybody, then the second.

    ``only`` names workloads, none of them meaning all; ``without`` names peers.
    """
    workloads = [each for each in WORKLOADS.values() if not only or each.name in only]
    contestants = [each for each in CONTESTANTS.values() if each.peer not in without]
    visits: list[Visit] = []
    for repetition in range(repetitions):
        due = [each for each in workloads if each.at_most is None or repetition < each.at_most]
        for contestant in contestants:
            visits += _together(contestant, repetition, due, is_quick=is_quick)
        for contestant in contestants:
            visits += _backlogs(contestant, repetition, due, is_quick=is_quick)
    return visits


def _together(
    contestant: Contestant, repetition: int, workloads: list[Workload], *, is_quick: bool
) -> Iterator[Visit]:
    """One visit for all that a contestant can do on one store."""
    asks = tuple(
        Ask(each, each.sizes(contestant.name, is_quick=is_quick))
        for each in workloads
        if contestant.name in each.contestants and each.name != BACKLOG
    )
    if asks:
        yield Visit(contestant, repetition, asks)


def _backlogs(
    contestant: Contestant, repetition: int, workloads: list[Workload], *, is_quick: bool
) -> Iterator[Visit]:
    """A visit for each size of a backlog, each on a hub of its own."""
    for each in workloads:
        if contestant.name in each.contestants and each.name == BACKLOG:
            for instances in QUICK_BACKLOGS if is_quick else BACKLOGS:
                sizes = {"instances": instances, **each.sizes(contestant.name, is_quick=is_quick)}
                yield Visit(contestant, repetition, (Ask(each, sizes),))
