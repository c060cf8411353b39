"""The gRPC door beside the SDK's own backend in memory: the hello sequence, three activities.

Both are a process that speaks the protocol; the SDK's worker is another process, its client is
here, and all of that is the same for both. One keeps everything in memory, the other in SQLite with
``synchronous=FULL``. They take turns, so that what else the machine does befalls both.

Of 100 outstanding instances only a few are waited for at a time: the backend in memory gives each
waiting caller one of its ten threads. Run: ``python3 tasks.py bench rpc``.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from durabletask.client import OrchestrationStatus, TaskHubGrpcClient

from benchmarks.hub import Stopwatch, quantile, show
from proofs.hubs import HubProcess

REPETITIONS = 9
INSTANCES = 400
OUTSTANDING = 100
CALLERS = 4
ALONE = 50
WARM_UP = 200

_PATIENCE_SECONDS = 120
_QUIET = logging.Logger("sdk", level=logging.CRITICAL)
_numbers = count()

_BACKEND = """
import socket, sys, threading
from durabletask.testing import create_test_backend
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
create_test_backend(port=port)
print(f"127.0.0.1:{port}", flush=True)
sys.stdin.read()
"""

_WORKER = """
import logging, sys
from durabletask.worker import ConcurrencyOptions, TaskHubGrpcWorker
def hello(_, name):
    return f"Hello {name}!"
def sequence(context, _):
    greetings = []
    for name in ("Tokyo", "Seattle", "London"):
        greetings.append((yield context.call_activity(hello, input=name)))
    return greetings
worker = TaskHubGrpcWorker(
    host_address=sys.argv[1], logger=logging.Logger("sdk", level=logging.CRITICAL)
)
worker.add_activity(hello)
worker.add_orchestrator(sequence)
worker.start()
print("up", flush=True)
sys.stdin.read()
worker.stop()
"""


def measure() -> None:
    """Measure and print."""
    rates: dict[str, list[float]] = {"soloist": [], "in memory": []}
    alone: dict[str, list[float]] = {"soloist": [], "in memory": []}
    with ExitStack() as opened:
        addresses = {
            "soloist": opened.enter_context(_soloist()),
            "in memory": opened.enter_context(_script(_BACKEND)),
        }
        for address in addresses.values():
            opened.enter_context(_script(_WORKER, address))
            _many(address, WARM_UP)
        for _ in range(REPETITIONS):
            for name, address in addresses.items():
                rates[name].append(_many(address, INSTANCES))
                alone[name].append(quantile(_alone(address), 0.5))
    for name, values in rates.items():
        show(f"{name}: hello sequences, {OUTSTANDING} outstanding", values, "/s")
    ratios = [mine / theirs for mine, theirs in zip(*rates.values(), strict=True)]
    show("soloist / in memory, in the same turn", ratios, "times")
    for name, values in alone.items():
        show(f"{name}: one at a time, p50", values, "ms")


@contextmanager
def _soloist() -> Iterator[str]:
    """Serve a fresh hub on a disk; give its address."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        hub = HubProcess(Path(folder) / "hub.db", "--log-level", "error")
        try:
            yield hub.address
        finally:
            hub.stop()


@contextmanager
def _script(code: str, *arguments: str) -> Iterator[str]:
    """Run a program until it is told to end; give the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _many(address: str, instances: int) -> float:
    """Run instances, always so many outstanding; return how many a second."""
    threads = [
        threading.Thread(target=_caller, args=(address, instances // CALLERS))
        for _ in range(CALLERS)
    ]
    watch = Stopwatch()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return instances / watch.seconds


def _caller(address: str, instances: int) -> None:
    client = TaskHubGrpcClient(host_address=address, logger=_QUIET)
    outstanding: deque[str] = deque()
    for _ in range(instances):
        if len(outstanding) == OUTSTANDING // CALLERS:
            _await_end(client, outstanding.popleft())
        outstanding.append(_start(client))
    while outstanding:
        _await_end(client, outstanding.popleft())
    client.close()


def _alone(address: str) -> list[float]:
    client = TaskHubGrpcClient(host_address=address, logger=_QUIET)
    milliseconds = []
    for _ in range(ALONE):
        watch = Stopwatch()
        _await_end(client, _start(client))
        milliseconds.append(watch.seconds * 1000)
    client.close()
    return milliseconds


def _start(client: TaskHubGrpcClient) -> str:
    return client.schedule_new_orchestration("sequence", instance_id=f"hello-{next(_numbers)}")


def _await_end(client: TaskHubGrpcClient, instance_id: str) -> None:
    state = client.wait_for_orchestration_completion(instance_id, timeout=_PATIENCE_SECONDS)
    assert state is not None and state.runtime_status is OrchestrationStatus.COMPLETED, state


if __name__ == "__main__":
    measure()
