"""Which task hub a command speaks of, and how its errors reach the person who typed it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from soloist.app import default_store_url, is_there, read_app_host_json, store_path
from soloist.cli.refusals import told
from soloist.cli.values import known_hub_name
from soloist.client import Client
from soloist.contracts.clock import SystemClock
from soloist.contracts.store import Store
from soloist.errors import HubError, SoloistError
from soloist.functions.hostjson import FILE_NAME
from soloist.stores import shown_url, store_at

P = ParamSpec("P")
R = TypeVar("R")

_MAX_NAMED_HUBS = 20


def hub_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add the options that name a task hub."""
    options = (
        click.option(
            "--app",
            "app_dir",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            default=Path(),
            envvar="SOLOIST_APP",
            help="The app's folder. [default: the current one]",
        ),
        click.option(
            "--store",
            "store_url",
            envvar="SOLOIST_STORE",
            help="Where the hub lies. [default: .soloist/hub.db in the app's folder]",
        ),
        click.option(
            "--task-hub",
            callback=known_hub_name,
            envvar="SOLOIST_TASK_HUB",
            help="The hub's name. [default: hubName of the app's host.json, else the store's only"
            " hub]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn Soloist's errors into one sentence and a failing exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SoloistError as error:
            raise click.ClickException(told(error)) from error

    return wrapper


@asynccontextmanager
async def opened_store(
    app_dir: Path, store_url: str | None, task_hub: str | None
) -> AsyncIterator[Store]:
    """Open the hub's store beside a host that may be running.

    Raises:
        HubError: there is no hub there yet; what only speaks of hubs must not make one.
        click.UsageError: it is not said which hub is meant, or there is none of that name.
    """
    url = store_url or default_store_url(app_dir)
    path = store_path(url)
    if path is not None and not is_there(path):
        raise HubError(
            f"There is no store at {path}. Start the app first, or name the hub's place with --app"
            " or --store."
        )
    known = await store_at(url, task_hub="", clock=SystemClock()).hubs()
    name = _chosen(known, shown_url(url), app_dir, task_hub)
    store = store_at(url, task_hub=name, clock=SystemClock())
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def is_new(store_url: str, task_hub: str) -> bool:
    """Whether there is no such hub yet, for those who are about to make it."""
    return task_hub not in await store_at(store_url, task_hub="", clock=SystemClock()).hubs()


def _chosen(known: tuple[str, ...], place: str, app_dir: Path, task_hub: str | None) -> str:
    """Choose one of the hubs of a store: the one that is named, or that the app's hosts run."""
    if not known:
        raise HubError(
            f"The store {place} holds no task hub yet. It is made by the first 'soloist start' of"
            " an app, or 'soloist serve', with that store."
        )
    names = ", ".join(f"'{each}'" for each in known[:_MAX_NAMED_HUBS])
    names += ", …" if len(known) > _MAX_NAMED_HUBS else ""
    said = ""
    if task_hub is None:
        host_json = read_app_host_json(app_dir)
        task_hub = host_json.hub_name
        if host_json.hub_name_source is None:
            is_app = (app_dir / FILE_NAME).is_file()
            if is_app and task_hub in known:
                return task_hub
            if len(known) == 1:
                return known[0]
            raise click.UsageError(
                f"The store {place} has several task hubs: {names}. Say which with --task-hub."
            )
        said = f", which {host_json.hub_name_source} names for the app {app_dir.resolve()}"
    if task_hub not in known:
        raise click.UsageError(
            f"The store {place} has no task hub '{task_hub}'{said}; it has: {names}. Say which with"
            " --task-hub."
        )
    return task_hub


@asynccontextmanager
async def opened_client(
    app_dir: Path, store_url: str | None, task_hub: str | None
) -> AsyncIterator[Client]:
    """Open a client of the hub."""
    async with opened_store(app_dir, store_url, task_hub) as store:
        yield Client(store, store.clock)


async def tell_idle(client: Client, what: str) -> None:
    """Say, if no host runs the hub, that ``what`` waits for one."""
    if not any(host.is_live for host in await client.hosts()):
        click.echo(f"No host runs the hub now; {what} when one does.", err=True)
