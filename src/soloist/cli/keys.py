"""``soloist keys``: the secrets that open the app's functions and the management API."""

from __future__ import annotations

import asyncio
from typing import Unpack

import click

from soloist.cli.hub import hub_options, opened_store, reports_errors
from soloist.cli.instances import Hub
from soloist.core.instances import AccessKey


@click.group()
def keys() -> None:
    """Access keys of the hub."""


@keys.command("list")
@hub_options
@reports_errors
def list_keys(**hub: Unpack[Hub]) -> None:
    """Print every key with its value. They are made at the first start that enforces keys."""

    async def fetch() -> tuple[AccessKey, ...]:
        async with opened_store(**hub) as store:
            return await store.keys()

    found = asyncio.run(fetch())
    if not found:
        click.echo("The hub has no keys yet: no host has enforced them (see 'start --keys').")
    for key in sorted(found, key=lambda key: (key.scope, key.name)):
        click.echo(f"{key.scope:<24} {key.name:<24} {key.value}")
