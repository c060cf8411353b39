"""What an instance waits for, by what is durable of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soloist.core.entity_locks import EntityLock, lock_text
from soloist.core.events import (
    EntityLockRequested,
    EntityOperationCalled,
    EntityOperationCompleted,
    EntityRequested,
    EventRaised,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSuspended,
    ExecutionTerminated,
    HistoryEvent,
    InboxEvent,
    LockReleased,
    LockRequested,
    OrchestratorStarted,
    SubOrchestrationInstanceCompleted,
    SubOrchestrationInstanceCreated,
    TaskAddress,
    TaskCompleted,
    TaskScheduled,
    TimerCreated,
    TimerFired,
)
from soloist.core.extras import Extras
from soloist.core.instances import Hold, HostRecord, InboxMessage, InstanceRecord
from soloist.core.status import RuntimeStatus
from soloist.core.waits import (
    MAX_WAITS,
    ActivityWait,
    CallWait,
    ChildWait,
    EventWait,
    LockWait,
    OperationWait,
    ResumptionWait,
    SectionWait,
    Seen,
    StartWait,
    TimerWait,
    TurnWait,
    Wait,
    WorkerWait,
    waits_of,
)
from soloist.core.work import LackedFunction, Lacks, WorkKind

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HELD, FREE = Hold(1, None), Hold(None, None)
BEGUN: tuple[HistoryEvent, ...] = (OrchestratorStarted(NOW), ExecutionStarted(NOW, "Job", "e1"))
CHARGE = TaskScheduled(NOW, 3, "charge")
CHARGE_WAIT = ActivityWait(task_id=3, name="charge", version=None, since=NOW)
RECORD = InstanceRecord(
    generation=7,
    instance_id="x",
    execution_id="e1",
    name="Job",
    version=None,
    status=RuntimeStatus.RUNNING,
    input=None,
    output=None,
    custom_status=None,
    failure=None,
    created_at=NOW,
    updated_at=NOW,
    history_length=2,
)
OWNER = TaskAddress("locker", 8, "e2", 1)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def host(host_id: int, *functions: LackedFunction, is_live: bool = True) -> HostRecord:
    return HostRecord(
        host_id=host_id,
        name="host",
        address="",
        version="",
        app_version=None,
        process_id=1,
        machine="",
        joined_at=NOW,
        renewed_at=NOW,
        is_live=is_live,
        held=1,
        lacks=Lacks(workers=1, functions=functions),
    )


def seen(
    *history: HistoryEvent,
    inbox: Sequence[InboxEvent] = (),
    hold: Hold = HELD,
    hosts: tuple[HostRecord, ...] = (),
    **changes: Any,
) -> Seen:
    return Seen(
        record=msgspec.structs.replace(RECORD, **changes),
        history=history,
        inbox=tuple(InboxMessage(number, event) for number, event in enumerate(inbox, 1)),
        hold=hold,
        hosts=hosts,
        now=later(10),
    )


def named(*history: HistoryEvent, **changes: Any) -> tuple[Wait, ...]:
    found = waits_of(seen(*history, **changes))
    assert found.more == 0
    return found.named


def test_one_that_has_ended_waits_for_nothing() -> None:
    assert named(*BEGUN, CHARGE, status=RuntimeStatus.TERMINATED) == ()


def test_one_of_which_nothing_is_open_waits_for_an_event_or_for_its_code() -> None:
    assert named(*BEGUN) == (EventWait(since=NOW),)


@pytest.mark.parametrize(
    ("event", "answer", "expected"),
    [
        (CHARGE, TaskCompleted(NOW, 3), CHARGE_WAIT),
        (
            SubOrchestrationInstanceCreated(NOW, 3, "child", "Child"),
            SubOrchestrationInstanceCompleted(NOW, 3),
            ChildWait(task_id=3, name="Child", instance_id="child", since=NOW),
        ),
        (
            EntityOperationCalled(NOW, 3, "@e@k", "add"),
            EntityOperationCompleted(NOW, 3),
            CallWait(task_id=3, entity_id="@e@k", operation="add", since=NOW),
        ),
        (
            EntityLockRequested(NOW, 3, "s", ("@e@k", "@e@l")),
            None,
            LockWait(task_id=3, entity_ids=("@e@k", "@e@l"), since=NOW),
        ),
        (
            TimerCreated(NOW, 3, later(60)),
            TimerFired(NOW, 3, later(60)),
            TimerWait(task_id=3, fire_at=later(60), since=NOW),
        ),
    ],
)
def test_what_was_begun_is_waited_for_until_its_answer_is_in_the_history(
    event: HistoryEvent, answer: HistoryEvent | None, expected: Wait
) -> None:
    assert named(*BEGUN, event) == (expected,)
    if answer is not None:
        assert named(*BEGUN, event, answer) == (EventWait(since=NOW),)


def test_an_answer_that_lies_in_the_inbox_makes_it_the_instances_turn() -> None:
    found = named(*BEGUN, CHARGE, inbox=[TaskCompleted(later(4), 3)])
    assert found == (TurnWait(since=later(4), messages=1),)


def test_a_timer_that_fell_due_makes_it_the_instances_turn() -> None:
    assert named(*BEGUN, TimerCreated(NOW, 3, later(5))) == (TurnWait(since=later(5), timers=1),)


def test_one_that_has_not_begun_waits_for_its_first_turn() -> None:
    pending = {"status": RuntimeStatus.PENDING, "history_length": 0}
    assert named(**pending) == (TurnWait(since=NOW, is_first=True),)
    begins_later = {**pending, "extras": Extras(start_at=later(60))}
    assert named(**begins_later, inbox=[EventRaised(NOW, "E")]) == (StartWait(at=later(60)),)
    turn, start = named(**begins_later, inbox=[ExecutionTerminated(NOW)])
    assert (type(turn), start) == (TurnWait, StartWait(at=later(60)))
    began = named(**pending, extras=Extras(start_at=later(5)))
    assert began == (TurnWait(since=later(5), is_first=True),)


def test_one_that_is_due_and_that_nobody_holds_waits_for_its_turn() -> None:
    turn = TurnWait(since=later(2))
    assert named(*BEGUN, CHARGE, hold=Hold(None, later(2))) == (turn, CHARGE_WAIT)
    assert named(*BEGUN, CHARGE, hold=Hold(1, later(2))) == (CHARGE_WAIT,)
    assert named(*BEGUN, CHARGE, hold=Hold(None, later(20))) == (CHARGE_WAIT,)


def test_a_suspended_one_waits_for_its_resumption_and_for_what_is_open() -> None:
    suspended = (*BEGUN, CHARGE, ExecutionSuspended(later(1), "why"))
    wait = ResumptionWait(since=later(1), reason="why")
    assert named(*suspended, status=RuntimeStatus.SUSPENDED) == (wait, CHARGE_WAIT)
    assert named(*suspended, ExecutionResumed(later(2))) == (CHARGE_WAIT,)


def test_of_very_many_things_the_first_are_named_and_the_rest_counted() -> None:
    tasks = [TaskScheduled(NOW, number, "charge") for number in range(1_000)]
    found = waits_of(seen(*BEGUN, *tasks, hosts=(host(1, lacks_charge()),)))
    assert len(found.named) == MAX_WAITS
    assert isinstance(found.named[0], WorkerWait), "what is wrong is told first, and once"
    assert [getattr(each, "task_id", None) for each in found.named[1:3]] == [0, 1]
    assert found.more == 1_001 - MAX_WAITS


def lacks_charge(version: str | None = None) -> LackedFunction:
    return LackedFunction(WorkKind.ACTIVITY, "charge", version)


def worker_hosts(*history: HistoryEvent, **changes: Any) -> list[int]:
    return [each.host_id for each in named(*history, **changes) if isinstance(each, WorkerWait)]


def test_a_worker_is_missed_at_the_holder_or_where_nobody_holds_it_at_every_live_host() -> None:
    hosts = (
        host(1, lacks_charge()),
        host(2, lacks_charge()),
        host(3, lacks_charge(), is_live=False),
    )
    work = (*BEGUN, CHARGE)
    assert worker_hosts(*work, hosts=hosts) == [1]
    assert worker_hosts(*work, hosts=hosts, hold=FREE) == [1, 2]
    assert worker_hosts(*work, hosts=hosts, hold=Hold(3, None)) == []
    assert worker_hosts(*BEGUN, hosts=hosts) == []
    assert worker_hosts(*work, hosts=(host(1, lacks_charge("2.0")),)) == []


def test_an_orchestrators_worker_is_missed_when_it_is_the_orchestrators_turn() -> None:
    lacks_job = host(1, LackedFunction(WorkKind.ORCHESTRATION, "Job"))
    assert worker_hosts(hosts=(lacks_job,)) == [1]
    assert worker_hosts(*BEGUN, CHARGE, hosts=(lacks_job,)) == []


# -- entities -------------------------------------------------------------------------------------

ENTITY: dict[str, Any] = {"instance_id": "@e@k", "name": "e", "history_length": 0}
LOCKED = {**ENTITY, "custom_status": lock_text(EntityLock("s", OWNER))}


def test_an_entity_waits_for_operations() -> None:
    assert named(**ENTITY, hold=FREE) == (OperationWait(due_at=None),)
    signal = EntityRequested(NOW, "add", due_at=later(60))
    assert named(**ENTITY, inbox=[signal]) == (OperationWait(due_at=later(60)),)


def test_an_operation_that_is_due_makes_it_the_entitys_turn() -> None:
    inbox = [EntityRequested(NOW, "add", due_at=later(5)), EntityRequested(later(6), "add")]
    turn = TurnWait(since=later(5), messages=2)
    assert named(**ENTITY, inbox=inbox) == (turn,)
    lacks = host(1, LackedFunction(WorkKind.ENTITY, "e"))
    worker = WorkerWait(host_id=1, kind=WorkKind.ENTITY, name="e", version=None)
    assert named(**ENTITY, inbox=inbox, hosts=(lacks,)) == (turn, worker)


@pytest.mark.parametrize(
    ("event", "is_ready"),
    [
        (EntityRequested(NOW, "add"), False),
        (EntityRequested(NOW, "add", caller=OWNER), True),
        (LockRequested(NOW, "t", ("@e@k",), 0, OWNER), False),
        (LockReleased(NOW, "s"), True),
    ],
)
def test_a_locked_entity_waits_for_the_end_of_the_section(
    event: InboxEvent, is_ready: bool
) -> None:
    turn = (TurnWait(since=NOW, messages=1),) if is_ready else ()
    assert named(**LOCKED, inbox=[event]) == (*turn, SectionWait(instance_id="locker"))


# -- the law --------------------------------------------------------------------------------------

BEGINNINGS: list[HistoryEvent] = [
    CHARGE,
    TimerCreated(NOW, 4, later(5)),
    TimerCreated(NOW, 5, later(60)),
    SubOrchestrationInstanceCreated(NOW, 6, "child", "Child"),
    EntityOperationCalled(NOW, 7, "@e@k", "add"),
    EntityLockRequested(NOW, 8, "s", ("@e@k",)),
    ExecutionSuspended(NOW),
]
MAIL: list[InboxEvent] = [TaskCompleted(NOW, 3), EventRaised(NOW, "E"), ExecutionSuspended(NOW)]
ENTITY_MAIL: list[InboxEvent] = [
    EntityRequested(NOW, "add", due_at=later(60)),
    EntityRequested(NOW, "add", caller=OWNER),
    LockReleased(NOW, "s"),
]
HOLDS = st.sampled_from([HELD, FREE, Hold(None, later(5)), Hold(None, later(60)), Hold(9, NOW)])


def some(events: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(events), unique=True)


@given(some(BEGINNINGS), some(MAIL), HOLDS, st.booleans(), st.booleans())
def test_every_live_orchestration_waits_for_something(
    open_work: list[HistoryEvent],
    inbox: list[InboxEvent],
    hold: Hold,
    has_begun: bool,
    begins_later: bool,
) -> None:
    extras = Extras(start_at=later(60 if begins_later else 5))
    history = (*BEGUN, *open_work) if has_begun else ()
    assert waits_of(seen(*history, inbox=inbox, hold=hold, extras=extras)).named


@given(some(ENTITY_MAIL), HOLDS, st.booleans())
def test_every_entity_waits_for_something(
    inbox: list[InboxEvent], hold: Hold, is_locked: bool
) -> None:
    assert waits_of(seen(inbox=inbox, hold=hold, **(LOCKED if is_locked else ENTITY))).named
