"""Soloist beside its peers, in one run: figures, ratios, targets, plots.

Everybody takes turns: the first repetition of all, then the second of all, so that what else the
machine does befalls all. Run: ``python3 tasks.py bench suite``; ``--help`` lists what can be left
out.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.contestants import CONTESTANTS, ContestantFailed, Stage
from benchmarks.environments import ROOT, CannotBeHad
from benchmarks.hub import folder_to_measure, measured_server
from benchmarks.plots import FOLDER, draw
from benchmarks.report import MARKDOWN_NAME, markdown, number, shown
from benchmarks.results import Results, backlog_of, describe_machine, describe_settings, write
from benchmarks.workloads import BACKLOG, WORKLOADS, Ask, Visit, plan

REPETITIONS = 5
QUICK_REPETITIONS = 2
MINUTES = 25.0
PARTS = ROOT / "build" / "benchmarks"

Tell = Callable[[str], None]


class Options(msgspec.Struct, frozen=True):
    """What a run is to measure, and where its results go."""

    repetitions: int
    minutes: float
    is_quick: bool
    only: frozenset[str]
    without: frozenset[str]
    into: Path

    @property
    def visits(self) -> list[Visit]:
        """What is to be done, in order."""
        return plan(self.repetitions, only=self.only, without=self.without, is_quick=self.is_quick)


def read_options(arguments: Sequence[str]) -> Options:
    """Read the command line, or end with what is wrong with it."""
    peers = sorted({each.peer for each in CONTESTANTS.values() if each.peer is not None})
    parser = argparse.ArgumentParser("python3 tasks.py bench suite", description=__doc__)
    parser.add_argument(
        "--repetitions", type=_positive, help=f"default: {REPETITIONS}, quick: {QUICK_REPETITIONS}"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=MINUTES,
        help=f"no repetition is begun that would end later; default: {MINUTES:g}",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see it work")
    parser.add_argument("--only", action="append", default=[], choices=list(WORKLOADS))
    parser.add_argument("--without", action="append", default=[], choices=[*peers, "peers"])
    parser.add_argument(
        "--into",
        type=Path,
        help=f"folder of the results; default: {FOLDER.relative_to(ROOT)}, and of a quick run or a"
        f" part {PARTS.relative_to(ROOT)}",
    )
    given = parser.parse_args(arguments)
    is_part = given.quick or given.only or given.without
    return Options(
        repetitions=given.repetitions or (QUICK_REPETITIONS if given.quick else REPETITIONS),
        minutes=given.minutes,
        is_quick=given.quick,
        only=frozenset(given.only),
        without=frozenset(peers if "peers" in given.without else given.without),
        into=given.into or (PARTS if is_part else FOLDER),
    )


def _positive(text: str) -> int:
    number_of = int(text)
    if number_of < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number_of


class Progress:
    """Says what runs and about how long is left."""

    def __init__(self, visits: Sequence[Visit], tell: Tell) -> None:
        self._planned = sum(each.seconds for each in visits)
        self._passed = 0.0
        self._visits = len(visits)
        self._place = 0
        self._began = time.monotonic()
        self._tell = tell

    @property
    def minutes(self) -> float:
        """How long it has been."""
        return (time.monotonic() - self._began) / 60

    def begins(self, visit: Visit, repetitions: int) -> None:
        """Announce a visit; of the plan's seconds, as many are left as it was wrong so far."""
        spent = time.monotonic() - self._began
        pace = spent / self._passed if self._passed else 1.0
        left = (self._planned - self._passed) * pace
        self._place += 1
        self._passed += visit.seconds
        self._tell(
            f"[{self._place}/{self._visits}] repetition {visit.repetition + 1} of {repetitions}:"
            f" {visit.contestant.title}; about {left / 60:.1f} min left"
        )

    def ended(self, ask: Ask, answer: dict[str, Any]) -> None:
        """Tell what a workload has given."""
        figures = {name: value for name, value in answer.items() if isinstance(value, int | float)}
        told = ", ".join(f"{name} {number(value)}" for name, value in figures.items())
        self._tell(f"    {name_of(ask)}: {told}")


def name_of(ask: Ask) -> str:
    """Return under which workload the figures of an ask are kept."""
    if ask.workload.name == BACKLOG:
        return backlog_of(ask.sizes["instances"])
    return ask.workload.name


def measure(
    visits: Sequence[Visit],
    results: Results,
    stage: Stage,
    tell: Tell,
    *,
    minutes: float = MINUTES,
) -> list[str]:
    """Make every visit; return what failed.

    Who cannot be had is left out of the rest. A repetition that would not end within ``minutes``,
    if it took as long as those before it, is not begun.
    """
    progress = Progress(visits, tell)
    planned, done = results.repetitions, 0
    failures = []
    for visit in visits:
        contestant = visit.contestant
        if visit.repetition > done:
            done = visit.repetition
            if progress.minutes * (done + 1) / done > minutes:
                results.repetitions = done
                tell(f"Only {done} of {planned} repetitions: more would take over {minutes:g} min.")
                break
        if (contestant.peer or "") in results.left_out:
            continue
        progress.begins(visit, planned)
        try:
            with stage.running(contestant) as running:
                for ask in visit.asks:
                    answer = running.ask(ask.workload.name, **ask.sizes)
                    results.add(contestant.name, name_of(ask), answer)
                    progress.ended(ask, answer)
        except CannotBeHad as error:
            tell(f"    {error}")
            results.left_out[contestant.peer or contestant.name] = str(error).splitlines()[0]
        except ContestantFailed as error:
            tell(f"    {error}")
            failures.append(contestant.title)
    return failures


def new_results(options: Options) -> Results:
    """Return results in which nothing is measured yet."""
    return Results(
        at=f"{datetime.now(UTC):%Y-%m-%d}",
        repetitions=options.repetitions,
        is_quick=options.is_quick,
        machine=describe_machine(),
        settings=describe_settings(),
    )


def keep(results: Results, folder: Path, tell: Tell) -> None:
    """Write raw figures, tables and plots."""
    write(results, folder)
    (folder / MARKDOWN_NAME).write_text(markdown(results), encoding="utf-8")
    try:
        draw(results, folder)
    except CannotBeHad as error:
        tell(str(error))
    tell(shown(results))
    tell(f"Written to {folder}: results.json, {MARKDOWN_NAME} and the plots.")


def main() -> int:
    """Run the suite; fail when somebody failed, not when a target is missed."""
    options = read_options(sys.argv[1:])
    results = new_results(options)

    def tell(text: str) -> None:
        print(text, flush=True)

    with folder_to_measure() as folder:
        stage = Stage(folder, measured_server)
        try:
            failures = measure(options.visits, results, stage, tell, minutes=options.minutes)
        finally:
            stage.close()
    keep(results, options.into, tell)
    if failures:
        tell(f"Failed: {', '.join(sorted(set(failures)))}; see above.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
