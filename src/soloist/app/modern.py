"""Modern apps: hosted ones whose SDK speaks the Durable Task protocol (``azure-functions-durable``
2.x).

Their orchestrators and entities are work in the protocol's words, as for workers of the gRPC door;
only that it goes to the SDK's handles in the app's own worker processes. Their durable clients are
gRPC clients, and get a door of their own: a socket in a folder that nobody but this user can enter.
It lets no workers in, and has nothing to do with a door that was asked for.

This module needs the extra ``soloist[grpc]``; it is imported for such apps only.
"""

from __future__ import annotations

import base64
import binascii
import shutil
import socket
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.message import DecodeError, Message

from soloist.client import Client
from soloist.contracts.clock import Clock
from soloist.core.failures import FailureDetails
from soloist.core.work import WorkKind
from soloist.errors import AppError, WorkerLost
from soloist.functions.binding import ClientBinding
from soloist.functions.catalogue import ENTITY_TRIGGER, ORCHESTRATION_TRIGGER
from soloist.functions.workers import WorkerPool
from soloist.rpc.executor import ProtocolExecutor
from soloist.rpc.server import DoorSettings, GrpcDoor
from soloist.rpc.work import Work, WorkFailed

_LEAST_MESSAGE_BYTES = 256 * 1024 * 1024
"""As much as a frame between host and worker holds, so that a payload which is too large is refused
by the hub, in its words, and not by gRPC."""

_MOST_MESSAGE_BYTES = 2**31 - 1
_LOOPBACK = "127.0.0.1"
_UNREADABLE = "The SDK's answer is no message of the Durable Task protocol."


class AppWorkplace:
    """``rpc.work.Workplace`` over an app's worker processes."""

    def __init__(self, workers: WorkerPool) -> None:
        self._workers = workers

    async def done(self, work: Work) -> Any:
        """See ``rpc.work.Workplace``."""
        trigger, request, answer = _question(work)
        body = base64.b64encode(request.SerializeToString()).decode("ascii")
        try:
            done = await self._workers.run_handle(trigger, work.name, body)
        except WorkerLost:
            raise
        except AppError as error:
            raise WorkFailed(FailureDetails(str(error))) from error
        if done.failure is not None:
            raise WorkFailed(done.failure)
        try:
            answer.ParseFromString(base64.b64decode(done.body or ""))
        except (DecodeError, binascii.Error) as error:
            raise WorkFailed(FailureDetails(_UNREADABLE)) from error
        return answer


def _question(work: Work) -> tuple[str, Message, Message]:
    """Return whom to ask, what, and the message for the answer."""
    item = work.write(frozenset(), False)
    if work.kind is WorkKind.ORCHESTRATION:
        return ORCHESTRATION_TRIGGER, item.orchestratorRequest, pb.OrchestratorResponse()
    assert work.kind is WorkKind.ENTITY, "activities go to the workers as they are"
    return ENTITY_TRIGGER, item.entityRequest, pb.EntityBatchResult()


class ModernApp:
    """What a modern app needs of its host: ``turns`` runs its orchestrators and entities, and
    ``serve`` opens the door for its clients."""

    def __init__(self, workers: WorkerPool, *, default_version: str | None) -> None:
        self._workers = workers
        self.turns = ProtocolExecutor(AppWorkplace(workers), default_version=default_version)
        self._opened = AsyncExitStack()

    async def serve(
        self,
        client: Client,
        clock: Clock,
        binding: ClientBinding,
        origin: str,
        task_hub: str,
        max_message_bytes: int,
    ) -> None:
        """Begin to serve the app's clients, and tell them by their ``binding`` where.

        Raises:
            SettingsError: the socket cannot be made.
        """
        max_message_bytes = max(max_message_bytes, _LEAST_MESSAGE_BYTES)
        settings = DoorSettings(
            host=_LOOPBACK,
            port=0,
            path=self._socket_path(),
            max_message_bytes=min(max_message_bytes, _MOST_MESSAGE_BYTES),
        )
        door = GrpcDoor(settings, client, clock, None, task_hub=task_hub)
        await door.open()
        self._opened.push_async_callback(door.close)
        binding.point_at(door.address, settings.max_message_bytes, origin)
        self._workers.rebind(binding.text(origin))

    async def close(self) -> None:
        """Serve nobody any more."""
        await self._opened.aclose()

    def _socket_path(self) -> Path | None:
        """Return where the door's socket is to be; ``None`` where there are no such sockets, and
        a port of the loopback address must do."""
        if not hasattr(socket, "AF_UNIX"):
            return None
        folder = tempfile.mkdtemp(prefix="soloist-")  # this user's alone
        self._opened.callback(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder) / "door"
