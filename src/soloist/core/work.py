"""Work: the kinds of functions, and those that a host has no worker for."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

MAX_LACKED = 20
"""How many functions a host names that it lacks."""

MAX_LACKED_NAME = 512
"""How long a name with its version may be to be told; nothing bounds what code calls an activity."""


class WorkKind(StrEnum):
    """What sort of function a piece of work needs."""

    ORCHESTRATION = "orchestration"
    ACTIVITY = "activity"
    ENTITY = "entity"

    @property
    def function(self) -> str:
        """What such a function is called."""
        return "orchestrator" if self is WorkKind.ORCHESTRATION else self.value


class LackedFunction(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that work waits for, and that no connected worker knows."""

    kind: WorkKind
    name: str
    version: str | None = None


class Lacks(msgspec.Struct, frozen=True, kw_only=True):
    """What a host tells of its gRPC door: how many ``workers`` are connected, and which
    ``functions`` work waits for that none of them knows; ``more`` counts those left out."""

    workers: int
    functions: tuple[LackedFunction, ...] = ()
    more: int = 0


_decoder = msgspec.json.Decoder(Lacks)


def lacks_of(workers: int, missing: Iterable[tuple[WorkKind, str, str | None]]) -> Lacks:
    """Return what a host tells, within its bounds."""
    found = {LackedFunction(*key) for key in missing}
    functions = sorted(
        (each for each in found if len(each.name + (each.version or "")) <= MAX_LACKED_NAME),
        key=lambda each: (each.kind, each.name, each.version or ""),
    )[:MAX_LACKED]
    return Lacks(workers=workers, functions=tuple(functions), more=len(found) - len(functions))


def lacks_text(lacks: Lacks | None) -> str | None:
    """Return it as JSON text."""
    return None if lacks is None else msgspec.json.encode(lacks).decode()


def lacks_in(text: str | None) -> Lacks | None:
    """Return what stands in JSON text written by :func:`lacks_text`."""
    return None if text is None else _decoder.decode(text)
