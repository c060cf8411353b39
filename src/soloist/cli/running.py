"""Running until told to stop: the loop, the signals, and an orderly end."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import click

from soloist.engine import DrainProgress
from soloist.errors import StoreGone

DEFAULT_DRAIN_SECONDS = 30.0
SWITCH_SECONDS = 0.0001
YOUNG_OBJECTS = 50_000

_INTERRUPTED = 130
_STORE_GONE = 1


def runner() -> Any:
    """Return what runs the loop: uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


def tune_interpreter() -> None:
    """Suit the interpreter to a host: one busy loop with a few threads, and many short lives.

    Threads win it from a busy loop in time, a commit's and a reader's: beside a loop that never
    rests, commits at the default of 5 ms vary a hundredfold. Cycles are looked for after so many
    new objects that most are gone by then: what a busy host makes has none, and looking after
    every 700, as CPython 3.11 does, is a twentieth of all that it does.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


class Told:
    """Ctrl-C and SIGTERM: the first asks for an orderly end, the second for one at once.

    ``on_told`` is called each time, after ``times`` was counted.
    """

    def __init__(self, on_told: Callable[[], object]) -> None:
        self.times = 0
        self._on_told = on_told
        self._second: Callable[[], object] = lambda: None

    def listen(self) -> None:
        """Take over the signals."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self._tell)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._tell))

    def on_second(self, stop: Callable[[], object]) -> None:
        """Say what the second signal does."""
        self._second = stop
        if self.times > 1:
            stop()

    def _tell(self) -> None:
        self.times += 1
        self._on_told()
        if self.times > 1:
            self._second()


Close = Callable[[float, Callable[[DrainProgress], None]], Awaitable[None]]


async def close_when_told(close: Close, told: Told, drain_seconds: float) -> int:
    """Close a host in order, unless a second signal comes; return the exit code."""
    click.echo("Stopping: no new work is begun. Ctrl-C again stops at once.", err=True)
    closing = asyncio.ensure_future(close(drain_seconds, report))
    told.on_second(closing.cancel)
    try:
        await closing
    except asyncio.CancelledError:
        click.echo("Stopped at once; what was running will be run again.", err=True)
        return _INTERRUPTED
    except StoreGone as error:
        click.echo(f"Stopped. What was unfinished could not be saved. {error}", err=True)
        return _STORE_GONE
    click.echo("Stopped. Everything unfinished goes on at the next start.", err=True)
    return 0


def report(progress: DrainProgress) -> None:
    """Say what a stop waits for."""
    click.echo(
        f"  waiting for {progress.activities_running} running activities"
        f" ({progress.sessions_held} instances held)",
        err=True,
    )
