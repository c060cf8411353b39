"""The gRPC door of a host: how it is to be opened, and the rules that hold for it.

The room ``rpc`` is imported when something needs the protocol, and not before: without the extra
``soloist[grpc]`` everything else works.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from soloist.app.addresses import is_loopback
from soloist.errors import SettingsError

if TYPE_CHECKING:
    from soloist.app.modern import ModernApp
    from soloist.client import Client
    from soloist.contracts.clock import Clock
    from soloist.functions.workers import WorkerPool
    from soloist.rpc.executor import RpcExecutor
    from soloist.rpc.server import GrpcDoor

DEFAULT_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MIN_TOKEN_CHARACTERS = 16

_PACKAGES = ("durabletask", "google", "grpc")


class GrpcOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where the door is and who may come through.

    Off loopback a certificate with its key (PEM files) and a token are needed: whoever reaches the
    door may start, read and remove everything, and is handed the work of every function.
    """

    port: int
    host: str = "127.0.0.1"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    token: str | None = None
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES

    def __repr__(self) -> str:
        return f"GrpcOptions({self.host}:{self.port})"  # never the token


def check_options(options: GrpcOptions) -> None:
    """Refuse a door that would be open to everybody, or that nobody could use.

    Raises:
        SettingsError: with what is missing.
    """
    if (options.tls_cert is None) is not (options.tls_key is None):
        raise SettingsError("--grpc-tls-cert and --grpc-tls-key belong together; give both.")
    if options.token is not None and len(options.token) < MIN_TOKEN_CHARACTERS:
        raise SettingsError(f"A gRPC token has at least {MIN_TOKEN_CHARACTERS} characters.")
    if options.token is not None and not (options.token.isascii() and options.token.isprintable()):
        raise SettingsError("A gRPC token consists of printable ASCII characters.")
    if is_loopback(options.host):
        return
    if options.tls_cert is None:
        raise SettingsError(
            f"--grpc-host {options.host} can be reached from other machines, so the gRPC door needs"
            " TLS there: give --grpc-tls-cert and --grpc-tls-key, or leave it on loopback."
        )
    if options.token is None:
        raise SettingsError(
            f"--grpc-host {options.host} can be reached from other machines, so the gRPC door needs"
            " a token there: set SOLOIST_GRPC_TOKEN or give --grpc-token-file."
        )


def new_executor(default_version: str | None = None) -> RpcExecutor:
    """Return the executor of a door that is to be opened.

    Raises:
        SettingsError: the extra is not installed.
    """
    with _importing_for("The gRPC door"):
        from soloist.rpc.board import Board
        from soloist.rpc.executor import RpcExecutor
    return RpcExecutor(Board(), default_version=default_version)


def modern_app(workers: WorkerPool, *, default_version: str | None) -> ModernApp | None:
    """Return what the loaded app needs if its SDK speaks the protocol, ``None`` if it does not.

    Raises:
        SettingsError: the extra is not installed.
    """
    if workers.loaded is None or not workers.loaded.is_modern:
        return None
    with _importing_for(f"An app on {workers.loaded.sdk}"):
        from soloist.app.modern import ModernApp
    return ModernApp(workers, default_version=default_version)


@contextmanager
def _importing_for(what: str) -> Iterator[None]:
    """Say what the extra is needed for, if it turns out to be missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        raise SettingsError(
            f"{what} needs the package '{error.name}' beside the host: in a clone of Soloist,"
            " pip install '.[grpc]'."
        ) from error


async def open_door(
    options: GrpcOptions, client: Client, clock: Clock, executor: RpcExecutor, *, task_hub: str
) -> GrpcDoor:
    """Begin to serve the protocol.

    Raises:
        SettingsError: an option is wrong, or the address cannot be listened on.
    """
    from soloist.rpc.server import DoorSettings, GrpcDoor

    settings = DoorSettings(
        host=options.host,
        port=options.port,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        token=options.token,
        max_message_bytes=options.max_message_bytes,
    )
    door = GrpcDoor(settings, client, clock, executor, task_hub=task_hub)
    await door.open()
    return door
