"""A run in words: its targets and its figures as tables, for the screen and for the documents."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.contestants import CONTESTANTS
from benchmarks.results import Results, Values, backlog_of, sizes_of_backlogs
from benchmarks.targets import Target, judge

MARKDOWN_NAME = "results.md"

_COLUMNS = (
    ("hello", "per_second", "W1, /s"),
    ("alone", "p50_ms", "W1 alone, p50, ms"),
    ("alone", "p99_ms", "p99, ms"),
    ("fan", "per_second", "W2, activities/s"),
    ("steps", "per_second", "W4, steps/s"),
    ("steps", "last_over_first", "last ÷ first"),
    ("later", "per_second", "starts, /s"),
    ("starts", "per_second", "run beside, /s"),
)


def markdown(results: Results) -> str:
    """Return the page of a run."""
    return "\n".join(
        (
            "# Results of `python3 tasks.py bench suite`",
            "",
            *_preface(results),
            "",
            "## Targets",
            "",
            *_table(("what", "store", "asked", "found", "min to max", "met"), _targets(results)),
            "",
            "## Figures",
            "",
            *_table(("", *(title for _, _, title in _COLUMNS)), _figures(results)),
            "",
            *_backlogs(results),
            *_machine(results),
        )
    )


def shown(results: Results) -> str:
    """Return the tables as they are printed at the end of a run."""
    targets = _columns(("what", "store", "asked", "found", "min to max", "met"), _targets(results))
    figures = _columns(("", *(title for _, _, title in _COLUMNS)), _figures(results))
    return "\n".join(("", *targets, "", *figures, ""))


def number(value: float) -> str:
    """Write a figure with two or three digits that mean something."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def _preface(results: Results) -> Iterator[str]:
    kind = "A quick run of small sizes: take it for a trial. " if results.is_quick else ""
    yield (
        f"{kind}Medians of {results.repetitions} repetitions, in which all took turns,"
        f" on {results.at}."
    )
    yield "A ratio is taken in each repetition; what stands here is the median of those."
    yield "Raw figures are in [results.json](results.json)."
    yield from results.left_out.values()


def _targets(results: Results) -> Iterator[Sequence[str]]:
    for each in judge(results):
        least, most = (number(value) for value in (min(each.values), max(each.values)))
        yield (
            each.what,
            each.store,
            f"{each.sign} {each.limit:g} {each.unit}".strip(),
            _found(each),
            f"{least} to {most}",
            "yes" if each.is_met else "**no**",
        )


def _found(target: Target) -> str:
    return f"{number(target.found)} {target.unit}".strip()


def _figures(results: Results) -> Iterator[Sequence[str]]:
    for name, contestant in CONTESTANTS.items():
        cells = [_cell(results.values(name, each, measure)) for each, measure, _ in _COLUMNS]
        if any(cells):
            yield (contestant.title, *cells)


def _cell(values: Values) -> str:
    return number(statistics.median(values)) if values else ""


def _backlogs(results: Results) -> Iterator[str]:
    sizes = sizes_of_backlogs(results)
    if not sizes:
        return
    yield "## A backlog of waiting instances"
    yield ""
    titles = ("", "waiting", "W1 alone, p50, ms", "p99, ms", "memory, MiB", "idle, % of a core")
    yield from _table(titles, _backlog_rows(results, sizes))
    yield ""


def _backlog_rows(results: Results, sizes: Sequence[int]) -> Iterator[Sequence[str]]:
    for name in ("soloist-sqlite", "soloist-postgres"):
        for size in sizes:
            found = [
                results.median(name, backlog_of(size), measure)
                for measure in ("p50_ms", "p99_ms", "memory_mib", "idle_share")
            ]
            if None not in found:
                p50, p99, memory, idle = (value or 0.0 for value in found)
                figures = (number(each) for each in (p50, p99, memory, idle * 100))
                yield (CONTESTANTS[name].title, f"{size:,}", *figures)


def _machine(results: Results) -> Iterator[str]:
    yield "## Machine and settings"
    yield ""
    for name, value in {**results.machine, **results.settings}.items():
        yield f"- {name}: {value}"
    yield ""


def _table(titles: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"|{'|'.join(' --- ' for _ in titles)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _columns(titles: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    lines = [titles, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(titles))]
    for line in lines:
        first, *rest = zip(line, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        yield "  ".join(cells).rstrip()
