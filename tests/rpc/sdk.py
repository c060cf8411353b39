"""The real SDK against a served hub: a client, and workers that tests fill with functions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from durabletask.client import OrchestrationState, TaskHubGrpcClient
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.worker import ConcurrencyOptions, TaskHubGrpcWorker

PATIENCE_SECONDS = 30.0

quiet = logging.Logger("sdk", level=logging.CRITICAL)
"""What the SDK says is of no interest, and its own loggers write on closed streams at the end."""


def new_client(address: str, **options: Any) -> TaskHubGrpcClient:
    """Return the SDK's client of a hub."""
    return TaskHubGrpcClient(host_address=address, logger=quiet, **options)


def stub_of(channel: Any) -> Any:
    """Return the protocol's own stub, for what the SDK would not do."""
    return stubs.TaskHubSidecarServiceStub(channel)  # type: ignore[no-untyped-call]  # generated


@contextmanager
def worker(
    address: str,
    *,
    orchestrators: tuple[Any, ...] = (),
    activities: tuple[Any, ...] = (),
    entities: tuple[Any, ...] = (),
    prepare: Callable[[TaskHubGrpcWorker], None] = lambda _: None,
    concurrency: int = 20,
    **options: Any,
) -> Iterator[TaskHubGrpcWorker]:
    """Run the SDK's worker with some functions."""
    made = TaskHubGrpcWorker(
        host_address=address,
        logger=quiet,
        concurrency_options=ConcurrencyOptions(
            maximum_concurrent_activity_work_items=concurrency,
            maximum_concurrent_orchestration_work_items=concurrency,
            maximum_concurrent_entity_work_items=concurrency,
            maximum_thread_pool_workers=concurrency,
        ),
        **options,
    )
    for each in orchestrators:
        made.add_orchestrator(each)
    for each in activities:
        made.add_activity(each)
    for each in entities:
        made.add_entity(each)
    prepare(made)
    made.start()  # type: ignore[no-untyped-call]  # the SDK leaves it without types
    try:
        yield made
    finally:
        made.stop()  # type: ignore[no-untyped-call]  # as above


def outcome(
    client: TaskHubGrpcClient, instance_id: str, seconds: float = PATIENCE_SECONDS
) -> OrchestrationState:
    """Return an instance once it has ended."""
    state = client.wait_for_orchestration_completion(instance_id, timeout=seconds)
    assert state is not None, f"{instance_id} is not there"
    return state


def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Return what a condition gives once that is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
