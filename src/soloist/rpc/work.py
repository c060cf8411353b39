"""Work: one piece that a worker somewhere is to do, from the engine's asking to the answer; and
the seam to whoever has it done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from durabletask.internal import orchestrator_service_pb2 as pb

from soloist.core.failures import FailureDetails
from soloist.core.work import WorkKind


class WorkFailed(Exception):
    """Work came to nothing, and would come to nothing again."""

    def __init__(self, details: FailureDetails) -> None:
        super().__init__(details.message)
        self.details = details


class Want:
    """What a worker said that it takes: names, and versions of them. ``None`` takes everything."""

    def __init__(self, names: dict[str, frozenset[str]] | None) -> None:
        self._names = names

    def takes(self, name: str, version: str | None) -> bool:
        """Whether work of that function and version may be given."""
        if self._names is None:
            return True
        versions = self._names.get(name)
        return versions is not None and (not versions or (version or "") in versions)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names, for people to read."""
        return None if self._names is None else tuple(sorted(self._names))


class Work:
    """One piece of work. ``write`` makes its message for a worker of given capabilities.

    ``instance_id`` is for people; ``home`` is the worker that should get it if it can. ``losses``
    counts the workers that vanished with it, ``shunned_by`` those that handed it back. ``parts`` is
    what has come so far of an answer that is sent in pieces.
    """

    __slots__ = (
        "answer",
        "home",
        "instance_id",
        "kind",
        "losses",
        "name",
        "parts",
        "place",
        "refusals",
        "shunned_by",
        "token",
        "version",
        "write",
    )

    def __init__(
        self,
        kind: WorkKind,
        name: str,
        version: str | None,
        instance_id: str,
        write: Callable[[frozenset[int], bool], pb.WorkItem],
        home: int | None = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.version = version
        self.instance_id = instance_id
        self.write = write
        self.home = home
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.place = 0
        self.token = ""
        self.parts: list[pb.OrchestratorAction] = []
        self.losses = 0
        self.refusals = 0
        self.shunned_by: set[int] = set()

    @property
    def key(self) -> tuple[WorkKind, str, str | None]:
        """What decides who may do it."""
        return (self.kind, self.name, self.version)

    @property
    def is_settled(self) -> bool:
        """Whether nobody waits for an answer any more."""
        return self.answer.done()


class Workplace(Protocol):
    """Where work is done: by workers that connect, or by those of an app."""

    async def done(self, work: Work) -> Any:
        """Have work done and return its answer, a message of the protocol.

        Raises:
            WorkFailed: nobody will do it.
            WorkerLost: who did it is gone; it may be done again.
            WorkerAbsent: nobody is there to do it; the same, and nothing has been done.
        """
