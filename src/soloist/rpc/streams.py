"""Streams: the connected workers, what each takes, and what each holds."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

from durabletask.internal import orchestrator_service_pb2 as pb

from soloist.core.work import WorkKind
from soloist.rpc.work import Want, Work

DEFAULT_CONCURRENCY = 1_000
"""How much of one kind a worker holds that names no limit."""

_numbers = count(1)


class Stream:
    """One worker's stream of work items."""

    def __init__(self, request: pb.GetWorkItemsRequest, peer: str) -> None:
        self.number = next(_numbers)
        self.peer = peer
        self.capabilities = frozenset(int(each) for each in request.capabilities)
        # Whoever writes one of these fields was built after the current entity protocol.
        self.is_recent = bool(
            request.capabilities
            or request.HasField("workItemFilters")
            or request.worker_instance_id
        )
        self.held: dict[str, Work] = {}
        self.outgoing: asyncio.Queue[pb.WorkItem | None] = asyncio.Queue()
        self._wants = _wants(request)
        self._limits = {
            WorkKind.ORCHESTRATION: request.maxConcurrentOrchestrationWorkItems,
            WorkKind.ACTIVITY: request.maxConcurrentActivityWorkItems,
            WorkKind.ENTITY: request.maxConcurrentEntityWorkItems,
        }
        self._counts = dict.fromkeys(WorkKind, 0)

    def takes(self, work_key: tuple[WorkKind, str, str | None]) -> bool:
        """Whether this worker knows the function."""
        kind, name, version = work_key
        return self._wants[kind].takes(name, version)

    def has_room(self, kind: WorkKind) -> bool:
        """Whether it may be given one more of that kind."""
        limit = self._limits[kind]
        return self._counts[kind] < (limit if limit > 0 else DEFAULT_CONCURRENCY)

    def load(self, kind: WorkKind) -> int:
        """Return how much of that kind it holds."""
        return self._counts[kind]

    def give(self, work: Work, token: str) -> None:
        """Hand work to this worker under a new token."""
        item = work.write(self.capabilities, self.is_recent)
        item.completionToken = token
        work.token = token
        self.held[token] = work
        self._counts[work.kind] += 1
        self.outgoing.put_nowait(item)

    def take(self, token: str) -> Work | None:
        """Take work back, ``None`` when it is not here."""
        work = self.held.pop(token, None)
        if work is not None:
            self._counts[work.kind] -= 1
        return work

    def describe(self) -> dict[str, Any]:
        """Return what people may want to know of it."""
        return {
            "worker": self.number,
            "peer": self.peer,
            "functions": {kind.value: want.names for kind, want in self._wants.items()},
        }


def _wants(request: pb.GetWorkItemsRequest) -> dict[WorkKind, Want]:
    if not request.HasField("workItemFilters"):
        return {kind: Want(None) for kind in WorkKind}
    filters = request.workItemFilters
    entities = {each.name.lower(): frozenset[str]() for each in filters.entities}
    return {
        WorkKind.ORCHESTRATION: Want(_names(filters.orchestrations)),
        WorkKind.ACTIVITY: Want(_names(filters.activities)),
        WorkKind.ENTITY: Want(entities),
    }


def _names(filters: Any) -> dict[str, frozenset[str]]:
    """Return names with their versions; a name without any takes all."""
    found: dict[str, frozenset[str]] = {}
    for each in filters:
        versions = frozenset(each.versions)
        before = found.get(each.name)
        takes_all = not versions or (before is not None and not before)
        found[each.name] = frozenset() if takes_all else versions | (before or frozenset())
    return found
