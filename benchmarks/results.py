"""Figures of a run: what was measured of whom, on which machine, kept as JSON."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.environments import PACKAGES
from benchmarks.hub import SETTINGS

Values = Sequence[float]
Curve = Sequence[tuple[float, float]]

JSON_NAME = "results.json"


class Results(msgspec.Struct):
    """Everything that a run found out.

    ``figures`` is by contestant, workload and measure; each has one value a repetition.
    ``curves`` is by workload and contestant; the points of the last repetition.
    """

    at: str
    repetitions: int
    is_quick: bool
    machine: Mapping[str, str]
    settings: Mapping[str, str]
    figures: dict[str, dict[str, dict[str, list[float]]]] = {}
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    left_out: dict[str, str] = {}

    def add(self, contestant: str, workload: str, answer: Mapping[str, Any]) -> None:
        """Keep what one contestant answered once."""
        for measure, value in answer.items():
            if measure == "curve":
                points = [(float(x), float(y)) for x, y in value]
                self.curves.setdefault(workload, {})[contestant] = points
            else:
                kept = self.figures.setdefault(contestant, {}).setdefault(workload, {})
                kept.setdefault(measure, []).append(float(value))

    def values(self, contestant: str, workload: str, measure: str) -> list[float]:
        """Return what was measured, one value a repetition; nothing when it was not."""
        return self.figures.get(contestant, {}).get(workload, {}).get(measure, [])

    def median(self, contestant: str, workload: str, measure: str) -> float | None:
        """Return the median of what was measured."""
        found = self.values(contestant, workload, measure)
        return statistics.median(found) if found else None


def backlog_of(instances: int) -> str:
    """Return under which workload a backlog of one size is kept."""
    return f"backlog of {instances}"


def sizes_of_backlogs(results: Results) -> list[int]:
    """Return which sizes of a backlog were measured, the least first."""
    names = {name for each in results.figures.values() for name in each}
    prefix = backlog_of(0).removesuffix("0")
    return sorted(int(each.removeprefix(prefix)) for each in names if each.startswith(prefix))


def describe_machine() -> dict[str, str]:
    """Return what figures depend on, without a name by which anybody could tell the machine."""
    return {
        "processor": _line_of("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": str(os.cpu_count()),
        "memory": _line_of("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load at the beginning": f"{os.getloadavg()[0]:.1f}",
    }


def describe_settings() -> dict[str, str]:
    """Return the settings under which everybody is measured."""
    peers = {name: ", ".join(packages) for name, packages in PACKAGES.items()}
    return {
        "SQLite": "synchronous = FULL; journal_mode = WAL except for DBOS as shipped",
        "PostgreSQL": ", ".join(f"{name} = {value}" for name, value in SETTINGS.items()),
        "durabletask": version("durabletask"),
        "starlette, uvicorn": f"{version('starlette')}, {version('uvicorn')}",
        **peers,
    }


def read(path: Path) -> Results:
    """Read what :func:`write` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def write(results: Results, folder: Path) -> None:
    """Write the raw figures into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(results), indent=1)
    (folder / JSON_NAME).write_bytes(text + b"\n")


def _line_of(path: str, name: str) -> str:
    file = Path(path)
    if not file.exists():
        return ""
    lines = (line.partition(":") for line in file.read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")
