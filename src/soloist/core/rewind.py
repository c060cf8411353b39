"""Rewind: taking back the last turn of a failed execution, so that what failed is done again.

The history is cut before the turn in which the code ended. What had completed since then and is
still asked for comes again as mail; what had failed since then is open again, and whoever takes
the instance up begins it anew. Failures that the code had dealt with before stay in the history,
because the code's later actions rest on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from soloist.core.events import (
    EntityOperationCalled,
    EntityOperationCompleted,
    EventRaised,
    ExecutionRewound,
    HistoryEvent,
    Mail,
    OrchestratorStarted,
    SubOrchestrationInstanceCompleted,
    SubOrchestrationInstanceCreated,
    TaskCompleted,
)
from soloist.core.state import OrchestrationState

_KEPT = (TaskCompleted, SubOrchestrationInstanceCompleted, EntityOperationCompleted, EventRaised)


class Rewinding(msgspec.Struct, frozen=True):
    """What becomes of a failed execution.

    ``history`` stays, ``mail`` enters the inbox in this order. ``children`` are open again and are
    to be rewound or, where that cannot be, started again; ``calls`` are to be sent again.
    """

    history: tuple[HistoryEvent, ...]
    mail: tuple[Mail, ...]
    children: tuple[SubOrchestrationInstanceCreated, ...]
    calls: tuple[EntityOperationCalled, ...]


def rewound(history: Sequence[HistoryEvent], reason: str | None, now: datetime) -> Rewinding:
    """Say what is to become of a failed execution with this history."""
    cut = max(
        (place for place, event in enumerate(history) if isinstance(event, OrchestratorStarted)),
        default=0,
    )
    kept = tuple(history[:cut])
    state = OrchestrationState(kept)
    mail: list[Mail] = [ExecutionRewound(now, reason)]
    for event in history[cut:]:
        if isinstance(event, _KEPT) and state.accepts(event):
            mail.append(event)
            for open_things in (state.open_children, state.open_calls):
                open_things.pop(getattr(event, "task_id", -1), None)
    return Rewinding(
        history=kept,
        mail=tuple(mail),
        children=tuple(state.open_children.values()),
        calls=tuple(state.open_calls.values()),
    )
