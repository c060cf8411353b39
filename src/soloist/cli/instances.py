"""``soloist instances``: the verbs of the hub, straight on its store, also while a host runs."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import TypedDict, Unpack

import click
import msgspec

from soloist.cli.hub import hub_options, opened_client, reports_errors
from soloist.client import Client
from soloist.core.events import HistoryEvent
from soloist.core.instances import MAX_PAGE_SIZE, InstancePage, InstanceQuery, InstanceRecord
from soloist.core.policy import StartDecision, StartPolicy
from soloist.core.status import RuntimeStatus

_COLUMNS = "{:<36}  {:<24}  {:<10}  {:<20}  {:<20}"


class Hub(TypedDict):
    """The options that name a task hub."""

    app_dir: Path
    store_url: str | None
    task_hub: str | None


@click.group()
def instances() -> None:
    """List, show, start, terminate, signal and purge instances."""


@instances.command("list")
@click.option("--status", "statuses", multiple=True, help="Only of this status; may be repeated.")
@click.option("--name", "names", multiple=True, help="Only of this function; may be repeated.")
@click.option("--prefix", default="", help="Only ids that begin so.")
@click.option("--limit", type=click.IntRange(1, MAX_PAGE_SIZE), default=100, show_default=True)
@click.option("--after", "token", help="Go on from the mark that an earlier page ended with.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@hub_options
@reports_errors
def list_instances(
    statuses: tuple[str, ...],
    names: tuple[str, ...],
    prefix: str,
    limit: int,
    token: str | None,
    as_json: bool,
    **hub: Unpack[Hub],
) -> None:
    """List instances in the order of their starts."""
    query = InstanceQuery(
        instance_id_prefix=prefix,
        names=names,
        statuses=frozenset(_status(text) for text in statuses),
        page_size=limit,
        token=token,
    )

    async def fetch() -> InstancePage:
        async with opened_client(**hub) as client:
            return await client.list(query)

    page = asyncio.run(fetch())
    if not as_json:
        click.echo(_COLUMNS.format("INSTANCE ID", "FUNCTION", "STATUS", "CREATED", "UPDATED"))
    for record in page.records:
        click.echo(_as_json(record) if as_json else _row(record))
    if page.token is not None:
        click.echo(f"There are more: --after {page.token}", err=True)


@instances.command("show")
@click.argument("instance_id")
@click.option("--history", "with_history", is_flag=True, help="Also every history event.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; history events one a line.")
@hub_options
@reports_errors
def show_instance(instance_id: str, with_history: bool, as_json: bool, **hub: Unpack[Hub]) -> None:
    """Show one instance."""

    async def fetch() -> tuple[InstanceRecord, tuple[HistoryEvent, ...]]:
        async with opened_client(**hub) as client:
            record = await client.status(instance_id)
            return record, await client.history(record) if with_history else ()

    record, history = asyncio.run(fetch())
    click.echo(_as_json(record) if as_json else _details(record))
    for event in history:
        click.echo(msgspec.json.encode(event).decode() if as_json else _event_line(event))


@instances.command("start")
@click.argument("function_name")
@click.option("--id", "instance_id", help="The instance's id. [default: a new one]")
@click.option("--input", "payload", help="The input, as JSON.")
@click.option(
    "--if-exists",
    "policy",
    type=click.Choice([policy.value for policy in StartPolicy]),
    default=StartPolicy.FAIL.value,
    show_default=True,
    help="What to do when the id is taken.",
)
@hub_options
@reports_errors
def start_instance(
    function_name: str,
    instance_id: str | None,
    payload: str | None,
    policy: str,
    **hub: Unpack[Hub],
) -> None:
    """Start an orchestrator; a host that runs the app will take it up."""

    async def begin(client: Client) -> str:
        receipt = await client.start(
            function_name, instance_id, input=_checked_json(payload), policy=StartPolicy(policy)
        )
        verb = "exists already" if receipt.decision is StartDecision.RETURN else "started"
        return f"Instance '{receipt.record.instance_id}' {verb}."

    async def work() -> str:
        async with opened_client(**hub) as client:
            return await begin(client)

    click.echo(asyncio.run(work()))


@instances.command("terminate")
@click.argument("instance_id")
@click.option("--reason", help="Becomes the instance's output.")
@hub_options
@reports_errors
def terminate_instance(instance_id: str, reason: str | None, **hub: Unpack[Hub]) -> None:
    """End an instance from outside."""

    async def work() -> None:
        async with opened_client(**hub) as client:
            await client.terminate(instance_id, reason)

    asyncio.run(work())
    click.echo(f"Termination of '{instance_id}' is recorded; the host carries it out.")


@instances.command("raise-event")
@click.argument("instance_id")
@click.argument("event_name")
@click.option("--data", "payload", help="The event's data, as JSON.")
@hub_options
@reports_errors
def raise_event(instance_id: str, event_name: str, payload: str | None, **hub: Unpack[Hub]) -> None:
    """Raise an external event for an instance."""

    async def work() -> None:
        async with opened_client(**hub) as client:
            await client.raise_event(instance_id, event_name, _checked_json(payload))

    asyncio.run(work())
    click.echo(f"Event '{event_name}' is recorded for '{instance_id}'.")


@instances.command("purge")
@click.argument("instance_id")
@hub_options
@reports_errors
def purge_instance(instance_id: str, **hub: Unpack[Hub]) -> None:
    """Remove a finished instance with its history."""

    async def work() -> None:
        async with opened_client(**hub) as client:
            await client.purge(instance_id)

    asyncio.run(work())
    click.echo(f"Instance '{instance_id}' is purged.")


def _status(text: str) -> RuntimeStatus:
    for status in RuntimeStatus:
        if status.value.lower() == text.lower():
            return status
    names = ", ".join(RuntimeStatus)
    raise click.BadParameter(f"'{text}' is no runtime status; there are {names}.")


def _checked_json(payload: str | None) -> str | None:
    if payload is None:
        return None
    try:
        json.loads(payload, parse_constant=_refuse_constant)
    except ValueError as error:
        raise click.BadParameter(
            f"{payload[:80]!r} is not JSON ({error}). A text needs quotes of its own: '\"text\"'."
        ) from error
    return payload


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not in the JSON standard")


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _row(record: InstanceRecord) -> str:
    return _COLUMNS.format(
        record.instance_id,
        record.name,
        record.status,
        _moment(record.created_at),
        _moment(record.updated_at),
    )


def _details(record: InstanceRecord) -> str:
    facts = {
        "instance id": record.instance_id,
        "function": record.name,
        "status": record.status.value,
        "created": _moment(record.created_at),
        "updated": _moment(record.updated_at),
        "generation": record.generation,
        "execution id": record.execution_id,
        "history events": record.history_length,
        "input": record.input,
        "custom status": record.custom_status,
        "output": record.output,
        "failure": record.failure.message if record.failure else None,
    }
    return "\n".join(f"{fact:<15} {value}" for fact, value in facts.items() if value is not None)


def _event_line(event: HistoryEvent) -> str:
    fields = msgspec.to_builtins(event)
    at, kind = fields.pop("at"), fields.pop("type")
    rest = " ".join(f"{name}={json.dumps(value)}" for name, value in fields.items())
    return f"{at}  {kind:<20} {rest}".rstrip()


def _as_json(record: InstanceRecord) -> str:
    return msgspec.json.encode(record).decode()
