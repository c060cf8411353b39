"""``soloist instances show`` and ``soloist hosts``: what is waited for, and who holds it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from soloist.cli.waits import standing_facts
from soloist.client import Client, Standing
from soloist.core.events import (
    EntityLockRequested,
    EntityOperationCalled,
    ExecutionSuspended,
    HistoryEvent,
    OrchestratorStarted,
    SubOrchestrationInstanceCreated,
    TaskScheduled,
    TimerCreated,
)
from soloist.core.extras import Extras
from soloist.core.outcomes import Outcome
from soloist.core.status import RuntimeStatus
from soloist.core.waits import OperationWait, SectionWait, Waits
from soloist.core.work import LackedFunction, Lacks, WorkKind
from soloist.stores import MemoryStore
from tests.cli.conftest import Terminal

AT = datetime(2026, 1, 1, 10, 0, 3, tzinfo=UTC)
FAR = datetime(2999, 1, 1, tzinfo=UTC)
CHARGE = LackedFunction(WorkKind.ACTIVITY, "charge")


def held(terminal: Terminal, *events: HistoryEvent, lacks: Lacks | None = None) -> None:
    """Start ``x`` and let a host hold it with a history of these events."""

    async def work(store: MemoryStore, client: Client) -> None:
        host_id = await store.join("box pid 7", address="grpc://box:4001")
        await client.start("Job", "x")
        (lease,) = (await store.lease(host_id, 10)).leases
        outcome = Outcome(
            generation=lease.record.generation,
            execution_id=lease.record.execution_id,
            epoch=lease.epoch,
            history_length=0,
            at=AT,
            events=events,
            consumed=(),
            status=RuntimeStatus.RUNNING,
            custom_status=None,
            output=None,
            failure=None,
            due_at=None,
        )
        assert await store.commit(outcome) is not None
        await store.renew(host_id, lacks)

    terminal.on_store(work)


def told(terminal: Terminal, instance_id: str = "x") -> list[str]:
    """Return the lines that say what is waited for, and who holds it."""
    result = terminal.type("instances", "show", instance_id)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    return [line for line in lines if line.startswith(("waits for", "held by"))]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (TaskScheduled(AT, 3, "charge"), "activity 'charge' (task 3), since 2026-01-01T10:00:03Z"),
        (
            TaskScheduled(AT, 3, "BuiltIn::HttpActivity"),
            "a durable HTTP call (task 3), since 2026-01-01T10:00:03Z",
        ),
        (
            TimerCreated(AT, 3, FAR),
            "a timer that fires at 2999-01-01T00:00:00Z (task 3), since 2026-01-01T10:00:03Z",
        ),
        (
            SubOrchestrationInstanceCreated(AT, 3, "c", "Child"),
            "sub-orchestration 'Child', instance 'c' (task 3), since 2026-01-01T10:00:03Z",
        ),
        (
            EntityOperationCalled(AT, 3, "@e@k", "add"),
            "entity '@e@k' to answer 'add' (task 3), since 2026-01-01T10:00:03Z",
        ),
        (
            EntityLockRequested(AT, 3, "s", ("@e@k", "@e@l")),
            "a critical section of entities '@e@k', '@e@l' (task 3), since 2026-01-01T10:00:03Z",
        ),
        (
            ExecutionSuspended(AT, "lunch"),
            "its resumption: it is suspended (lunch), since 2026-01-01T10:00:03Z",
        ),
    ],
)
def test_each_thing_that_is_waited_for_has_its_line(
    terminal: Terminal, event: HistoryEvent, expected: str
) -> None:
    held(terminal, event)
    assert told(terminal) == [
        f"waits for       {expected}",
        "held by         host 1 (grpc://box:4001)",
    ]


def test_where_nothing_is_known_that_is_said(terminal: Terminal) -> None:
    held(terminal, OrchestratorStarted(AT))
    line = told(terminal)[0]
    assert "an external event, or its own code (a history does not say which)" in line


def test_a_worker_that_the_holder_lacks_is_named(terminal: Terminal) -> None:
    held(terminal, TaskScheduled(AT, 3, "charge"), lacks=Lacks(workers=2, functions=(CHARGE,)))
    assert told(terminal)[0] == (
        "waits for       a worker: no worker of host 1 knows activity 'charge'"
    )


def test_of_very_many_the_first_are_shown_and_the_rest_counted(terminal: Terminal) -> None:
    held(terminal, *(TaskScheduled(AT, number, "charge") for number in range(1_000)))
    lines = told(terminal)
    assert len(lines) == 22
    assert lines[20] == "waits for       and 980 more"
    shown = json.loads(terminal.type("instances", "show", "x", "--json").output)
    assert (len(shown["waitsFor"]), shown["waitsForMore"], shown["heldBy"]) == (20, 980, 1)
    assert shown["waitsFor"][0] == {
        "type": "activity",
        "task_id": 0,
        "name": "charge",
        "version": None,
        "since": "2026-01-01T10:00:03Z",
    }


def test_one_that_nobody_holds_waits_for_its_turn(terminal: Terminal) -> None:
    terminal.type("instances", "start", "Job", "--id", "x")
    terminal.type("instances", "raise-event", "x", "E")
    turn, holder = told(terminal)
    assert turn.startswith("waits for       its turn (it has not begun, 1 unread message), since 2")
    assert holder == "held by         nobody"


def test_one_that_begins_later_says_when(terminal: Terminal) -> None:
    async def start(_store: MemoryStore, client: Client) -> None:
        await client.start("Job", "x", extras=Extras(start_at=FAR))

    terminal.on_store(start)
    assert told(terminal)[0] == "waits for       its start at 2999-01-01T00:00:00Z"


def test_one_that_has_ended_waits_for_nothing(terminal: Terminal) -> None:
    terminal.type("instances", "start", "Job", "--id", "x")
    terminal.settle("x", RuntimeStatus.COMPLETED)
    assert told(terminal) == []
    shown = json.loads(terminal.type("instances", "show", "x", "--json").output)
    assert (shown["waitsFor"], shown["heldBy"]) == ([], None)


def test_a_holder_that_is_gone_is_called_so(terminal: Terminal) -> None:
    held(terminal, TaskScheduled(AT, 3, "charge"))

    async def look(_store: MemoryStore, client: Client) -> Standing:
        return await client.standing("x")

    standing = terminal.on_store(look)
    gone = msgspec.structs.replace(standing.holder, is_live=False)
    facts = dict(standing_facts(msgspec.structs.replace(standing, holder=gone)))
    assert facts["held by"].endswith(
        "(grpc://box:4001), which is gone; another host will take over"
    )
    facts = dict(standing_facts(msgspec.structs.replace(standing, holder=None)))
    assert facts["held by"] == "host 1, which is forgotten"


def test_an_entity_says_what_it_waits_for(terminal: Terminal) -> None:
    at = datetime.now(UTC) + timedelta(days=1)
    terminal.type("entities", "signal", "counter", "a", "add", "--at", at.isoformat())
    assert told(terminal, "@counter@a") == [
        f"waits for       an operation; one is due at {at:%Y-%m-%dT%H:%M:%SZ}",
        "held by         nobody",
    ]

    async def look(_store: MemoryStore, client: Client) -> Standing:
        return await client.standing("@counter@a")

    waits = Waits((SectionWait(instance_id="x"), OperationWait(due_at=None)))
    standing = msgspec.structs.replace(terminal.on_store(look), waits=waits)
    assert [value for _, value in standing_facts(standing)][:2] == [
        "the end of the critical section of instance 'x'",
        "an operation",
    ]


def test_a_host_is_listed_with_its_workers_and_what_none_of_them_knows(terminal: Terminal) -> None:
    late = LackedFunction(WorkKind.ORCHESTRATION, "late", "2.0")
    held(terminal, lacks=Lacks(workers=2, functions=(CHARGE, late), more=3))
    heading, row, *lines = terminal.type("hosts").output.splitlines()
    assert (heading.split()[-1], row.split()[-1]) == ("WORKERS", "2")
    assert [line.strip() for line in lines] == [
        "no worker knows activity 'charge'",
        "no worker knows orchestrator 'late' of version '2.0'",
        "and 3 more",
    ]
    host = json.loads(terminal.type("hosts", "--json").output)
    assert host["lacks"] == {
        "workers": 2,
        "functions": [
            {"kind": "activity", "name": "charge"},
            {"kind": "orchestration", "name": "late", "version": "2.0"},
        ],
        "more": 3,
    }


def test_a_host_without_a_door_has_no_workers_to_tell_of(terminal: Terminal) -> None:
    held(terminal)
    (_, row) = terminal.type("hosts").output.splitlines()
    assert row.split()[-1] == "-"
