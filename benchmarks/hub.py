"""A host to measure: SQLite with ``synchronous=FULL``, the app in its worker process."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from soloist.app import Host, HostOptions, open_host
from soloist.cli.start import SWITCH_SECONDS
from soloist.core.instances import InstanceRecord
from soloist.core.status import RuntimeStatus
from soloist.telemetry import configure_logging

APP = Path(__file__).parent / "app"
_PATIENCE_SECONDS = 300.0


@asynccontextmanager
async def measured_host(workers: int = 1) -> AsyncIterator[Host]:
    """Run a host on a fresh hub in the working directory's file system."""
    configure_logging("error")
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        host = await open_host(
            HostOptions(app_dir=APP, store_url=str(Path(folder) / "hub.db"), workers=workers)
        )
        try:
            yield host
        finally:
            await host.close()


async def run_to_end(
    host: Host, name: str, instance_id: str, payload: str | None = None
) -> InstanceRecord:
    """Start an instance and wait for its end through the client."""
    await host.client.start(name, instance_id, input=payload)
    record = await host.client.wait(instance_id, _PATIENCE_SECONDS)
    assert record.status is RuntimeStatus.COMPLETED, record
    return record


def run(measure: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a benchmark as ``soloist start`` runs a host."""
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        import uvloop
    except ImportError:
        asyncio.run(measure())
    else:
        uvloop.run(measure())


def quantile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(what: str, values: list[float], unit: str) -> None:
    """Print median, least and most."""
    median = statistics.median(values)
    print(f"{what:<44}{median:>10,.1f} {unit:<12} (min {min(values):,.1f}, max {max(values):,.1f})")


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.perf_counter() - self._began
