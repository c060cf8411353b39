"""What is asked of Soloist: ratios to others on the same kind of store, and bounds of its own."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator

import msgspec

from benchmarks.results import Results, Values, backlog_of, sizes_of_backlogs

AT_LEAST, AT_MOST = "≥", "≤"

_DBOS = {"SQLite": "dbos-wal", "PostgreSQL": "dbos-postgres"}
_DURABLE_PEERS = {
    "SQLite": ("dbos-sqlite", "dbos-wal"),
    "PostgreSQL": ("dbos-postgres", "absurd"),
}
_FLOOR_SHARE = {"SQLite": 0.25, "PostgreSQL": 0.4}
_STEPS_RATIO = {"SQLite": 1.5, "PostgreSQL": 1.0}
_MIB_ALLOWED = 50.0
_SLOWER_ALLOWED = 1.2
_IDLE_ALLOWED = 0.01


class Target(msgspec.Struct, frozen=True):
    """One thing asked, and what was found: a value a repetition."""

    what: str
    store: str
    values: tuple[float, ...]
    sign: str
    limit: float
    unit: str = "x"

    @property
    def found(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool:
        """Whether the median is within the limit."""
        return self.found >= self.limit if self.sign == AT_LEAST else self.found <= self.limit


def judge(results: Results) -> list[Target]:
    """Return every target for which there are figures."""
    found: list[Target] = []
    for store in ("SQLite", "PostgreSQL"):
        asked = (*_throughputs(results, store), *_latencies(results, store), *_own(results, store))
        found += (each for each in asked if each.values)
    return found


def ratios(mine: Values, theirs: Values) -> tuple[float, ...]:
    """Divide repetition by repetition, so that what befell a whole repetition befalls both.

    Where one of them misses repetitions, the medians are divided.
    """
    if not mine or not theirs:
        return ()
    if len(mine) != len(theirs):
        return (statistics.median(mine) / statistics.median(theirs),)
    return tuple(one / other for one, other in zip(mine, theirs, strict=True))


def best_of(results: Results, names: Iterable[str], workload: str) -> str | None:
    """Return who did most a second."""
    rates = {each: results.median(each, workload, "per_second") for each in names}
    known = {each: value for each, value in rates.items() if value is not None}
    return max(known, key=lambda each: known[each]) if known else None


def _throughputs(results: Results, store: str) -> Iterator[Target]:
    """What is compared with others by how much they do a second."""
    hub, web, floor = (_name(kind, store) for kind in ("soloist", "web", "floor"))

    def rate(who: str | None, workload: str) -> Values:
        return results.values(who, workload, "per_second") if who else ()

    def times(what: str, mine: Values, theirs: Values, limit: float) -> Target:
        return Target(what, store, ratios(mine, theirs), AT_LEAST, limit)

    hello, dbos = rate(hub, "hello"), _DBOS[store]
    yield times("W1 ÷ DBOS", hello, rate(dbos, "hello"), 15)
    if store == "PostgreSQL":
        yield times("W1 ÷ Absurd", hello, rate("absurd", "hello"), 4)
    yield times("W1 over HTTP ÷ DBOS", rate(web, "hello"), rate(dbos, "hello"), 7.5)
    yield times("W1 ÷ the floor", hello, rate(floor, "hello"), _FLOOR_SHARE[store])
    for what, workload, limit in (
        ("W2, activities at once", "fan", 5),
        ("W4, activities one after another", "steps", _STEPS_RATIO[store]),
        ("durable starts", "later", 2),
    ):
        best = best_of(results, _DURABLE_PEERS[store], workload)
        yield times(f"{what} ÷ best durable peer", rate(hub, workload), rate(best, workload), limit)
    yield times("refused starts of one id ÷ starts", rate(hub, "hot"), rate(hub, "later"), 1)


def _latencies(results: Results, store: str) -> Iterator[Target]:
    hub = _name("soloist", store)
    p50 = results.values(hub, "alone", "p50_ms")
    theirs = results.values(_DBOS[store], "alone", "p50_ms")
    p99 = results.values(hub, "alone", "p99_ms")
    yield Target("W1 alone, p50 ÷ DBOS", store, ratios(p50, theirs), AT_MOST, 0.5)
    yield Target("W1 alone, p99 ÷ p50", store, ratios(p99, p50), AT_MOST, 3)


def _own(results: Results, store: str) -> Iterator[Target]:
    """How costs grow."""
    hub = _name("soloist", store)

    def own(what: str, workload: str, measure: str, limit: float, unit: str = "x") -> Target:
        found = tuple(results.values(hub, workload, measure))
        return Target(what, store, found, AT_MOST, limit, unit)

    yield own("W2, the most at once ÷ a tenth of them, seconds", "wide", "cost_ratio", 11)
    yield own("W4, last steps ÷ first steps, seconds", "steps", "last_over_first", 1.1)
    yield own("W4, cold replay of the long history", "replay", "seconds", 0.5, "s")
    sizes = sizes_of_backlogs(results)
    if len(sizes) < 2:
        return
    empty, full = backlog_of(sizes[0]), backlog_of(sizes[-1])
    beside = f"W5, {sizes[-1]:,} waiting"
    memory = (results.values(hub, each, "memory_mib") for each in (empty, full))
    added = tuple(more - less for less, more in zip(*memory, strict=True))
    yield Target(f"{beside}: memory added", store, added, AT_MOST, _MIB_ALLOWED, "MiB")
    slower = ratios(*(results.values(hub, each, "p50_ms") for each in (full, empty)))
    yield Target(f"{beside}: W1 alone, p50 ÷ none waiting", store, slower, AT_MOST, _SLOWER_ALLOWED)
    yield own(f"{beside}: idle host, share of a core", full, "idle_share", _IDLE_ALLOWED, "")


def _name(kind: str, store: str) -> str:
    return f"{kind}-{'sqlite' if store == 'SQLite' else 'postgres'}"
