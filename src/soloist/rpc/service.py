"""The service: every RPC of ``TaskHubSidecarService``, with who may call and what errors become.

The methods are those of the installed stubs; one that a newer protocol has and Soloist does not
is answered UNIMPLEMENTED, by name.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from inspect import isasyncgenfunction
from typing import Any

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from soloist.errors import Kind, SoloistError
from soloist.rpc.errors import end, refuse
from soloist.rpc.management import ManagementCalls
from soloist.rpc.workers import WorkerCalls
from soloist.telemetry import logger

_log = logger(__name__)

HUB_KEY = "taskhub"
TOKEN_KEY = "authorization"  # noqa: S105  # the header's name, not a token
DESCRIPTOR = pb.DESCRIPTOR.services_by_name["TaskHubSidecarService"]
_SCHEME = "bearer "


class Secret:
    """A text that is compared and never shown."""

    __slots__ = ("_bytes",)

    def __init__(self, text: str) -> None:
        self._bytes = text.encode()

    def __repr__(self) -> str:
        return "<secret>"

    def is_same(self, text: str) -> bool:
        """Whether a text is the same; how long this takes does not tell how far it agrees."""
        return hmac.compare_digest(self._bytes, text.encode())


class Guard:
    """Who may call: those that name our hub, or none, and present our token, if there is one."""

    def __init__(self, task_hub: str, token: Secret | None) -> None:
        self._task_hub = task_hub
        self._token = token

    async def admit(self, context: Any) -> None:
        """End a call that may not be made."""
        hub = presented = ""
        for key, value in context.invocation_metadata() or ():  # keys are in lower case
            if key == HUB_KEY:
                hub = _text(value)
            elif key == TOKEN_KEY:
                presented = _text(value)
        if self._token is not None:
            is_bearer = presented[: len(_SCHEME)].lower() == _SCHEME
            if not (is_bearer and self._token.is_same(presented[len(_SCHEME) :])):
                await end(
                    context,
                    grpc.StatusCode.UNAUTHENTICATED,
                    "Send the token of this host in the metadata: 'authorization: Bearer TOKEN'.",
                )
        if hub and hub.lower() != self._task_hub.lower():
            await end(
                context,
                grpc.StatusCode.NOT_FOUND,
                f"There is no task hub '{hub[:100]}' here: this host serves '{self._task_hub}'.",
            )


def service_handler(management: ManagementCalls, workers: WorkerCalls | None, guard: Guard) -> Any:
    """Return what a server adds to serve the protocol; without ``workers`` to clients only."""
    handlers = {}
    for method in DESCRIPTOR.methods:
        call = getattr(management, method.name, None) or getattr(workers, method.name, None)
        if call is None:
            call = _unimplemented(method.name)
        rpc = _Call(method.name, call, GetMessageClass(method.input_type).FromString, guard)
        if not method.server_streaming:
            handler = grpc.unary_unary_rpc_method_handler(
                rpc.unary, response_serializer=_serialized
            )
        else:
            # What a coroutine sends it writes to the context itself.
            behavior = rpc.stream if isasyncgenfunction(call) else rpc.unary
            handler = grpc.unary_stream_rpc_method_handler(
                behavior, response_serializer=_serialized
            )
        handlers[method.name] = handler
    return grpc.method_handlers_generic_handler(DESCRIPTOR.full_name, handlers)


class _Call:
    """One RPC: admit, read, carry out, and say what went wrong."""

    def __init__(
        self, name: str, call: Callable[..., Any], parse: Callable[[bytes], Any], guard: Guard
    ) -> None:
        self._name = name
        self._call = call
        self._parse = parse
        self._guard = guard

    async def unary(self, data: bytes, context: Any) -> Any:
        """Answer once, or write to the context."""
        request = await self._read(data, context)
        try:
            return await self._call(request, context)
        except grpc.aio.AbortError:
            raise
        except SoloistError as error:
            await self._refuse(context, error)
        except Exception:  # noqa: BLE001  # a fault of ours is the log's, not the caller's
            await self._stumble(context)

    async def stream(self, data: bytes, context: Any) -> None:
        """Answer many times."""
        request = await self._read(data, context)
        try:
            async for message in self._call(request, context):
                await context.write(message)
        except grpc.aio.AbortError:
            raise
        except SoloistError as error:
            await self._refuse(context, error)
        except Exception:  # noqa: BLE001  # as above
            await self._stumble(context)

    async def _read(self, data: bytes, context: Any) -> Message:
        await self._guard.admit(context)
        try:
            message: Message = self._parse(data)
        except DecodeError:
            await end(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                f"The request of {self._name} is not a message of the protocol.",
            )
        return message

    async def _refuse(self, context: Any, error: SoloistError) -> None:
        if error.kind in (Kind.INTERNAL, Kind.UNAVAILABLE):
            _log.warning("a call failed", rpc=self._name, reason=str(error))
        await refuse(context, error)

    async def _stumble(self, context: Any) -> None:
        _log.exception("a call failed", rpc=self._name)
        await end(
            context, grpc.StatusCode.INTERNAL, f"{self._name} failed; the host's log says why."
        )


def _unimplemented(name: str) -> Callable[..., Any]:
    async def refuse_it(_request: Message, context: Any) -> None:
        await end(context, grpc.StatusCode.UNIMPLEMENTED, f"Soloist does not implement {name} yet.")

    return refuse_it


def _serialized(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
