"""The verbs that every face speaks.

A client checks what a caller wrote, stamps times and ids, and passes on to the store. It is the
only road from a face to the store, so one rule holds at every door.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol
from uuid import uuid4

from soloist.contracts.clock import Clock
from soloist.contracts.store import Store
from soloist.contracts.wakeups import NoWakeUps, WakeUps
from soloist.core.events import EventRaised, ExecutionTerminated, HistoryEvent, InboxEvent
from soloist.core.ids import MAX_INSTANCE_ID_LENGTH, check_instance_id
from soloist.core.instances import (
    InstancePage,
    InstanceQuery,
    InstanceRecord,
    StartReceipt,
    StartRequest,
)
from soloist.core.payloads import exceeds, size_bytes
from soloist.core.policy import StartDecision, StartPolicy
from soloist.errors import FunctionNotFound, InstanceNotFound, InvalidRequest, PayloadTooLarge

DEFAULT_MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
MAX_NAME_LENGTH = 200

_FIRST_POLL_SECONDS = 0.01
_LAST_POLL_SECONDS = 0.5


class Orchestrators(Protocol):
    """Which orchestrators the app has."""

    def resolve(self, name: str) -> str | None:
        """Return the registered spelling of ``name`` (compared without case), or ``None``."""

    def names(self) -> Collection[str]:
        """Return every registered name."""


class Client:
    """One task hub, as its callers see it.

    Without ``orchestrators`` any function name is accepted, as by a client that runs apart from
    the app. Every verb may raise ``StoreUnavailable``.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        wakeups: WakeUps | None = None,
        orchestrators: Orchestrators | None = None,
        default_policy: StartPolicy = StartPolicy.FAIL,
        default_version: str | None = None,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        max_instance_id_length: int = MAX_INSTANCE_ID_LENGTH,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wakeups = wakeups or NoWakeUps()
        self._orchestrators = orchestrators
        self._default_policy = default_policy
        self._default_version = default_version
        self._max_payload_bytes = max_payload_bytes
        self._max_instance_id_length = max_instance_id_length

    async def start(
        self,
        name: str,
        instance_id: str | None = None,
        *,
        input: str | None = None,  # noqa: A002  # the field's word
        version: str | None = None,
        policy: StartPolicy | None = None,
    ) -> StartReceipt:
        """Start orchestrator ``name``; without an id a new one of 32 hex digits is drawn.

        Raises:
            InvalidRequest: the name or the id is malformed.
            PayloadTooLarge: the input is.
            FunctionNotFound: the app has no such orchestrator.
            InstanceExists: the id is taken and the policy does not replace its holder.
            Overloaded: the hub is full.
        """
        request = StartRequest(
            instance_id=self._checked_id(instance_id) if instance_id else uuid4().hex,
            execution_id=uuid4().hex,
            name=self._resolved(name),
            at=self._clock.now(),
            input=self._bounded("The input", input),
            version=self._default_version if version is None else version,
            policy=policy or self._default_policy,
        )
        receipt = await self._store.start(request, self._wakeups.claimant())
        if receipt.replaced is not None:
            self._wakeups.replaced(receipt.replaced)
        if receipt.lease is not None:
            self._wakeups.granted(receipt.lease)
        elif receipt.decision is not StartDecision.RETURN:
            self._wakeups.work_waits()
        return receipt

    async def status(self, instance_id: str) -> InstanceRecord:
        """Return what is known of an instance.

        Raises:
            InstanceNotFound: there is none of that id.
        """
        record = await self._store.read(_checked_text("The instance ID", instance_id))
        if record is None:
            raise InstanceNotFound(instance_id)
        return record

    async def history(self, record: InstanceRecord) -> tuple[HistoryEvent, ...]:
        """Return the history of the instance read as ``record``."""
        return await self._store.history(record.generation)

    async def list(self, query: InstanceQuery) -> InstancePage:
        """Return one page of instances.

        Raises:
            InvalidRequest: the token or the page size is wrong.
        """
        return await self._store.query(query)

    async def raise_event(self, instance_id: str, name: str, input: str | None) -> None:  # noqa: A002
        """Raise an external event; it is kept until the orchestration waits for it.

        Raises:
            InstanceNotFound, InstanceFinished: nobody can receive it.
            PayloadTooLarge: the event's data is.
        """
        if not name or len(name) > MAX_NAME_LENGTH:
            raise InvalidRequest(f"An event name has 1 to {MAX_NAME_LENGTH} characters.")
        _checked_text("The event's name", name)
        payload = self._bounded("The event's data", input)
        await self._deliver(instance_id, EventRaised(self._clock.now(), name, payload))

    async def terminate(self, instance_id: str, reason: str | None = None) -> None:
        """Ask for an instance's end; its status becomes Terminated and its output the reason.

        Raises:
            InstanceNotFound, InstanceFinished: there is nothing to end.
        """
        text = self._bounded("The reason", reason)
        await self._deliver(instance_id, ExecutionTerminated(self._clock.now(), text))

    async def purge(self, instance_id: str) -> None:
        """Remove a finished instance with its history.

        Raises:
            InstanceNotFound: there is none of that id.
            InstanceUnfinished: it has not ended.
        """
        if await self._store.purge(instance_id) is None:
            raise InstanceNotFound(instance_id)

    async def wait(self, instance_id: str, timeout_seconds: float) -> InstanceRecord:
        """Wait until an instance has ended, at most ``timeout_seconds``; return what it is then.

        Raises:
            InstanceNotFound: there is none of that id.
        """
        pause = _FIRST_POLL_SECONDS
        remaining = timeout_seconds  # counted in pauses: a clock set back must not prolong it
        while True:
            record = await self.status(instance_id)
            if record.status.is_terminal or remaining <= 0:
                return record
            await self._clock.sleep(min(pause, remaining))
            remaining -= pause
            pause = min(pause * 2, _LAST_POLL_SECONDS)

    async def _deliver(self, instance_id: str, event: InboxEvent) -> None:
        receipt = await self._store.deliver(instance_id, event, self._wakeups.claimant())
        if receipt.lease is not None:
            self._wakeups.granted(receipt.lease)
        else:
            self._wakeups.mail(receipt.generation)

    def _checked_id(self, instance_id: str) -> str:
        return check_instance_id(instance_id, self._max_instance_id_length)

    def _bounded(self, what: str, payload: str | None) -> str | None:
        if payload is None:
            return None
        if exceeds(payload, self._max_payload_bytes):
            raise PayloadTooLarge(what, size_bytes(payload), self._max_payload_bytes)
        return _checked_text(what, payload)

    def _resolved(self, name: str) -> str:
        if not name or len(name) > MAX_NAME_LENGTH:
            raise InvalidRequest(f"A function name has 1 to {MAX_NAME_LENGTH} characters.")
        _checked_text("The function's name", name)
        if self._orchestrators is None:
            return name
        resolved = self._orchestrators.resolve(name)
        if resolved is None:
            raise FunctionNotFound(name, "orchestrator", tuple(self._orchestrators.names()))
        return resolved


def _checked_text(what: str, text: str) -> str:
    """Return ``text``, or refuse halves of surrogate pairs, which no database can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{what} is not valid Unicode text: {error.reason}.") from error
    return text
