"""``soloist entities``: the verbs for entities, straight on the hub, also while a host runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import ParamSpec, TypeVar, Unpack

import click
import msgspec

from soloist.cli.hub import hub_options, opened_client, reports_errors, tell_idle
from soloist.cli.instances import Hub
from soloist.cli.values import checked_json, moment, moment_or_age, shown
from soloist.client import Entity, EntityPage, EntityQuery
from soloist.client.checks import checked_name
from soloist.core.ids import EntityId
from soloist.core.instances import MAX_PAGE_SIZE
from soloist.errors import HubError, InstanceNotFound

P = ParamSpec("P")
R = TypeVar("R")

_COLUMNS = "{:<24}  {:<36}  {:<20}  {:<20}"


def _named_entity(command: Callable[P, R]) -> Callable[P, R]:
    return click.argument("name")(click.argument("key")(command))


@click.group()
def entities() -> None:
    """List, show, signal and delete entities. NAME is the function's, KEY says which of them."""


@entities.command("list")
@click.option("--name", default="", help="Only of this function.")
@click.option(
    "--since",
    callback=moment_or_age,
    help="Only those last operated on since a time (UTC, unless it has an offset), or within 30d,"
    " 12h, 5m or 90s.",
)
@click.option("--limit", type=click.IntRange(1, MAX_PAGE_SIZE), default=100, show_default=True)
@click.option("--after", "token", help="Go on from the mark that an earlier page ended with.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@hub_options
@reports_errors
def list_entities(
    name: str,
    since: datetime | None,
    limit: int,
    token: str | None,
    as_json: bool,
    **hub: Unpack[Hub],
) -> None:
    """List entities in the order in which they came into being."""
    query = EntityQuery(name=name, operated_from=since, page_size=limit, token=token)

    async def fetch() -> EntityPage:
        async with opened_client(**hub) as client:
            return await client.list_entities(query)

    page = asyncio.run(fetch())
    if not as_json:
        click.echo(_COLUMNS.format("ENTITY", "KEY", "CREATED", "LAST OPERATION"))
    for entity in page.entities:
        click.echo(_as_json(entity) if as_json else _row(entity))
    if page.token is not None:
        click.echo(f"There are more: --after {page.token}", err=True)


@entities.command("show")
@_named_entity
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@hub_options
@reports_errors
def show_entity(name: str, key: str, as_json: bool, **hub: Unpack[Hub]) -> None:
    """Show one entity and its state."""

    async def fetch() -> Entity:
        async with opened_client(**hub) as client:
            try:
                return await client.read_entity(name, key)
            except InstanceNotFound as error:
                await client.status(error.instance_id)  # there is no such row either, or:
                raise HubError(
                    f"Entity '{error.instance_id}' has no state yet; operations wait for it:"
                    f" soloist instances show '{error.instance_id}'"
                ) from error

    entity = asyncio.run(fetch())
    click.echo(_as_json(entity) if as_json else _details(entity))


@entities.command("signal")
@_named_entity
@click.argument("operation")
@click.option("--input", "payload", help="The operation's input, as JSON.")
@click.option(
    "--at",
    "due_at",
    callback=moment,
    help="Not before this time (UTC, unless it has an offset). [default: at once]",
)
@hub_options
@reports_errors
def signal_entity(
    name: str,
    key: str,
    operation: str,
    payload: str | None,
    due_at: datetime | None,
    **hub: Unpack[Hub],
) -> None:
    """Have an entity do an operation, without waiting for it; one that is not there comes into
    being."""

    async def work() -> None:
        async with opened_client(**hub) as client:
            await client.signal(
                name,
                key,
                checked_name("An operation's name", operation),
                checked_json(payload),
                due_at,
            )
            entity = EntityId(name.lower(), key)
            click.echo(f"Operation '{operation}' is recorded for entity '{entity}'.")
            await tell_idle(client, "that is done")

    asyncio.run(work())


@entities.command("delete")
@_named_entity
@hub_options
@reports_errors
def delete_entity(name: str, key: str, **hub: Unpack[Hub]) -> None:
    """Remove an entity with its state and with what waits for it."""

    async def work() -> None:
        async with opened_client(**hub) as client:
            await client.purge_entity(name, key)

    asyncio.run(work())
    click.echo(f"Entity '{EntityId(name.lower(), key)}' is deleted.")


def _row(entity: Entity) -> str:
    return _COLUMNS.format(
        entity.id.name, entity.id.key, shown(entity.created_at), shown(entity.last_operation_at)
    )


def _details(entity: Entity) -> str:
    facts = {
        "entity": entity.id.name,
        "key": entity.id.key,
        "created": shown(entity.created_at),
        "last operation": shown(entity.last_operation_at),
        "state": entity.state,
    }
    return "\n".join(f"{fact:<15} {value}" for fact, value in facts.items())


def _as_json(entity: Entity) -> str:
    return msgspec.json.encode(entity).decode()
