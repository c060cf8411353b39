"""The server: where the gRPC door is, who may come through it, and how it is closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import msgspec

from soloist.client import Client
from soloist.contracts.clock import Clock
from soloist.errors import SettingsError
from soloist.rpc.addresses import check_free
from soloist.rpc.executor import RpcExecutor
from soloist.rpc.health import Health, health_handler
from soloist.rpc.management import ManagementCalls
from soloist.rpc.service import DESCRIPTOR, Guard, Secret, service_handler
from soloist.rpc.workers import WorkerCalls

DEFAULT_MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_KEEPALIVE_MS = 30_000
_KEEPALIVE_TIMEOUT_MS = 10_000
_MIN_PING_MS = 5_000
_LOOKAHEAD_BYTES = 1024 * 1024


class DoorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen and how. Certificate and key are PEM files; ``token`` is what callers must
    present. ``max_message_bytes`` bounds what is received in one message.

    ``path`` is a socket in the file system, to be listened on instead of an address.
    """

    host: str
    port: int
    path: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    token: str | None = None
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES

    def __repr__(self) -> str:
        return f"DoorSettings({self.host}:{self.port}, tls={self.tls_cert is not None})"

    def address(self, port: int) -> str:
        """Return what gRPC calls this place, given the port that the system chose."""
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{port}"


class GrpcDoor:
    """The protocol's service on an address. Without an ``executor`` it is for clients only: no
    worker can connect."""

    def __init__(
        self,
        settings: DoorSettings,
        client: Client,
        clock: Clock,
        executor: RpcExecutor | None,
        *,
        task_hub: str,
    ) -> None:
        self._settings = settings
        self._executor = executor
        self._workers = None if executor is None else WorkerCalls(executor.board)
        self._health = Health(frozenset({DESCRIPTOR.full_name}))
        self._server = grpc.aio.server(options=_options(settings))
        management = ManagementCalls(client, clock, executor, task_hub=task_hub)
        token = None if settings.token is None else Secret(settings.token)
        guard = Guard(task_hub, token)
        self._server.add_generic_rpc_handlers(
            (service_handler(management, self._workers, guard), health_handler(self._health))
        )
        self.port = 0

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return self._settings.address(self.port)

    async def open(self) -> None:
        """Begin to serve; ``port`` is where.

        Raises:
            SettingsError: the address is taken or is not ours, or a file cannot be used.
        """
        settings = self._settings
        if settings.path is None:
            await check_free(settings.host, settings.port)
        address = settings.address(settings.port)
        try:
            if settings.tls_cert is not None and settings.tls_key is not None:
                credentials = _credentials(settings.tls_cert, settings.tls_key)
                self.port = self._server.add_secure_port(address, credentials)
            else:
                self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise SettingsError(_cannot_listen(settings)) from error
        if self.port == 0:
            raise SettingsError(_cannot_listen(settings))
        await self._server.start()
        self._health.serving()

    def drain(self) -> None:
        """Begin no more activities with workers; those that run may end."""
        self._health.over()
        if self._executor is not None:
            self._executor.board.drain()

    async def close(self, grace_seconds: float = 1.0) -> None:
        """End the workers' streams and stop serving."""
        self._health.over()
        if self._workers is not None:
            self._workers.close()
        await self._server.stop(grace_seconds)


def _options(settings: DoorSettings) -> list[tuple[str, Any]]:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Without probing how fast the peer is, which costs pings and wake-ups beside small
        # messages, a stream may be so far ahead of its reader.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _LOOKAHEAD_BYTES),
        # A peer that is gone without a word is found out, and clients may look after us as well.
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_MS),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def _credentials(cert: Path, key: Path) -> Any:
    try:
        pair = (key.read_bytes(), cert.read_bytes())
    except OSError as error:
        raise SettingsError(
            f"{error.filename} cannot be read: {error.strerror}. --grpc-tls-cert and --grpc-tls-key"
            " name PEM files."
        ) from error
    return grpc.ssl_server_credentials((pair,))


def _cannot_listen(settings: DoorSettings) -> str:
    if settings.path is not None:
        return (
            f"Cannot listen for gRPC on the socket {settings.path}: its path may be too long. Set"
            " TMPDIR to a shorter one."
        )
    return (
        f"Cannot listen for gRPC on {settings.host} port {settings.port}: the certificate and its key"
        " do not fit, or something took the address just now. Look at --grpc-tls-cert and"
        " --grpc-tls-key, or choose another with --grpc-port."
    )
