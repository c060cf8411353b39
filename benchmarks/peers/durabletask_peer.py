"""The SDK ``durabletask``: on its own backend in memory, or on Soloist's gRPC door.

The backend is a process, the SDK's worker another, its client is here; all of that is the same for
both, so what differs is who keeps the orchestrations. Of many outstanding only a few are waited for
at a time: the backend in memory gives each waiting caller one of its ten threads. Run:
``python -m benchmarks.peers.durabletask_peer [SOLOIST_STORE]``.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from durabletask import task
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.testing import create_test_backend
from durabletask.worker import TaskHubGrpcWorker

from benchmarks.program import keep_outstanding, latencies, pace, repeat, serve, thread_rate
from proofs.hubs import HubProcess

_CALLERS = 4
_PATIENCE_SECONDS = 300
_QUIET = logging.Logger("sdk", level=logging.CRITICAL)


def say_hello(_: object, city: str) -> str:
    """Greet."""
    return f"Hello {city}!"


def say_when(_: object, __: object) -> float:
    """Tell when it ran."""
    return time.perf_counter()


def hello_sequence(context: Any, _: object) -> Any:
    """Three activities, one after another."""
    greetings = []
    for city in ("Tokyo", "Seattle", "London"):
        greetings.append((yield context.call_activity(say_hello, input=city)))
    return greetings


def many_steps(context: Any, count: int) -> Any:
    """As many activities, one after another; when each ran."""
    ended = []
    for _ in range(count):
        ended.append((yield context.call_activity(say_when)))
    return ended


def fan_out(context: Any, count: int) -> Any:
    """As many activities, all at once."""
    calls = [context.call_activity(say_hello, input=str(number)) for number in range(count)]
    done = yield task.when_all(calls)
    return len(done)


def work(address: str) -> None:
    """Run orchestrators and activities until standard input ends."""
    worker = TaskHubGrpcWorker(host_address=address, logger=_QUIET)
    for activity in (say_hello, say_when):
        worker.add_activity(activity)
    for orchestrator in (hello_sequence, many_steps, fan_out):
        worker.add_orchestrator(orchestrator)
    worker.start()
    print("up", flush=True)
    sys.stdin.read()
    worker.stop()


def keep_in_memory() -> None:
    """Be the backend in memory until standard input ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    create_test_backend(port=port)
    print(f"127.0.0.1:{port}", flush=True)
    sys.stdin.read()


class Workloads:
    """What is measured."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = self._connect()

    def alone(self, *, calls: int) -> dict[str, float]:
        """Hello sequences, one at a time."""
        return latencies(calls, lambda: _run(self._client, "hello_sequence", None))

    def hello(self, *, outstanding: int, seconds: float) -> dict[str, float]:
        """Hello sequences, so many outstanding."""

        def caller(deadline: float) -> int:
            client = self._connect()
            return keep_outstanding(
                deadline,
                outstanding // _CALLERS,
                lambda: _start(client, "hello_sequence", None),
                lambda instance_id: _finish(client, instance_id),
            )

        return thread_rate(_CALLERS, seconds, caller)

    def starts(self, *, callers: int, seconds: float) -> dict[str, float]:
        """Starts; the orchestrations run beside them."""

        def caller(deadline: float) -> int:
            client = self._connect()
            return repeat(deadline, lambda: _start(client, "hello_sequence", None))

        return thread_rate(callers, seconds, caller)

    def fan(self, *, activities: int) -> dict[str, float]:
        """One orchestration with many activities at once."""
        began = time.perf_counter()
        _run(self._client, "fan_out", activities)
        seconds = time.perf_counter() - began
        return {"per_second": activities / seconds, "seconds": seconds}

    def steps(self, *, steps: int, window: int, points: int = 0) -> dict[str, Any]:
        """One orchestration with many activities, one after another."""
        return pace(_run(self._client, "many_steps", steps), window, points)

    def _connect(self) -> TaskHubGrpcClient:
        return TaskHubGrpcClient(host_address=self._address, logger=_QUIET)


def _run(client: TaskHubGrpcClient, name: str, payload: object) -> Any:
    return _finish(client, _start(client, name, payload))


def _start(client: TaskHubGrpcClient, name: str, payload: object) -> str:
    return str(client.schedule_new_orchestration(name, input=payload))


def _finish(client: TaskHubGrpcClient, instance_id: str) -> Any:
    state = client.wait_for_orchestration_completion(instance_id, timeout=_PATIENCE_SECONDS)
    if state is None or state.runtime_status is not OrchestrationStatus.COMPLETED:
        raise RuntimeError(f"{instance_id}: {state}")
    return state.get_output()


@contextmanager
def _child(*arguments: str) -> Iterator[str]:
    """Run this program as something else; give the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers.durabletask_peer", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def main(store: str | None) -> None:
    """Start backend and worker, and serve the workloads."""
    with ExitStack() as opened:
        if store is None:
            address = opened.enter_context(_child("backend"))
        else:
            hub = HubProcess(store, "--log-level", "error")
            opened.callback(hub.kill)
            address = hub.address
        opened.enter_context(_child("work", address))
        measured = Workloads(address)
        serve(
            {
                "alone": measured.alone,
                "hello": measured.hello,
                "fan": measured.fan,
                "steps": measured.steps,
                "starts": measured.starts,
            }
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["work", address]:
            work(address)
        case ["backend"]:
            keep_in_memory()
        case [store]:
            main(store)
        case _:
            main(None)
