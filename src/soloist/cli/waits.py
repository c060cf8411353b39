"""How people are told what an instance waits for, and what a host has no worker for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from soloist.cli.values import shown
from soloist.client import Standing
from soloist.core.actions import HTTP_ACTIVITY
from soloist.core.instances import HostRecord
from soloist.core.waits import (
    ActivityWait,
    CallWait,
    ChildWait,
    EventWait,
    LockWait,
    OperationWait,
    ResumptionWait,
    SectionWait,
    StartWait,
    TimerWait,
    TurnWait,
    Wait,
    WorkerWait,
)
from soloist.core.work import LackedFunction, Lacks


def standing_facts(standing: Standing) -> Iterator[tuple[str, str]]:
    """Return what there is to tell of an instance that has not ended, with its headings."""
    if standing.record.status.is_terminal:
        return
    for wait in standing.waits.named:
        yield "waits for", _wait(wait)
    if standing.waits.more:
        yield "waits for", f"and {standing.waits.more} more"
    yield "held by", _holder(standing)


def lacks_lines(lacks: Lacks) -> Iterator[str]:
    """Return what a host has no worker for, a line a function."""
    for each in lacks.functions:
        yield f"no worker knows {_function(each)}"
    if lacks.more:
        yield f"and {lacks.more} more"


def _holder(standing: Standing) -> str:
    if standing.held_by is None:
        return "nobody"
    host: HostRecord | None = standing.holder
    if host is None:
        return f"host {standing.held_by}, which is forgotten"
    place = f"host {host.host_id} ({host.address or host.name})"
    return place if host.is_live else f"{place}, which is gone; another host will take over"


def _wait(wait: Wait) -> str:
    match wait:
        case ActivityWait() | TimerWait() | ChildWait() | CallWait() | LockWait():
            return f"{_task(wait)}, since {shown(wait.since)}"
        case TurnWait():
            return f"its turn ({_news(wait)}), since {shown(wait.since)}"
        case StartWait():
            return f"its start at {shown(wait.at)}"
        case ResumptionWait():
            reason = "" if wait.reason is None else f" ({wait.reason})"
            return f"its resumption: it is suspended{reason}, since {shown(wait.since)}"
        case WorkerWait():
            function = _function(LackedFunction(wait.kind, wait.name, wait.version))
            return f"a worker: no worker of host {wait.host_id} knows {function}"
        case EventWait():
            return (
                "an external event, or its own code (a history does not say which),"
                f" since {shown(wait.since)}"
            )
        case SectionWait():
            return f"the end of the critical section of instance '{wait.instance_id}'"
        case OperationWait():
            due = "" if wait.due_at is None else f"; one is due at {shown(wait.due_at)}"
            return f"an operation{due}"


def _task(wait: ActivityWait | TimerWait | ChildWait | CallWait | LockWait) -> str:
    number = f"task {wait.task_id}"
    match wait:
        case ActivityWait(name=name) if name == HTTP_ACTIVITY:
            return f"a durable HTTP call ({number})"
        case ActivityWait():
            return f"activity '{wait.name}' ({number})"
        case TimerWait():
            return f"a timer that fires at {shown(wait.fire_at)} ({number})"
        case ChildWait():
            return f"sub-orchestration '{wait.name}', instance '{wait.instance_id}' ({number})"
        case CallWait():
            return f"entity '{wait.entity_id}' to answer '{wait.operation}' ({number})"
        case LockWait():
            return f"a critical section of entities {_listed(wait.entity_ids)} ({number})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _news(wait: TurnWait) -> str:
    news = [
        "it has not begun" if wait.is_first else "",
        _counted(wait.messages, "unread message"),
        _counted(wait.timers, "timer") + " fell due" if wait.timers else "",
    ]
    return ", ".join(filter(None, news)) or "a host is to take it up"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}" if count else ""


def _function(function: LackedFunction) -> str:
    version = "" if not function.version else f" of version '{function.version}'"
    return f"{function.kind.function} '{function.name}'{version}"
