"""``soloist hosts``: who runs a hub."""

from __future__ import annotations

import asyncio
from typing import Unpack

import click
import msgspec

from soloist.cli.hub import hub_options, opened_client, reports_errors
from soloist.cli.instances import Hub
from soloist.cli.waits import lacks_lines
from soloist.core.instances import HostRecord

_COLUMNS = "{:>4}  {:<32}  {:<28}  {:<10}  {:<10}  {:<20}  {:<5}  {:>6}  {:>7}"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@hub_options
@reports_errors
def hosts(as_json: bool, **hub: Unpack[Hub]) -> None:
    """List the hosts that run the hub, with the instances that each holds.

    Of a host with a gRPC door it also says how many workers are connected, and for which functions
    work waits that none of them knows, as of when it was last seen.

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
            _COLUMNS.format(
                "ID", "HOST", "ADDRESS", "VERSION", "APP", "LAST SEEN", "STATE", "HELD", "WORKERS"
            )
        )
    for host in found:
        click.echo(msgspec.json.encode(host) if as_json else _row(host))
        if not as_json and host.is_live and host.lacks is not None:
            for line in lacks_lines(host.lacks):
                click.echo(f"      {line}")


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
        host.lacks.workers if host.is_live and host.lacks is not None else "-",
    )
