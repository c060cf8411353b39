"""Instances that wait, half for a timer and half for an event: rows and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from soloist.core.events import ExecutionStarted, OrchestratorStarted, encode_events
from soloist.stores.times import to_micros

_FAR = to_micros(datetime(2100, 1, 1, tzinfo=UTC))
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_EVENTS = encode_events((OrchestratorStarted(_NOW), ExecutionStarted(_NOW, "Wait", "e", '"input"')))
_INSTANCES = (
    "INSERT INTO {schema}instances ({key}hub_id, instance_id, name, created_at, input)"
    " SELECT {value}1, 'waiting-' || n, 'Wait', 0, '\"input\"' FROM {numbers}"
)
_EXECUTIONS = (
    "INSERT INTO {schema}executions (generation, hub_id, execution_id, status, epoch, due_at,"
    " updated_at, history_length) SELECT generation, 1, 'e', 'Running', 1,"
    f" CASE WHEN generation % 2 = 0 THEN {_FAR} END, 0, 2 FROM {{schema}}instances"
)
_HISTORY = (
    "INSERT INTO {schema}history (generation, sequence, codec, events)"
    " SELECT generation, 0, 1, '{events}' FROM {schema}instances"
)


def fill(url: str, instances: int) -> None:
    """Write the rows that so many waiting instances leave, into an empty hub."""
    if url.startswith("postgresql"):
        _fill_postgres(url, instances)
    else:
        _fill_sqlite(url, instances)


def _fill_postgres(url: str, instances: int) -> None:
    parts = {
        "events": _EVENTS,
        "schema": "soloist.",
        "key": "generation, ",
        "value": "nextval('soloist.generations'), ",
        "numbers": f"generate_series(1, {instances}) AS n",
    }
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (_INSTANCES, _EXECUTIONS, _HISTORY):
            connection.execute(statement.format(**parts).encode())
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _fill_sqlite(path: str, instances: int) -> None:
    numbers = (
        f"(WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {instances})"
        f" SELECT n FROM c WHERE {instances} > 0)"
    )
    with closing(sqlite3.connect(path)) as file:
        for statement in (_INSTANCES, _EXECUTIONS, _HISTORY):
            file.execute(
                statement.format(events=_EVENTS, schema="", key="", value="", numbers=numbers)
            )
        file.commit()
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def resident_mib(pid: int | str = "self") -> float:
    """Return how much memory a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(each for each in status.splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
