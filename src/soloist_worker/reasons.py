"""Reasons: the texts by which an app for Azure learns that something it called has failed.

Every failure is a plain ``Exception`` whose text is a reason, a line break and details. Apps take
that text apart, so its shape matters: an activity's details are one line of JSON, those of a
sub-orchestration a sentence.
"""

from __future__ import annotations

import json
from typing import Any

from soloist_worker.failures import Failure

HTTP_ACTIVITY = "BuiltIn::HttpActivity"
"""The activity that a durable HTTP call is; the host runs it."""

BREAK = " \n "


def error_text(call: dict[str, Any], details: Failure) -> str:
    """Return the text of the exception; ``call`` is the action, or the event that records it."""
    if "entity_id" in call:
        return str(details["message"])
    return BREAK.join(reason(call, details))


def reason(call: dict[str, Any], details: Failure) -> tuple[str, str]:
    """Return why an activity or a sub-orchestration failed: the reason and the details."""
    name = call["name"]
    if call["type"] in ("ScheduleSubOrchestration", "SubOrchestrationInstanceCreated"):
        return _reason_of_child(name, details)
    return _reason_of_activity(name, details)


def _reason_of_activity(name: str, details: Failure) -> tuple[str, str]:
    kind, message = details.get("error_type", ""), details["message"]
    # The double blank after the colon is part of the shape.
    told = f" {kind}: {message}" if kind else message
    detail = {
        "$type": "System.Exception, System.Private.CoreLib",
        "ClassName": "System.Exception",
        "Message": told,
        "Data": None,
        "InnerException": None,
        "HelpURL": None,
        "StackTraceString": details.get("stack_trace", ""),
        "Source": None,
    }
    # No function of the app failed when an HTTP call did.
    first = message if name == HTTP_ACTIVITY else f"Activity function '{name}' failed: {told}"
    return first, json.dumps(detail)


def _reason_of_child(name: str, details: Failure) -> tuple[str, str]:
    """The reason is bare when it was not the child's code that failed."""
    message = details["message"]
    told = f"Message: {message}, StackTrace: {details.get('stack_trace', '')}"
    if not details.get("error_type"):
        return message, told
    return f"Orchestrator function '{name}' failed: {message}", told
