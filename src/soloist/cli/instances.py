"""``soloist instances``: the verbs of the hub, straight on its store, also while a host runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import indent
from typing import TypedDict, Unpack

import click
import msgspec

from soloist.cli.hub import hub_options, opened_client, reports_errors, tell_idle
from soloist.cli.values import checked_json, given_id, moment_or_age, shown, status
from soloist.cli.waits import standing_facts
from soloist.client import Client, Standing
from soloist.core.events import HistoryEvent
from soloist.core.failures import FailureDetails
from soloist.core.instances import (
    MAX_PAGE_SIZE,
    InstancePage,
    InstanceQuery,
    InstanceRecord,
    StartReceipt,
)
from soloist.core.policy import StartDecision, StartPolicy

_INSTANT = timedelta(microseconds=1)  # both ends of a query's span of time belong to it
_COLUMNS = "{:<36}  {:<24}  {:<10}  {:<20}  {:<20}"


class Hub(TypedDict):
    """The options that name a task hub."""

    app_dir: Path
    store_url: str | None
    task_hub: str | None


@click.group()
def instances() -> None:
    """Start, steer, show and purge instances."""


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
        statuses=frozenset(status(text) for text in statuses),
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
    """Show one instance, with what it waits for and who holds it."""

    async def fetch() -> tuple[Standing, tuple[HistoryEvent, ...]]:
        async with opened_client(**hub) as client:
            standing = await client.standing(instance_id)
            return standing, await client.history(standing.record) if with_history else ()

    standing, history = asyncio.run(fetch())
    click.echo(_standing_as_json(standing) if as_json else _details(standing))
    for event in history:
        click.echo(msgspec.json.encode(event).decode() if as_json else _event_line(event))


@instances.command("start")
@click.argument("function_name")
@click.option(
    "--id", "instance_id", callback=given_id, help="The instance's id. [default: a new one]"
)
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

    async def work() -> None:
        async with opened_client(**hub) as client:
            receipt = await client.start(
                function_name, instance_id, input=checked_json(payload), policy=StartPolicy(policy)
            )
            click.echo(_outcome(receipt))
            await tell_idle(client, "the instance begins")

    asyncio.run(work())


@instances.command("terminate")
@click.argument("instance_id")
@click.option("--reason", help="Becomes the instance's output.")
@click.option(
    "--recursive/--no-recursive",
    "is_recursive",
    default=True,
    show_default=True,
    help="Also end the sub-orchestrations that it waits for.",
)
@hub_options
@reports_errors
def terminate_instance(
    instance_id: str, reason: str | None, is_recursive: bool, **hub: Unpack[Hub]
) -> None:
    """End an instance from outside."""
    _steer(
        lambda client: client.terminate(instance_id, reason, is_recursive=is_recursive),
        f"Termination of '{instance_id}' is recorded; the host carries it out.",
        hub,
    )


@instances.command("suspend")
@click.argument("instance_id")
@click.option("--reason", help="For whoever reads the history.")
@hub_options
@reports_errors
def suspend_instance(instance_id: str, reason: str | None, **hub: Unpack[Hub]) -> None:
    """Pause an instance; what arrives meanwhile is kept."""
    _steer(
        lambda client: client.suspend(instance_id, reason),
        f"Suspension of '{instance_id}' is recorded; the host carries it out.",
        hub,
    )


@instances.command("resume")
@click.argument("instance_id")
@click.option("--reason", help="For whoever reads the history.")
@hub_options
@reports_errors
def resume_instance(instance_id: str, reason: str | None, **hub: Unpack[Hub]) -> None:
    """Let a suspended instance go on."""
    _steer(
        lambda client: client.resume(instance_id, reason),
        f"Resumption of '{instance_id}' is recorded; the host carries it out.",
        hub,
    )


@instances.command("rewind")
@click.argument("instance_id")
@click.option("--reason", help="For whoever reads the history.")
@hub_options
@reports_errors
def rewind_instance(instance_id: str, reason: str | None, **hub: Unpack[Hub]) -> None:
    """Take back the failure of an instance: what failed is tried again, the rest stays done."""
    _steer(
        lambda client: client.rewind(instance_id, reason),
        f"Instance '{instance_id}' is rewound; it runs again.",
        hub,
    )


@instances.command("restart")
@click.argument("instance_id")
@click.option("--same-id", is_flag=True, help="Under the same id, in its place. [default: new id]")
@hub_options
@reports_errors
def restart_instance(instance_id: str, same_id: bool, **hub: Unpack[Hub]) -> None:
    """Start an instance's function again with the same input."""

    async def work() -> None:
        async with opened_client(**hub) as client:
            click.echo(_outcome(await client.restart(instance_id, with_new_id=not same_id)))
            await tell_idle(client, "the instance begins")

    asyncio.run(work())


