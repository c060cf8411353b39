"""``soloist hosts``: who runs a hub."""

from __future__ import annotations

import asyncio
from typing import Unpack

import click
import msgspec

from soloist.cli.hub import hub_options, opened_client, reports_errors
from soloist.cli.instances import Hub
from soloist.core.instances import HostRecord

_COLUMNS = "{:>4}  {:<32}  {:<28}  {:<10}  {:<10}  {:<20}  {:<5}  {:>6}"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@hub_options
@reports_errors
def hosts(as_json: bool, **hub: Unpack[Hub]) -> None:
    """List the hosts that run the hub, with the instances that each holds.

    One that is gone is listed until another host has taken over all that it held.
    """

    async def fetch() -> tuple[HostRecord, ...]:
        async with opened_client(**hub) as client:
            return await client.hosts()

    found = asyncio.run(fetch())
    if not found:
        click.echo("No host runs the hub.", err=as_json)
        return
    if not as_json:
        click.echo(
            _COLUMNS.format("ID", "HOST", "ADDRESS", "VERSION", "APP", "LAST SEEN", "STATE", "HELD")
        )
    for host in found:
        click.echo(msgspec.json.encode(host) if as_json else _row(host))


def _row(host: HostRecord) -> str:
    return _COLUMNS.format(
        host.host_id,
        host.name,
        host.address or "-",
        host.version or "-",
        host.app_version or "-",
        host.renewed_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "live" if host.is_live else "gone",
        host.held,
    )
