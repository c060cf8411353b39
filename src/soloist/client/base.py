"""What all verbs of the client share: the hub they speak to, and whom they wake."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from soloist.client.checks import DEFAULT_MAX_PAYLOAD_BYTES, bounded, checked_name
from soloist.contracts.clock import Clock
from soloist.contracts.store import Store
from soloist.contracts.wakeups import NoWakeUps, WakeUps
from soloist.core.events import InboxEvent
from soloist.core.ids import MAX_INSTANCE_ID_LENGTH
from soloist.core.policy import StartPolicy
from soloist.errors import FunctionNotFound


class Functions(Protocol):
    """Which functions of one kind the app has."""

    def resolve(self, name: str) -> str | None:
        """Return the registered spelling of ``name`` (compared without case), or ``None``."""

    def names(self) -> Collection[str]:
        """Return every registered name."""


class Verbs:
    """One task hub and the bounds of what may be written to it."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        wakeups: WakeUps | None = None,
        orchestrators: Functions | None = None,
        entities: Functions | None = None,
        default_policy: StartPolicy = StartPolicy.FAIL,
        default_version: str | None = None,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        max_instance_id_length: int = MAX_INSTANCE_ID_LENGTH,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wakeups = wakeups or NoWakeUps()
        self._orchestrators = orchestrators
        self._entities = entities
        self._default_policy = default_policy
        self._default_version = default_version
        self._max_payload_bytes = max_payload_bytes
        self._max_instance_id_length = max_instance_id_length

    async def _deliver(self, instance_id: str, event: InboxEvent) -> None:
        receipt = await self._store.deliver(instance_id, event, self._wakeups.claimant())
        if receipt.lease is not None:
            self._wakeups.granted(receipt.lease)
        else:
            self._wakeups.mail(receipt.generation)

    def _bounded(self, what: str, payload: str | None) -> str | None:
        return bounded(what, payload, self._max_payload_bytes)


def resolved(name: str, kind: str, functions: Functions | None) -> str:
    """Return the registered spelling of a function's name.

    Raises:
        InvalidRequest: no function can be called that.
        FunctionNotFound: the app has none of that name and kind.
    """
    checked_name("A function name", name)
    if functions is None:
        return name
    found = functions.resolve(name)
    if found is None:
        raise FunctionNotFound(name, kind, tuple(functions.names()))
    return found
