"""A host to measure: everything durable, the app in its worker process.

Its hub is in SQLite with ``synchronous=FULL`` or, with the option ``--postgres``, in a server of its
own with ``fsync`` and ``synchronous_commit`` on.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proofs.postgres import PostgresServer
from soloist.app import Host
from soloist.cli.running import tune_interpreter
from soloist.core.instances import InstanceRecord
from soloist.core.status import RuntimeStatus

APP = Path(__file__).parent / "app"
POSTGRES = "--postgres"
SETTINGS = {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "256MB"}
"""How a server is run that is measured: whoever uses it."""

_PATIENCE_SECONDS = 300.0


def measured_server() -> PostgresServer:
    """Return a server on which everything committed is durable, not started yet."""
    return PostgresServer(settings=SETTINGS)


@contextmanager
def folder_to_measure() -> Iterator[Path]:
    """Make a folder for files, on a disk rather than in memory."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        yield Path(folder)


@contextmanager
def store_to_measure() -> Iterator[str]:
    """Make a place for a hub, on a disk rather than in memory, and give its URL."""
    if POSTGRES in sys.argv:
        with measured_server() as server:
            yield server.create_database()
        return
    with folder_to_measure() as folder:
        yield str(folder / "hub.db")


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
    tune_interpreter()
    try:
        import uvloop
    except ImportError:
        asyncio.run(measure())
    else:
        uvloop.run(measure())


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
