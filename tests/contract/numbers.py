"""Numbers that stores draw: two stores may draw different ones for the same thing.

A database gives generations and message ids with gaps, and message ids for each instance anew. What
must agree is which things have the same number, and the order.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from soloist.contracts.store import Store
from soloist.core.instances import LeaseGrant

# The fields and parameters that hold such a number, or several, and what is numbered.
_KINDS = {
    "generation": "generation",
    "replaced": "generation",
    "mail": "generation",
    "message_id": "message",
    "after": "message",
    "consumed": "message",
    "host_id": "host",
    "token": "token",
}
_NEVER_DRAWN = 10**9


class Numbers:
    """The numbers of the model, and for each the other store's."""

    def __init__(self) -> None:
        self._others: dict[tuple[str, Any], Any] = {}

    def same(self, model: Any, other: Any, kind: str | None = None) -> bool:
        """Compare two answers, learning numbers that are seen for the first time."""
        if type(model) is not type(other):
            return False
        if isinstance(model, LeaseGrant):
            # A store may tell of mail that the host knows or has read by now.
            nothing: dict[str, Any] = {"mail": ()}
            model = msgspec.structs.replace(model, **nothing)
            other = msgspec.structs.replace(other, **nothing)
        if isinstance(model, msgspec.Struct):
            return self._same_fields(model, other)
        if isinstance(model, tuple | list):
            pairs = zip(model, other, strict=False)
            return len(model) == len(other) and all(self.same(*each, kind) for each in pairs)
        if kind is None or model is None:
            return bool(model == other)
        return bool(self._others.setdefault((kind, model), other) == other)

    def _same_fields(self, model: msgspec.Struct, other: msgspec.Struct) -> bool:
        return all(
            self.same(getattr(model, each), getattr(other, each), _KINDS.get(each))
            for each in model.__struct_fields__
        )

    def are_in_order(self) -> bool:
        """Whether what the model numbered later has a greater generation everywhere."""
        known = sorted(
            (model, other) for (kind, model), other in self._others.items() if kind == "generation"
        )
        others = [other for _, other in known]
        return others == sorted(set(others))

    def translated(self, value: Any, kind: str | None = None) -> Any:
        """Return a value of the model in the other store's numbers."""
        if isinstance(value, msgspec.Struct):
            changes = {
                each: self.translated(getattr(value, each), _KINDS.get(each))
                for each in value.__struct_fields__
            }
            return msgspec.structs.replace(value, **changes)
        if isinstance(value, tuple):
            return tuple(self.translated(each, kind) for each in value)
        if kind is None or value is None or value == 0:
            return value
        return self._others.get((kind, value), value if kind == "token" else _NEVER_DRAWN)


class Translated:
    """A store that understands the model's numbers; its answers are in its own."""

    def __init__(self, store: Store, numbers: Numbers) -> None:
        self._store = store
        self._numbers = numbers

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        verb = getattr(self._store, name)
        signature = inspect.signature(verb)

        async def ask(*arguments: Any, **named: Any) -> Any:
            bound = signature.bind(*arguments, **named)
            for parameter, value in bound.arguments.items():
                bound.arguments[parameter] = self._numbers.translated(value, _KINDS.get(parameter))
            return await verb(*bound.args, **bound.kwargs)

        return ask
