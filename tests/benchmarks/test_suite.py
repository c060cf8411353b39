"""The benchmark suite itself: tiny workloads run for real, and what is made of their figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import environments
from benchmarks.contestants import CONTESTANTS, Contestant, Stage
from benchmarks.environments import CannotBeHad, python_of
from benchmarks.report import markdown, shown
from benchmarks.results import Results, read, write
from benchmarks.suite import measure, name_of, new_results, read_options
from benchmarks.targets import Target, judge
from benchmarks.workloads import WORKLOADS, Ask, Sizes, Visit, plan
from proofs.postgres import PostgresServer

TINY: dict[str, Sizes] = {
    "alone": {"calls": 5},
    "hello": {"outstanding": 4, "seconds": 0.1},
    "fan": {"activities": 10},
    "wide": {"activities": [5, 20]},
    "steps": {"steps": 40, "window": 5},
    "curve": {"steps": 40, "window": 5, "points": 8},
    "replay": {"events": 60},
    "hot": {"callers": 4, "seconds": 0.1},
    "later": {"callers": 2, "seconds": 0.1},
    "starts": {"callers": 2, "seconds": 0.1},
}
BACKLOG: Sizes = {"instances": 20, "calls": 5, "idle_seconds": 0.1}
NOBODY = Contestant("nobody", "nobody at home", "benchmarks.callers", "memory")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage whose server need not be durable."""
    stage = Stage(tmp_path, lambda: PostgresServer(settings={"fsync": "off"}))
    yield stage
    stage.close()


def empty() -> Results:
    """Results of a run in which nothing was measured."""
    return new_results(read_options(["--quick", "--repetitions", "1"]))


def visits(*names: str) -> list[Visit]:
    """One visit with tiny workloads to each of the contestants, and one for a backlog."""
    found = []
    for name in names:
        mine = [each for each in WORKLOADS.values() if name in each.contestants]
        asks = tuple(Ask(each, TINY[each.name]) for each in mine if each.name in TINY)
        found.append(Visit(CONTESTANTS[name], 0, asks))
        found += [
            Visit(CONTESTANTS[name], 0, (Ask(each, BACKLOG),))
            for each in mine
            if each.name == "backlog"
        ]
    return found


@pytest.mark.parametrize(
    "names",
    [
        ("soloist-sqlite", "web-sqlite", "floor-sqlite"),
        ("soloist-postgres", "floor-postgres"),
        ("grpc-sqlite", "bare"),
    ],
)
def test_every_workload_gives_figures(stage: Stage, names: tuple[str, ...]) -> None:
    results, planned = empty(), visits(*names)
    told: list[str] = []
    assert measure(planned, results, stage, told.append) == [], "\n".join(told)
    for visit in planned:
        for ask in visit.asks:
            figures = results.figures[visit.contestant.name][name_of(ask)]
            assert all(value >= 0 for values in figures.values() for value in values), figures
            assert len({len(values) for values in figures.values()}) == 1


def test_a_contestant_that_fails_is_told_of_and_the_others_go_on(stage: Stage) -> None:
    results = empty()
    told: list[str] = []
    broken = Visit(CONTESTANTS["floor-sqlite"], 0, (Ask(WORKLOADS["hello"], {"nonsense": 1}),))
    silent = Visit(NOBODY, 0, (Ask(WORKLOADS["hello"], {}),))
    failed = measure([broken, silent, *visits("floor-sqlite")], results, stage, told.append)
    assert failed == ["floor, SQLite", "nobody at home"]
    assert any("nonsense" in line for line in told)
    assert any("nobody ended" in line for line in told)
    assert results.values("floor-sqlite", "hello", "per_second")


def test_a_repetition_for_which_no_time_is_left_is_not_begun(stage: Stage) -> None:
    results = empty()
    results.repetitions = 3
    asks = (Ask(WORKLOADS["hello"], TINY["hello"]),)
    planned = [Visit(CONTESTANTS["floor-sqlite"], repetition, asks) for repetition in range(3)]
    told: list[str] = []
    assert measure(planned, results, stage, told.append, minutes=0) == []
    assert results.repetitions == 1
    assert len(results.values("floor-sqlite", "hello", "per_second")) == 1
    assert told[-1].startswith("Only 1 of 3 repetitions")


