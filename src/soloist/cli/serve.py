"""``soloist serve``: run a task hub for workers that connect over gRPC."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from soloist.app import HUB_FILE, HUB_FOLDER, store_path
from soloist.app.grpc_hub import DEFAULT_TASK_HUB, GrpcHub, HubOptions, open_hub
from soloist.cli.grpc_options import grpc_options, read_grpc_options, shown_door
from soloist.cli.hub import is_new, reports_errors
from soloist.cli.running import (
    DEFAULT_DRAIN_SECONDS,
    Told,
    close_when_told,
    runner,
    tune_interpreter,
)
from soloist.cli.values import (
    DRAIN_SECONDS,
    LEASE_SECONDS,
    PAYLOAD_BYTES,
    SettableCommand,
    hub_name,
)
from soloist.client import DEFAULT_MAX_PAYLOAD_BYTES
from soloist.core.policy import StartPolicy
from soloist.stores import DEFAULT_LEASE_SECONDS, shown_url
from soloist.telemetry import DEFAULT_LEVEL, LEVELS, configure_logging

DEFAULT_GRPC_PORT = 4001
"""Where the SDKs look unless they are told otherwise."""


@click.command(
    cls=SettableCommand,
    context_settings={"auto_envvar_prefix": "SOLOIST", "show_default": True},
)
@grpc_options(port_default=DEFAULT_GRPC_PORT)
@click.option(
    "--store",
    "store_url",
    envvar="SOLOIST_STORE",
    help="Where the hub lies: a path, sqlite:///path, postgresql://user@host/database, or memory:"
    f" for one in memory, which ends with it. [default: {HUB_FOLDER}/{HUB_FILE} in the current"
    " folder]",
)
@click.option("--task-hub", callback=hub_name, default=DEFAULT_TASK_HUB, help="The hub's name.")
@click.option(
    "--if-exists",
    "start_policy",
    envvar="SOLOIST_IF_EXISTS",
    type=click.Choice([policy.value for policy in StartPolicy]),
    default=StartPolicy.FAIL.value,
    help="What a start that names no policy does when its id is taken.",
)
@click.option("--max-payload-bytes", type=PAYLOAD_BYTES, default=DEFAULT_MAX_PAYLOAD_BYTES)
@click.option(
    "--drain-seconds",
    type=DRAIN_SECONDS,
    default=DEFAULT_DRAIN_SECONDS,
    help="How long a stop waits for activities.",
)
@click.option(
    "--lease-seconds",
    type=LEASE_SECONDS,
    default=DEFAULT_LEASE_SECONDS,
    help="After how long of silence other hosts take over what this one holds.",
)
@click.option("--log-level", type=click.Choice(LEVELS), default=DEFAULT_LEVEL)
@click.option("--log-json", is_flag=True, help="Log lines of JSON.")
@reports_errors
def serve(
    store_url: str | None,
    task_hub: str,
    start_policy: str,
    max_payload_bytes: int,
    drain_seconds: float,
    lease_seconds: float,
    log_level: str,
    log_json: bool,
    **grpc: Any,
) -> None:
    """Run a task hub without an app, for workers and clients of the Durable Task SDKs.

    It runs until Ctrl-C. Point an SDK at the printed address; no function need be declared here.
    """
    configure_logging(log_level, as_json=log_json)
    tune_interpreter()
    door = read_grpc_options(**grpc)
    assert door is not None, "the port has a default"
    options = HubOptions(
        store_url=store_url or str(Path.cwd() / HUB_FOLDER / HUB_FILE),
        grpc=door,
        task_hub=task_hub,
        start_policy=StartPolicy(start_policy),
        lease_seconds=lease_seconds,
        max_payload_bytes=max_payload_bytes,
    )
    sys.exit(runner()(_serve(options, drain_seconds)))


async def _serve(options: HubOptions, drain_seconds: float) -> int:
    path = store_path(options.store_url)
    if path is not None:
        options = msgspec.structs.replace(options, store_url=str(path))
    is_made = await is_new(options.store_url, options.task_hub)
    is_told = asyncio.Event()
    told = Told(is_told.set)
    told.listen()
    hub = await open_hub(options)
    _announce(hub, is_made=is_made)
    await is_told.wait()
    return await close_when_told(hub.close, told, drain_seconds)


def _announce(hub: GrpcHub, *, is_made: bool) -> None:
    options = hub.options
    place = shown_url(options.store_url)
    click.echo(f"\nTask hub '{options.task_hub}' {'is made' if is_made else 'lies'} in {place}")
    click.echo(f"Durable Task gRPC: {shown_door(options.grpc, hub.port)}")
    click.echo("Ctrl-C stops.\n")
