"""Determinism: holding what replayed code asks for against what the history recorded."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from soloist_worker.failures import Failure

PREFIX = "Non-Deterministic workflow detected: "
"""How the message of every such failure begins, as on Azure."""

_RECORDED_AS = {
    "ScheduleTask": "TaskScheduled",
    "CreateTimer": "TimerCreated",
    "CancelTimer": "TimerCancelled",
}


def match(asked: dict[str, Any], recorded: dict[str, Any]) -> bool:
    """Whether the history recorded this very thing; inputs and times may differ, as on Azure."""
    if _RECORDED_AS[asked["type"]] != recorded["type"]:
        return False
    if asked["task_id"] != recorded["task_id"]:
        return False
    if recorded["type"] != "TaskScheduled":
        return True
    name: str = asked["name"]
    other: str = recorded["name"]
    return name == other or name.casefold() == other.casefold()


def stands_at(generator: Any) -> str:
    """Return ``file:line in function`` of the place where a paused generator stands."""
    if generator is None:
        return ""
    while getattr(getattr(generator, "gi_yieldfrom", None), "gi_frame", None) is not None:
        generator = generator.gi_yieldfrom
    code = generator.gi_code
    line = code.co_firstlineno if generator.gi_frame is None else generator.gi_frame.f_lineno
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
        return f"activity '{thing['name']}' with task id {task_id}"
    if kind in ("CreateTimer", "TimerCreated"):
        return f"a timer with task id {task_id}"
    return f"the cancellation of the timer with task id {task_id}"
