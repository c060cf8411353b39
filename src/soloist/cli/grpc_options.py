"""The options of the gRPC door, the same for every command that can open one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from soloist.app.grpc_door import DEFAULT_MAX_MESSAGE_BYTES, GrpcOptions
from soloist.cli.values import PORT
from soloist.errors import SettingsError

P = ParamSpec("P")
R = TypeVar("R")

MAX_MESSAGE_BYTES = 2**31 - 1
"""What gRPC can count."""

_FILE = click.Path(dir_okay=False, path_type=Path)


def grpc_options(port_default: int | None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return what adds the options; without a default port the door stays shut unless asked for."""
    options = (
        click.option(
            "--grpc-port",
            type=PORT,
            default=port_default,
            help="Serve the Durable Task gRPC protocol there, for Microsoft's own SDKs.",
        ),
        click.option(
            "--grpc-host", default="127.0.0.1", help="The address of the gRPC door to listen on."
        ),
        click.option("--grpc-tls-cert", type=_FILE, help="A PEM file: the certificate chain."),
        click.option("--grpc-tls-key", type=_FILE, help="A PEM file: the certificate's key."),
        click.option(
            "--grpc-token-file",
            type=_FILE,
            help="A file with the token that callers must present. [or: SOLOIST_GRPC_TOKEN]",
        ),
        click.option("--grpc-token", envvar="SOLOIST_GRPC_TOKEN", hidden=True, show_envvar=False),
        click.option(
            "--grpc-max-message-bytes",
            type=click.IntRange(64 * 1024, MAX_MESSAGE_BYTES),
            default=DEFAULT_MAX_MESSAGE_BYTES,
            help="The largest message that is received.",
        ),
    )

    def add(command: Callable[P, R]) -> Callable[P, R]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def read_grpc_options(
    *,
    grpc_port: int | None,
    grpc_host: str,
    grpc_tls_cert: Path | None,
    grpc_tls_key: Path | None,
    grpc_token_file: Path | None,
    grpc_token: str | None,
    grpc_max_message_bytes: int,
) -> GrpcOptions | None:
    """Return how the door is to be opened, ``None`` when it stays shut.

    Raises:
        SettingsError: the token's file cannot be read.
    """
    if grpc_port is None:
        return None
    token = grpc_token or None
    if grpc_token_file is not None:
        try:
            token = grpc_token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--grpc-token-file {grpc_token_file}: {error}.") from error
    return GrpcOptions(
        port=grpc_port,
        host=grpc_host,
        tls_cert=grpc_tls_cert,
        tls_key=grpc_tls_key,
        token=token,
        max_message_bytes=grpc_max_message_bytes,
    )


def shown_door(options: GrpcOptions, port: int) -> str:
    """Return where a door is and how one comes through, for people to read."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    how = "TLS" if options.tls_cert is not None else "plaintext"
    token = ", with the token as metadata 'authorization: Bearer TOKEN'" if options.token else ""
    return f"{host}:{port} ({how}{token})"