@instances.command("raise-event")
@click.argument("instance_id")
@click.argument("event_name")
@click.option("--data", "payload", help="The event's data, as JSON.")
@hub_options
@reports_errors
def raise_event(instance_id: str, event_name: str, payload: str | None, **hub: Unpack[Hub]) -> None:
    """Raise an external event for an instance."""

    data = checked_json(payload)
    _steer(
        lambda client: client.raise_event(instance_id, event_name, data),
        f"Event '{event_name}' is recorded for '{instance_id}'.",
        hub,
    )


@instances.command("purge")
@click.argument("instance_id", required=False)
@click.option(
    "--created-before",
    callback=moment_or_age,
    help="All that were started before a time (UTC, unless it has an offset), or longer ago than"
    " 30d, 12h, 5m or 90s.",
)
@click.option("--status", "statuses", multiple=True, help="All of this status; may be repeated.")
@click.option("--name", "names", multiple=True, help="All of this function; may be repeated.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask before many are removed.")
@hub_options
@reports_errors
def purge_instances(
    instance_id: str | None,
    created_before: datetime | None,
    statuses: tuple[str, ...],
    names: tuple[str, ...],
    is_sure: bool,
    **hub: Unpack[Hub],
) -> None:
    """Remove a finished instance with its history, or all that the options choose.

    Instances that have not ended stay, and so do entities.
    """
    is_many = bool(created_before or statuses or names)
    if (instance_id is None) != is_many:
        raise click.UsageError(
            "Say which instance by its id, or which ones by --created-before, --status or --name."
        )
    if instance_id is not None:
        asyncio.run(_purge(instance_id, hub))
        click.echo(f"Instance '{instance_id}' is purged.")
        return
    chosen = frozenset(status(text) for text in statuses)
    if chosen and not any(each.is_terminal for each in chosen):
        raise click.BadParameter("Only instances that have ended are purged; terminate them first.")
    query = InstanceQuery(
        names=names,
        statuses=chosen,
        created_to=None if created_before is None else created_before - _INSTANT,
    )
    if not is_sure:
        click.confirm(_question(query, created_before), abort=True, err=True)

    async def work() -> int:
        async with opened_client(**hub) as client:
            return await client.purge_many(query)

    count = asyncio.run(work())
    click.echo(f"{count} instance{'' if count == 1 else 's'} purged.")


def _steer(verb: Callable[[Client], Awaitable[None]], told: str, hub: Hub) -> None:
    """Have something recorded that a host carries out."""

    async def work() -> None:
        async with opened_client(**hub) as client:
            await verb(client)
            click.echo(told)
            await tell_idle(client, "that is done")

    asyncio.run(work())


async def _purge(instance_id: str, hub: Hub) -> None:
    async with opened_client(**hub) as client:
        await client.purge(instance_id)


def _outcome(receipt: StartReceipt) -> str:
    verb = "exists already" if receipt.decision is StartDecision.RETURN else "started"
    return f"Instance '{receipt.record.instance_id}' {verb}."


def _question(query: InstanceQuery, created_before: datetime | None) -> str:
    which = [
        f"of function {' or '.join(query.names)}" if query.names else "",
        f"with status {' or '.join(sorted(query.statuses))}" if query.statuses else "",
        f"created before {shown(created_before)}" if created_before is not None else "",
    ]
    return " ".join(["Remove every finished instance", *filter(None, which), "with its history?"])


def _row(record: InstanceRecord) -> str:
    return _COLUMNS.format(
        record.instance_id,
        record.name,
        record.status,
        shown(record.created_at),
        shown(record.updated_at),
    )


def _details(standing: Standing) -> str:
    record = standing.record
    facts = {
        "instance id": record.instance_id,
        "function": record.name,
        "status": record.status.value,
        "created": shown(record.created_at),
        "updated": shown(record.updated_at),
        "generation": record.generation,
        "execution id": record.execution_id,
        "history events": record.history_length,
        "input": record.input,
        "custom status": record.custom_status,
        "output": record.output,
        "failure": None if record.failure is None else _failure(record.failure),
    }
    told = [(fact, value) for fact, value in facts.items() if value is not None]
    lines = [f"{fact:<15} {value}" for fact, value in [*told, *standing_facts(standing)]]
    if record.failure is not None and record.failure.stack_trace:
        lines += ["traceback", indent(record.failure.stack_trace.rstrip(), "  ")]
    return "\n".join(lines)


def _failure(failure: FailureDetails) -> str:
    kind = failure.error_type
    return f"{kind}: {failure.message}" if kind else failure.message


def _event_line(event: HistoryEvent) -> str:
    fields = msgspec.to_builtins(event)
    at, kind = fields.pop("at"), fields.pop("type")
    rest = " ".join(f"{name}={json.dumps(value)}" for name, value in fields.items())
    return f"{at}  {kind:<20} {rest}".rstrip()


def _standing_as_json(standing: Standing) -> str:
    facts = {
        **msgspec.to_builtins(standing.record),
        "heldBy": standing.held_by,
        "waitsFor": standing.waits.named,
        "waitsForMore": standing.waits.more,
    }
    return msgspec.json.encode(facts).decode()


def _as_json(record: InstanceRecord) -> str:
    return msgspec.json.encode(record).decode()