def test_a_peer_that_cannot_be_had_is_named_with_its_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = str(tmp_path / "missing.whl")
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "PEERS", tmp_path / "peers")
    monkeypatch.setattr(environments, "PACKAGES", {"somebody": (missing,)})
    with pytest.raises(CannotBeHad, match=r"somebody cannot be had .*missing\.whl"):
        python_of("somebody")


def test_repetitions_take_turns_and_what_is_left_out_is_not_planned() -> None:
    planned = plan(
        2, only=frozenset({"hello", "curve"}), without=frozenset({"dbos"}), is_quick=True
    )
    repetitions = [each.repetition for each in planned]
    assert repetitions == sorted(repetitions)
    first, second = ([each for each in planned if each.repetition == number] for number in (0, 1))
    assert {each.contestant.peer for each in planned} == {None, "absurd", "durabletask"}
    assert {ask.workload.name for each in first for ask in each.asks} == {"hello", "curve"}
    assert {ask.workload.name for each in second for ask in each.asks} == {"hello"}


def test_the_whole_run_is_planned_to_fit_in_25_minutes() -> None:
    planned = plan(5, only=frozenset(), without=frozenset(), is_quick=False)
    assert sum(each.seconds for each in planned) < 25 * 60


def test_a_quick_run_or_a_part_does_not_replace_the_documents_figures() -> None:
    whole = read_options([])
    assert whole.into.parts[-2:] == ("docs", "performance")
    assert whole.repetitions == 5
    for part in (["--quick"], ["--only", "hello"], ["--without", "peers"]):
        assert read_options(part).into != whole.into


def compared() -> Results:
    """Results of two repetitions in which the machine was half as fast the second time."""
    results = empty()
    for rate, other in ((3_000.0, 100.0), (1_500.0, 50.0)):
        results.add("soloist-sqlite", "hello", {"per_second": rate})
        results.add("dbos-wal", "hello", {"per_second": other})
        results.add("floor-sqlite", "hello", {"per_second": rate * 5})
    for waiting, memory in ((0, 40.0), (100_000, 95.0)):
        figures = {"p50_ms": 2.0, "p99_ms": 4.0, "memory_mib": memory, "idle_share": 0.005}
        results.add("soloist-sqlite", f"backlog of {waiting}", figures)
    results.add("soloist-sqlite", "curve", {"curve": [[200, 0.2], [400, 0.4], [600, 0.6]]})
    return results


def target(results: Results, what: str) -> Target:
    """Return the one target of that name."""
    (found,) = [each for each in judge(results) if each.what == what]
    return found


def test_a_ratio_is_taken_repetition_by_repetition() -> None:
    found = target(compared(), "W1 ÷ DBOS")
    assert found.values == (30.0, 30.0)
    assert found.is_met


def test_a_bound_that_is_not_kept_is_said_to_be_missed() -> None:
    results = compared()
    assert not target(results, "W1 ÷ the floor").is_met
    assert target(results, "W5, 100,000 waiting: memory added").values == (55.0,)
    assert not target(results, "W5, 100,000 waiting: memory added").is_met
    assert target(results, "W5, 100,000 waiting: idle host, share of a core").is_met


def test_where_one_of_two_misses_repetitions_the_medians_are_divided() -> None:
    results = compared()
    results.add("soloist-sqlite", "hello", {"per_second": 1_500.0})
    assert target(results, "W1 ÷ DBOS").values == (20.0,)


def test_results_read_as_they_were_written_and_tell_of_every_target(tmp_path: Path) -> None:
    results = compared()
    results.left_out["absurd"] = "absurd cannot be had and is left out."
    write(results, tmp_path)
    again = read(tmp_path / "results.json")
    assert again == results
    page = markdown(again)
    assert "| W1 ÷ DBOS | SQLite | ≥ 15 x | 30.0 x | 30.0 to 30.0 | yes |" in page
    assert "| Soloist, SQLite | 2,250 |" in page
    assert "absurd cannot be had" in page
    assert "W1 ÷ the floor" in shown(again)


def test_plots_are_drawn_of_what_was_measured(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'bench' is installed by the first run")
    from benchmarks.plots import draw

    drawn = draw(compared(), tmp_path)
    assert {path.name for path in drawn} == {"ratios.svg", "steps.svg", "backlog.svg"}
    assert all("<svg" in path.read_text() for path in drawn)
