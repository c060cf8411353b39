"""Determinism: holding what replayed code asks for against what the history recorded."""

from __future__ import annotations

import os
import traceback
from types import CodeType
from typing import Any, NamedTuple

from soloist_worker.failures import Failure

PREFIX = "Non-Deterministic workflow detected: "
"""How the message of every such failure begins, as on Azure."""

_RECORDED_AS = {
    "ScheduleTask": "TaskScheduled",
    "CreateTimer": "TimerCreated",
    "CancelTimer": "TimerCancelled",
    "ScheduleSubOrchestration": "SubOrchestrationInstanceCreated",
    "CallEntity": "EntityOperationCalled",
    "SignalEntity": "EntityOperationSignaled",
}
RECORDED = frozenset(_RECORDED_AS.values())
"""The events by which a history records what the code asked for."""

_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_ASYNCIO_FOLDER = os.sep + "asyncio" + os.sep


def match(asked: dict[str, Any], recorded: dict[str, Any]) -> bool:
    """Whether the history recorded this very thing; inputs and times may differ, as on Azure."""
    kind = asked["type"]
    if _RECORDED_AS[kind] != recorded["type"] or asked["task_id"] != recorded["task_id"]:
        return False
    if kind in ("ScheduleTask", "ScheduleSubOrchestration"):
        name: str = asked["name"]
        other: str = recorded["name"]
        return name == other or name.casefold() == other.casefold()
    if kind in ("CallEntity", "SignalEntity"):
        return all(asked[each] == recorded[each] for each in ("entity_id", "operation"))
    return True


def stands_at(code: Any) -> str:
    """Return ``file:line in function`` of the place where a paused generator or coroutine stands.

    What it waits inside of is followed down, but not into asyncio.
    """
    found = ""
    while code is not None:
        frame = getattr(code, "gi_frame", None) or getattr(code, "cr_frame", None)
        made_of = getattr(code, "gi_code", None) or getattr(code, "cr_code", None)
        if made_of is None or (found and frame is None) or _ASYNCIO_FOLDER in made_of.co_filename:
            break
        line = made_of.co_firstlineno if frame is None else frame.f_lineno
        found = _place(made_of, line)
        code = getattr(code, "gi_yieldfrom", None) or getattr(code, "cr_await", None)
    return found


def raised_at(error: BaseException) -> str:
    """Return ``file:line in function`` of the last line of the user's that an exception left."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if not name.startswith(_OWN_FOLDER) and _ASYNCIO_FOLDER not in name:
            found = _place(frame.f_code, line)
    return found


def _place(code: CodeType, line: int) -> str:
    return f"{os.path.basename(code.co_filename)}:{line} in {code.co_name}"


class Deviation(NamedTuple):
    """The code asked for ``asked`` where the history holds ``recorded``; one may be missing."""

    asked: dict[str, Any] | None
    recorded: dict[str, Any] | None
    place: str

    def describe(self, failed: Failure | None) -> str:
        """Return the sentences for the user; ``failed`` is the exception that ended the code."""
        place = f" at {self.place}" if self.place else ""
        if self.asked is None:
            got = f"the code asked for nothing more in that episode; it stands{place or ' ended'}"
        else:
            got = f"the code asked for {_words(self.asked)}{place}"
        if self.recorded is None:
            want = "the history records nothing more in that episode"
        else:
            want = f"the history records {_words(self.recorded)}"
        text = f"{PREFIX}{want}, but {got}."
        if failed is not None:
            kind = failed["error_type"]
            text += f" The code raised {kind + ': ' if kind else ''}{failed['message']}"
        return text


def _words(thing: dict[str, Any]) -> str:
    kind, task_id = thing["type"], thing["task_id"]
    if kind in ("ScheduleTask", "TaskScheduled"):
        what = f"activity '{thing['name']}'"
    elif kind in ("ScheduleSubOrchestration", "SubOrchestrationInstanceCreated"):
        what = f"sub-orchestration '{thing['name']}'"
    elif kind in ("CallEntity", "EntityOperationCalled"):
        what = f"a call of '{thing['operation']}' of entity '{thing['entity_id']}'"
    elif kind in ("SignalEntity", "EntityOperationSignaled"):
        what = f"a signal '{thing['operation']}' to entity '{thing['entity_id']}'"
    elif kind in ("CreateTimer", "TimerCreated"):
        what = "a timer"
    else:
        return f"the cancellation of the timer with task id {task_id}"
    return f"{what} with task id {task_id}"
