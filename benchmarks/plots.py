"""Plots of a run, from its raw figures: ``python3 tasks.py bench plots [FOLDER]``."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.contestants import CONTESTANTS
from benchmarks.environments import ROOT, need_plots
from benchmarks.report import MARKDOWN_NAME, markdown, number
from benchmarks.results import JSON_NAME, Curve, Results, backlog_of, read, sizes_of_backlogs
from benchmarks.targets import ratios

FOLDER = ROOT / "docs" / "performance"

_HUBS = ("soloist-sqlite", "soloist-postgres")
_PAIRS = (
    ("soloist-sqlite", "dbos-sqlite"),
    ("soloist-sqlite", "dbos-wal"),
    ("soloist-postgres", "dbos-postgres"),
    ("soloist-postgres", "absurd"),
    ("grpc-sqlite", "durabletask"),
)
_COMPARED = (
    ("hello", "W1: sequences/s"),
    ("fan", "W2: activities/s"),
    ("steps", "W4: steps/s"),
    ("later", "starts/s"),
)
_SIZE_INCHES = (8, 4.5)


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw every plot for which there are figures; return the files.

    Raises:
        CannotBeHad: what draws cannot be installed.
    """
    need_plots()
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "soloist", "svg.fonttype": "none", "axes.grid": True, "grid.alpha": 0.3}
    )
    drawn = []
    for name, drawer in (
        ("ratios", _ratios),
        ("steps", _steps),
        ("fan", _fan),
        ("backlog", _backlog),
    ):
        figure = drawer(results)
        if figure is not None:
            path = folder / f"{name}.svg"
            figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
            drawn.append(path)
    return drawn


def _axes(columns: int = 1) -> tuple[Any, Any]:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, columns, figsize=_SIZE_INCHES)
    return figure, axes


def _ratios(results: Results) -> Any:
    """Bars: how many times as much as each peer, on the same kind of store."""
    bars: dict[str, dict[str, float]] = {}
    for workload, _ in _COMPARED:
        for ours, theirs in _PAIRS:
            pair = [results.values(who, workload, "per_second") for who in (ours, theirs)]
            found = ratios(*pair)
            if found:
                title = f"{CONTESTANTS[ours].title} ÷ {CONTESTANTS[theirs].title}"
                bars.setdefault(title, {})[workload] = statistics.median(found)
    if not bars:
        return None
    figure, axes = _axes()
    height = 0.8 / len(bars)
    for row, (title, found_of) in enumerate(bars.items()):
        places = [
            place + row * height for place, (name, _) in enumerate(_COMPARED) if name in found_of
        ]
        values = list(found_of.values())
        widths = [each - 1 for each in values]
        drawn = axes.barh(places, widths, height * 0.9, left=1, label=title)
        axes.bar_label(drawn, [f" {number(each)}" for each in values], fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(_COMPARED))])
    axes.set_yticklabels([title for _, title in _COMPARED])
    axes.invert_yaxis()
    axes.set_xlabel("times as much (logarithmic); right of 1 Soloist does more")
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    return figure


def _steps(results: Results) -> Any:
    """What a step costs after so many steps."""
    curves = results.curves.get("curve", {})
    if not curves:
        return None
    figure, axes = _axes()
    for name, curve in curves.items():
        points = [point[0] for point in curve[1:]]
        axes.plot(points, _cost(curve), label=CONTESTANTS[name].title)
    axes.set_xlabel("steps done in one orchestration")
    axes.set_ylabel("milliseconds a step")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def _cost(curve: Curve) -> list[float]:
    return [(later[1] - one[1]) / (later[0] - one[0]) * 1000 for one, later in pairwise(curve)]


def _fan(results: Results) -> Any:
    """How long so many activities at once take."""
    curves = results.curves.get("wide", {})
    if not curves:
        return None
    figure, axes = _axes()
    for name, curve in curves.items():
        places, seconds = zip(*curve, strict=True)
        axes.plot(places, seconds, marker="o", label=CONTESTANTS[name].title)
    axes.set_xlabel("activities at once in one orchestration")
    axes.set_ylabel("seconds")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def _backlog(results: Results) -> Any:
    """What whoever is not waiting pays for those who are."""
    sizes = sizes_of_backlogs(results)
    if not sizes:
        return None
    figure, axes = _axes(2)
    measures = (("p50_ms", "a hello sequence alone, p50, ms"), ("memory_mib", "host memory, MiB"))
    for place, (measure, title) in zip(axes, measures, strict=True):
        for name in _HUBS:
            points = _points(results, name, measure, sizes)
            if points:
                place.plot(*zip(*points, strict=True), marker="o", label=CONTESTANTS[name].title)
        place.set_xlabel("instances that wait")
        place.set_ylabel(title)
        place.set_ylim(bottom=0)
        place.legend(fontsize=7)
    figure.tight_layout()
    return figure


def _points(
    results: Results, name: str, measure: str, sizes: Sequence[int]
) -> list[tuple[int, float]]:
    found = [(size, results.median(name, backlog_of(size), measure)) for size in sizes]
    return [(size, value) for size, value in found if value is not None]


def main() -> None:
    """Write tables and plots of a run again from its raw figures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    results = read(folder / JSON_NAME)
    (folder / MARKDOWN_NAME).write_text(markdown(results), encoding="utf-8")
    for path in draw(results, folder):
        print(path)


if __name__ == "__main__":
    main()
