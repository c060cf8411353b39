"""Which task hub a command speaks of, and how its errors reach the person who typed it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from soloist.app import hub_of, is_there, store_path
from soloist.client import Client
from soloist.contracts.clock import SystemClock
from soloist.contracts.store import Store
from soloist.errors import HubError, SoloistError
from soloist.stores import store_at

P = ParamSpec("P")
R = TypeVar("R")


def hub_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add the options that name a task hub."""
    options = (
        click.option(
            "--app",
            "app_dir",
            type=click.Path(file_okay=False, path_type=Path),
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
            envvar="SOLOIST_TASK_HUB",
            help="The hub's name. [default: hubName of the app's host.json]",
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
            raise click.ClickException(str(error)) from error

    return wrapper


@asynccontextmanager
async def opened_store(
    app_dir: Path, store_url: str | None, task_hub: str | None
) -> AsyncIterator[Store]:
    """Open the hub's store beside a host that may be running.

    Raises:
        HubError: there is no hub there yet; reading must not make one.
    """
    url, name = hub_of(app_dir, store_url, task_hub)
    path = store_path(url)
    if path is not None and not is_there(path):
        raise HubError(
            f"There is no task hub at {path}. Start the app first, or name the hub's place with"
            " --app or --store."
        )
    store = store_at(url, task_hub=name, clock=SystemClock())
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def opened_client(
    app_dir: Path, store_url: str | None, task_hub: str | None
) -> AsyncIterator[Client]:
    """Open a client of the hub."""
    async with opened_store(app_dir, store_url, task_hub) as store:
        yield Client(store, store.clock)
