"""The process: a worker with an interpreter of its own, at the other end of a socket.

It ends when its host does, however the host ends: the socket's end is the sign.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from soloist_worker import logs
from soloist_worker.frames import FrameReader, FrameWriter
from soloist_worker.worker import Worker

_EXIT_BROKEN = 70
_FLUSH_SECONDS = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the host at the other end of ``--fd`` until it says stop or is gone."""
    parser = argparse.ArgumentParser(prog="soloist_worker", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket")
    fd: int = parser.parse_args(arguments).fd
    # A Ctrl-C reaches the whole process group; what it means is the host's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(fd, False)
    _leave_its_core_to_the_host()
    connection = socket.socket(fileno=fd)
    _serve(connection)
    return 0


def _leave_its_core_to_the_host() -> None:
    """Ask the scheduler not to interrupt the host with the worker that it has just sent work to:
    the host has more to do, and others wait for it. The share of the processor stays the same, but
    nobody else is interrupted either. What the app starts inherits this."""
    if sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER:
        with contextlib.suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _serve(connection: socket.socket) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    imports: SimpleQueue[Callable[[], None]] = SimpleQueue()
    writer = FrameWriter(connection)
    logs.install(writer)
    worker = Worker(writer.post, loop=loop, load_in=imports.put, owns_process=True)

    def stop() -> None:
        # Either place may be the one where the main thread waits.
        imports.put(lambda: None)
        loop.call_soon_threadsafe(loop.stop)

    reader = threading.Thread(
        target=_read, args=(FrameReader(connection), worker, stop), name="soloist-reader"
    )
    reader.daemon = True
    reader.start()
    imports.get()()
    try:
        loop.run_forever()
        loop.run_until_complete(worker.end_app())
    finally:
        worker.close()
        writer.flush(_FLUSH_SECONDS)
        _flush()


def _read(reader: FrameReader, worker: Worker, stop: Callable[[], None]) -> None:
    """Pass the host's messages on; when the connection ends, so does the process."""
    try:
        while (messages := reader.read()) is not None:
            worker.receive(messages)
            if any(message["kind"] == "stop" for message in messages):
                worker.call_when_idle(stop)
    except BaseException:
        traceback.print_exc()
        _exit(_EXIT_BROKEN)
    _exit(0)


def _exit(code: int) -> None:
    """End at once, whatever the user's threads are doing."""
    _flush()
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # It may be closed, or nobody may read it.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
