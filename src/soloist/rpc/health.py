"""Health: ``grpc.health.v1.Health``, which load balancers and orchestrators of containers ask.

Its two messages have one field each, so they are read and written here by hand rather than with
one more package.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from soloist.rpc.errors import end

SERVICE = "grpc.health.v1.Health"
SERVING = b"\x08\x01"
NOT_SERVING = b"\x08\x02"
SERVICE_UNKNOWN = b"\x08\x03"

_NAME_TAG = 0x0A
_LONGEST_NAME = 0x7F


class Health:
    """Says whether the services of this server are served; the empty name means all."""

    def __init__(self, services: frozenset[str]) -> None:
        self._services = services | {""}
        self._is_serving = asyncio.Event()
        self._is_over = asyncio.Event()

    def serving(self) -> None:
        """From now on, everything is served."""
        self._is_serving.set()

    def over(self) -> None:
        """From now on, nothing is served; whoever watches is told."""
        self._is_over.set()

    async def Check(self, request: bytes, context: Any) -> bytes:
        """Say it once."""
        name = _service_name(request)
        if name not in self._services:
            await end(context, grpc.StatusCode.NOT_FOUND, f"There is no service '{name}' here.")
        return self._status()

    async def Watch(self, request: bytes, context: Any) -> None:
        """Say it now and whenever it changes."""
        if _service_name(request) not in self._services:
            await context.write(SERVICE_UNKNOWN)
        else:
            await context.write(self._status())
        await self._is_over.wait()
        await context.write(NOT_SERVING)

    def _status(self) -> bytes:
        return SERVING if self._is_serving.is_set() and not self._is_over.is_set() else NOT_SERVING


def health_handler(health: Health) -> Any:
    """Return what a server adds to answer for its health."""
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Check": grpc.unary_unary_rpc_method_handler(health.Check),
            "Watch": grpc.unary_stream_rpc_method_handler(health.Watch),
        },
    )


def _service_name(request: bytes) -> str | None:
    """Return the name in a HealthCheckRequest, ``None`` when it is none of ours."""
    if not request:
        return ""
    if len(request) < 2 or request[0] != _NAME_TAG or request[1] > _LONGEST_NAME:
        return None
    return request[2 : 2 + request[1]].decode("utf-8", "replace")
