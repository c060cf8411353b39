"""``soloist start``: run a Function app."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import click
import msgspec
import uvicorn

from soloist.app import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    AppFiles,
    Host,
    HostOptions,
    default_store_url,
    open_host,
    read_app_files,
)
from soloist.app.addresses import is_loopback
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
    PORT,
    SettableCommand,
    hub_name,
)
from soloist.client import DEFAULT_MAX_PAYLOAD_BYTES
from soloist.core.policy import StartPolicy
from soloist.errors import AppLoadFailed, SettingsError
from soloist.functions.processes import find_python, venv_warning
from soloist.stores import DEFAULT_LEASE_SECONDS, shown_url
from soloist.telemetry import DEFAULT_LEVEL, LEVELS, configure_logging
from soloist.webapi import BASE_PATH

HTTP_GRACE_SECONDS = 5
MAX_WORKERS = 64

_LISTEN_BACKLOG = 2048


@click.command(
    cls=SettableCommand,
    context_settings={"auto_envvar_prefix": "SOLOIST", "show_default": True},
)
@click.argument("app_dir", default=".", type=click.Path(path_type=Path), envvar="SOLOIST_APP")
@click.option("--port", type=PORT, help=f"[default: {DEFAULT_PORT}]")
@click.option("--host", default=DEFAULT_HOST, help="The address to listen on.")
@grpc_options(port_default=None)
@click.option(
    "--store",
    "store_url",
    envvar="SOLOIST_STORE",
    help="Where the hub lies: a path, sqlite:///path, postgresql://user@host/database, or memory:"
    " for one in memory, which ends with the host. [default: .soloist/hub.db in the app's folder]",
)
@click.option("--task-hub", callback=hub_name, help="[default: hubName of host.json]")
@click.option("--python", help="The app's interpreter. [default: the app's .venv, else ours]")
@click.option("--workers", type=click.IntRange(1, MAX_WORKERS), default=1)
@click.option(
    "--if-exists",
    "start_policy",
    envvar="SOLOIST_IF_EXISTS",
    type=click.Choice([policy.value for policy in StartPolicy]),
    help="What a start does when its id is taken. [default: host.json, else fail]",
)
@click.option(
    "--keys/--no-keys",
    "enforces_keys",
    envvar="SOLOIST_KEYS",
    default=None,
    help="Ask callers for access keys. [default: unless bound to loopback]",
)
@click.option("--skip-unsupported", is_flag=True, help="Leave out functions we cannot host.")
@click.option("--max-payload-bytes", type=PAYLOAD_BYTES, default=DEFAULT_MAX_PAYLOAD_BYTES)
@click.option(
    "--drain-seconds",
    type=DRAIN_SECONDS,
    help="How long a stop waits for activities."
    f" [default: {DEFAULT_DRAIN_SECONDS:g}, or 0 if host.json has useGracefulShutdown false]",
)
@click.option(
    "--lease-seconds",
    type=LEASE_SECONDS,
    default=DEFAULT_LEASE_SECONDS,
    help="After how long of silence other hosts take over what this one holds.",
)
@click.option(
    "--log-level", type=click.Choice(LEVELS), help=f"[default: host.json, else {DEFAULT_LEVEL}]"
)
@click.option("--log-json", is_flag=True, help="Log lines of JSON.")
@reports_errors
def start(
    log_level: str | None,
    log_json: bool,
    drain_seconds: float | None,
    skip_unsupported: bool,
    start_policy: str | None,
    **options: Any,
) -> None:
    """Run the Function app in APP_DIR.

    It runs until Ctrl-C; without APP_DIR the app is the current folder's.

    Every option can be set by environment too: SOLOIST_PORT, SOLOIST_STORE and so on.
    """
    files = read_app_files(options["app_dir"])
    configure_logging(log_level or files.host_json.log_level or DEFAULT_LEVEL, as_json=log_json)
    tune_interpreter()
    grpc = {name: options.pop(name) for name in list(options) if name.startswith("grpc_")}
    host_options = HostOptions(
        grpc=read_grpc_options(**grpc),
        skips_unsupported=skip_unsupported,
        start_policy=StartPolicy(start_policy) if start_policy else None,
        **options,
    )
    try:
        code = runner()(_serve(host_options, files, drain_seconds))
    except AppLoadFailed as error:
        if error.traceback:
            click.echo(error.traceback.rstrip(), err=True)
        raise
    sys.exit(code)


class _Server(uvicorn.Server):
    """A server that leaves signals to us: a host has more to end than its connections."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def _serve(options: HostOptions, files: AppFiles, drain_seconds: float | None) -> int:
    if drain_seconds is None:
        is_hasty = files.host_json.use_graceful_shutdown is False
        drain_seconds = 0.0 if is_hasty else DEFAULT_DRAIN_SECONDS
    port = options.port
    if port is None:
        port = files.local_settings.port or DEFAULT_PORT
    venv = None if options.python else venv_warning(files.app_dir)
    for warning in (*files.warnings, *filter(None, [venv])):
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    with _listening(options.host, port) as listener:
        port = listener.getsockname()[1]
        options = msgspec.structs.replace(options, port=port)
        origin = f"http://{_host_in_url(options.host)}:{port}"
        place = options.store_url or default_store_url(files.app_dir)
        is_made = await is_new(place, options.task_hub or files.host_json.hub_name)
        host = await open_host(options, origin)
        server = _Server(
            uvicorn.Config(
                host.web,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=HTTP_GRACE_SECONDS,
            )
        )
        told = Told(lambda: _stop(server, is_hasty=told.times > 1))
        told.listen()  # before anybody can read that the host is up, and stop it
        _announce(host, origin, options.host, is_made=is_made)
        return await _serve_until_told(host, server, told, listener, drain_seconds)


