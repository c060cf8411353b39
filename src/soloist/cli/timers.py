"""``soloist timers``: when the app's timer triggers fired, and when they fire next."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Unpack

import click
import msgspec

from soloist.cli.hub import hub_options, opened_client, reports_errors
from soloist.cli.instances import Hub
from soloist.cli.values import shown
from soloist.client import Timer

_COLUMNS = "{:<32}  {:<24}  {:<20}  {:<20}  {:<20}"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@hub_options
@reports_errors
def timers(as_json: bool, **hub: Unpack[Hub]) -> None:
    """List the timer triggers with their last firing and their next.

    A schedule is read in its zone; the times are in UTC. One that the app has no more is listed
    too: its next firing passes with nobody to do it.
    """

    async def fetch() -> tuple[Timer, ...]:
        async with opened_client(**hub) as client:
            return await client.timers()

    found = asyncio.run(fetch())
    if not found:
        click.echo("No host of the hub has had timer triggers.", err=as_json)
        return
    if not as_json:
        click.echo(_COLUMNS.format("FUNCTION", "SCHEDULE", "ZONE", "LAST", "NEXT"))
    for timer in found:
        click.echo(msgspec.json.encode(timer).decode() if as_json else _row(timer))


def _row(timer: Timer) -> str:
    state = timer.state
    next_text = "now" if state.firing_at is not None else _time(state.next_at)
    return _COLUMNS.format(
        timer.function, state.schedule, state.zone, _time(state.last_at), next_text
    ).rstrip()


def _time(at: datetime | None) -> str:
    return "-" if at is None else shown(at)
