"""Reports: an instance as the Durable Functions HTTP API reference shows it."""

from __future__ import annotations

from datetime import UTC, datetime

from soloist.core.failures import FailureDetails
from soloist.core.ids import ENTITY_MARK, is_entity_id
from soloist.core.instances import InstanceRecord
from soloist.core.status import RuntimeStatus
from soloist.webapi.json_text import stored_json

Entry = dict[str, object]


def whole_seconds(instant: datetime) -> str:
    """Return an instant as ``YYYY-MM-DDTHH:MM:SSZ``."""
    return f"{instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def exact(instant: datetime) -> str:
    """Return an instant with as many digits of a second as it has."""
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat()
    return f"{text.rstrip('0') if '.' in text else text}Z"


def status_report(
    record: InstanceRecord, *, show_input: bool, history: list[Entry] | None = None
) -> Entry:
    """Return the status of an instance, its keys in the order of the original."""
    if is_entity_id(record.instance_id):
        return _entity_report(record, show_input=show_input, history=history)
    report: Entry = {
        "name": record.name,
        "instanceId": record.instance_id,
        "runtimeStatus": record.status.value,
        "input": stored_json(record.input) if show_input else None,
        "customStatus": stored_json(record.custom_status),
        "output": output_of(record),
        "createdTime": whole_seconds(record.created_at),
        "lastUpdatedTime": whole_seconds(record.updated_at),
    }
    return report if history is None else {**report, "historyEvents": history}


def _entity_report(
    record: InstanceRecord, *, show_input: bool, history: list[Entry] | None
) -> Entry:
    """Return an entity as the orchestration which it is on Azure: the state is in its input."""
    exists = record.output is not None
    report: Entry = {
        "name": f"{ENTITY_MARK}{record.name}",
        "instanceId": record.instance_id,
        "runtimeStatus": record.status.value,
        "input": {"exists": exists, "state": record.output} if show_input else None,
        "customStatus": {"entityExists": exists},
        "output": None,
        "createdTime": whole_seconds(record.created_at),
        "lastUpdatedTime": whole_seconds(record.updated_at),
    }
    return report if history is None else {**report, "historyEvents": history}


def output_of(record: InstanceRecord) -> object:
    """Return what an instance came to: its value, how it failed, or why it was terminated."""
    if not record.status.is_terminal:
        return None
    if record.status is RuntimeStatus.COMPLETED:
        return stored_json(record.output)
    if record.failure is not None:
        return orchestrator_failure(record.name, record.failure)
    return record.output  # a termination's reason is plain text, even when it looks like JSON


def orchestrator_failure(name: str, failure: FailureDetails) -> str:
    """Return the sentence that Durable Functions gives for a failed orchestrator."""
    return f"Orchestrator function '{name}' failed: {failure.message}"