def _stop(server: uvicorn.Server, *, is_hasty: bool) -> None:
    server.should_exit = True
    server.force_exit = server.force_exit or is_hasty


async def _serve_until_told(
    host: Host,
    server: uvicorn.Server,
    told: Told,
    listener: socket.socket,
    drain_seconds: float,
) -> int:
    await server.serve(sockets=[listener])
    if not told.times:  # the server gave up by itself
        await host.close()
        return 1
    return await close_when_told(host.close, told, drain_seconds)


def _listening(host: str, port: int) -> socket.socket:
    """Bind before anything else is set up, so that a taken port costs nobody a wait."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_LISTEN_BACKLOG)
    except OSError as error:
        remedy = (
            "Stop what listens there, or choose another with --port."
            if error.errno == errno.EADDRINUSE
            else "Choose an address of this machine with --host."
        )
        raise SettingsError(
            f"Cannot listen on {host} port {port}: {error.strerror or error}. {remedy}"
        ) from error


def _host_in_url(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104  # compared with, not bound to
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _announce(host: Host, origin: str, address: str, *, is_made: bool) -> None:
    """Print the functions with their URLs, as ``func start`` does, and where the hub lies."""
    click.echo(
        f"\nTask hub '{host.task_hub}' {'is made' if is_made else 'lies'} in {shown_url(host.store_url)}"
    )
    loaded = host.workers.loaded
    if loaded is not None:
        python = find_python(host.files.app_dir, host.options.python)
        click.echo(f"App: {loaded.sdk} on Python {loaded.python} ({python})")
    for warning in (*host.catalogue.warnings, *(loaded.warnings if loaded else ())):
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    click.echo("\nFunctions:\n")
    prefix = f"/{host.files.host_json.route_prefix}".rstrip("/")
    for function in host.catalogue.functions:
        if function.trigger == "httpTrigger":
            methods = ",".join(sorted(function.methods)) or "any"
            route = (function.route or function.name).lstrip("/")
            what = f"[{methods.upper()}] {click.style(f'{origin}{prefix}/{route}', fg='green')}"
        elif function.name in host.catalogue.timers:
            what = f"timerTrigger, {host.catalogue.timers[function.name].schedule}"
        else:
            what = function.trigger
        click.echo(f"    {click.style(function.name, fg='yellow')}: {what}")
    if not host.catalogue.functions:
        click.secho("    none: the app declares no functions", fg="yellow")
    if host.door is not None and host.options.grpc is not None:
        click.echo(f"\nDurable Task gRPC: {shown_door(host.options.grpc, host.door.port)}")
    click.echo(f"\nManagement API: {origin}{BASE_PATH}")
    if host.keys.is_enforced:
        where = f"--app {host.files.app_dir} --store {shown_url(host.store_url)}"
        where += f" --task-hub {host.options.task_hub}" if host.options.task_hub else ""
        click.echo(f"Access keys are asked for; 'soloist keys list {where}' prints them.")
    elif not is_loopback(address):
        click.secho("warning: bound off loopback without access keys.", fg="yellow", err=True)
    click.echo("Ctrl-C stops.\n")
