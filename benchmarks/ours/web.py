"""Soloist over HTTP: a ``soloist start`` of its own, and callers that cost little themselves.

Run: ``python -m benchmarks.ours.web STORE_URL``.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

from benchmarks.callers import Caller
from benchmarks.hub import APP, run
from benchmarks.program import rate, serve_async
from proofs.hosts import HostProcess
from soloist.webapi import BASE_PATH

_PATIENCE_SECONDS = 60
_numbers = count()


async def measure() -> None:
    """Serve the workloads beside a host."""
    host = await asyncio.to_thread(HostProcess, APP, sys.argv[1], "--log-level", "error")
    try:
        await serve_async(
            {
                "hello": lambda **sizes: _hello(host.origin, **sizes),
                "starts": lambda **sizes: post_rate(
                    host.origin, "/api/orchestrators/Hello/start-{}", **sizes
                ),
            }
        )
    finally:
        host.kill()


async def _hello(origin: str, *, outstanding: int, seconds: float) -> dict[str, float]:
    """One request a sequence: it starts the instance and is answered when that has ended."""
    target = f"{BASE_PATH}/orchestrators/Hello/many-{{}}?timeout={_PATIENCE_SECONDS}"
    return await post_rate(origin, target, callers=outstanding, seconds=seconds, expected=200)


async def post_rate(
    origin: str, target: str, *, callers: int, seconds: float, expected: int = 202
) -> dict[str, float]:
    """Let callers, each with a connection of its own, post to targets numbered anew each time."""
    async with AsyncExitStack() as opened:
        connections = [await opened.enter_async_context(Caller(origin)) for _ in range(callers)]

        async def once(place: int) -> None:
            status, text = await connections[place].ask("POST", target.format(next(_numbers)))
            if status != expected:
                raise RuntimeError(f"{status} instead of {expected}: {text!r}")

        return await rate(callers, seconds, once)


def main(measured: Any = measure) -> None:
    """Run as ``soloist start`` runs a host."""
    run(measured)


if __name__ == "__main__":
    main()
