"""Instances: the verbs for orchestrations."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import msgspec

from soloist.client.base import resolved
from soloist.client.checks import checked_name, checked_orchestration, checked_text
from soloist.client.entities import EntityVerbs
from soloist.core.events import (
    EventRaised,
    ExecutionResumed,
    ExecutionSuspended,
    ExecutionTerminated,
    HistoryEvent,
)
from soloist.core.extras import Extras
from soloist.core.ids import check_instance_id, is_entity_id, timer_function
from soloist.core.instances import (
    CommitReceipt,
    InstancePage,
    InstanceQuery,
    InstanceRecord,
    StartReceipt,
    StartRequest,
)
from soloist.core.policy import StartDecision, StartPolicy
from soloist.core.status import TERMINAL_STATUSES, RuntimeStatus
from soloist.errors import InstanceNotFound, InstanceUnfinished, InvalidRequest

MAX_FILTERED_NAMES = 100
MAX_TAGS_CHARACTERS = 16 * 1024
MAX_CONCURRENT_PURGES = 32
PURGED_PAGE_SIZE = 128

_FIRST_POLL_SECONDS = 0.01
_LAST_POLL_SECONDS = 0.5


class InstanceVerbs(EntityVerbs):
    """What can be done with orchestrations; an entity's id is served where that makes sense."""

    async def start(
        self,
        name: str,
        instance_id: str | None = None,
        *,
        input: str | None = None,  # noqa: A002  # the field's word
        version: str | None = None,
        policy: StartPolicy | None = None,
        replaceable: frozenset[RuntimeStatus] | None = None,
        extras: Extras | None = None,
    ) -> StartReceipt:
        """Start orchestrator ``name``; without an id a new one of 32 hex digits is drawn.

        ``replaceable`` names the statuses of instances that may be replaced, in the place of a
        ``policy``. With ``extras.start_at`` the instance is Pending until then.

        Raises:
            InvalidRequest: the name, the version or the id is malformed.
            PayloadTooLarge: the input is.
            FunctionNotFound: the app has no such orchestrator.
            InstanceExists: the id is taken and the policy does not replace its holder.
            Overloaded: the hub is full.
        """
        if version is not None:
            checked_name("A version", version, may_be_empty=True)
        request = StartRequest(
            instance_id=self._checked_id(instance_id) if instance_id else uuid4().hex,
            execution_id=uuid4().hex,
            name=resolved(name, "orchestrator", self._orchestrators),
            at=self._clock.now(),
            input=self._bounded("The input", input),
            version=self._default_version if version is None else version,
            policy=policy or self._default_policy,
            replaceable=replaceable,
            extras=None if extras is None else self._checked_extras(extras),
        )
        receipt = await self._store.start(request, self._wakeups.claimant())
        if receipt.replaced is not None:
            self._wakeups.replaced(receipt.replaced)
        for generation in receipt.mail:
            self._wakeups.mail(generation)
        if receipt.lease is not None:
            self._wakeups.granted(receipt.lease)
        elif receipt.decision is not StartDecision.RETURN:
            self._wakeups.work_waits(None if extras is None else extras.start_at)
        return receipt

    def _checked_extras(self, extras: Extras) -> Extras:
        size = sum(len(each) for pair in extras.tags.items() for each in pair)
        if size > MAX_TAGS_CHARACTERS:
            raise InvalidRequest(f"The tags have more than {MAX_TAGS_CHARACTERS} characters.")
        for tag in (*extras.tags, *extras.tags.values()):
            checked_text("A tag", tag)
        return extras

    async def restart(self, instance_id: str, *, with_new_id: bool = True) -> StartReceipt:
        """Start an instance's function again with the input that is stored for it.

        It is a start like any other: the version is the hub's default, the policy too. Under the
        same id the instance is replaced if the policy allows.

        Raises:
            InstanceNotFound: there is none of that id.
            FunctionNotFound: the app has its function no more.
            InstanceExists: under the same id, the policy does not replace it.
            Overloaded: the hub is full.
        """
        record = await self.status(checked_orchestration(instance_id, "restarted"))
        new_id = None if with_new_id else record.instance_id
        return await self.start(record.name, new_id, input=record.input)

    async def status(self, instance_id: str) -> InstanceRecord:
        """Return what is known of an instance, or of an entity by its id.

        Raises:
            InstanceNotFound: there is none of that id.
        """
        checked_text("The instance ID", instance_id)
        if is_entity_id(instance_id):
            instance_id = self._addressed_entity(instance_id)
        record = await self._store.read(instance_id)
        if record is None:
            raise InstanceNotFound(instance_id)
        return record

    async def history(self, record: InstanceRecord) -> tuple[HistoryEvent, ...]:
        """Return the history of the instance read as ``record``."""
        return await self._store.history(record.generation)

    async def list(self, query: InstanceQuery) -> InstancePage:
        """Return one page of instances; with a prefix that begins with ``@``, of entities.

        Raises:
            InvalidRequest: the token, the page size or a filter is wrong.
        """
        _check_filters(query)
        page = await self._store.query(query)
        shown = tuple(each for each in page.records if timer_function(each.instance_id) is None)
        return InstancePage(shown, page.token)

    async def raise_event(self, instance_id: str, name: str, input: str | None) -> None:  # noqa: A002
        """Raise an external event; it is kept until the orchestration waits for it.

        Raises:
            InvalidRequest: the name is malformed, or the id is an entity's.
            InstanceNotFound, InstanceFinished: nobody can receive it.
            PayloadTooLarge: the event's data is.
        """
        checked_name("An event name", name)
        payload = self._bounded("The event's data", input)
        checked_orchestration(instance_id, "sent events")
        await self._deliver(instance_id, EventRaised(self._clock.now(), name, payload))

    async def terminate(
        self, instance_id: str, reason: str | None = None, *, is_recursive: bool = True
    ) -> None:
        """Ask for an instance's end; its status becomes Terminated and its output the reason.

        With ``is_recursive`` the sub-orchestrations that it waits for end as well.

        Raises:
            InvalidRequest: the id is an entity's.
            InstanceNotFound, InstanceFinished: there is nothing to end.
        """
        text = self._bounded("The reason", reason)
        checked_orchestration(instance_id, "terminated")
        event = ExecutionTerminated(self._clock.now(), text, is_recursive)
        await self._deliver(instance_id, event)

    async def suspend(self, instance_id: str, reason: str | None = None) -> None:
        """Pause an instance: its code sees nothing until it is resumed. Twice is like once.

        Raises:
            InvalidRequest: the id is an entity's.
            InstanceNotFound, InstanceFinished: there is nothing to pause.
        """
        text = self._bounded("The reason", reason)
        checked_orchestration(instance_id, "suspended")
        await self._deliver(instance_id, ExecutionSuspended(self._clock.now(), text))

    async def resume(self, instance_id: str, reason: str | None = None) -> None:
        """Let a suspended instance go on; one that is not suspended is not changed.

        Raises:
            InvalidRequest: the id is an entity's.
            InstanceNotFound, InstanceFinished: there is nothing that could go on.
        """
        text = self._bounded("The reason", reason)
        checked_orchestration(instance_id, "resumed")
        await self._deliver(instance_id, ExecutionResumed(self._clock.now(), text))

    async def rewind(self, instance_id: str, reason: str | None = None) -> None:
        """Take back the failure of an instance, so that what failed is done again.

        Raises:
            InvalidRequest: the id is an entity's.
            InstanceNotFound: there is none of that id.
            InstanceNotFailed: it has not failed.
        """
        text = self._bounded("The reason", reason)
        checked_orchestration(instance_id, "rewound")
        receipt = await self._store.rewind(
            instance_id, text, self._clock.now(), self._wakeups.claimant()
        )
        self._pass_on(receipt)

    def _pass_on(self, receipt: CommitReceipt) -> None:
        for generation in receipt.replaced:
            self._wakeups.replaced(generation)
        for lease in receipt.leases:
            self._wakeups.granted(lease)
        for generation in receipt.mail:
            self._wakeups.mail(generation)
        if receipt.waits:
            self._wakeups.work_waits()

    async def purge(self, instance_id: str) -> None:
        """Remove a finished instance with its history, or an entity.

        Raises:
            InstanceNotFound: there is none of that id.
            InstanceUnfinished: it has not ended.
        """
        checked_text("The instance ID", instance_id)
        if is_entity_id(instance_id):
            await self._purge_entity(self._addressed_entity(instance_id))
        elif await self._store.purge(instance_id) is None:
            raise InstanceNotFound(instance_id)

    async def purge_many(self, query: InstanceQuery) -> int:
        """Remove all finished instances that a query finds; return how many went.

        Statuses that are not final restrict to nothing: live instances stay, and so do entities.
        What is started while this runs stays too.

        Raises:
            InvalidRequest: the page size or a filter is wrong, or entities are asked for.
        """
        if is_entity_id(query.instance_id_prefix):
            raise InvalidRequest("Entities are purged one by one; the prefix begins with '@'.")
        _check_filters(query)
        statuses = (query.statuses or TERMINAL_STATUSES) & TERMINAL_STATUSES
        if not statuses:
            return 0
        now = self._clock.now()
        created_to = now if query.created_to is None else min(now, query.created_to)
        query = msgspec.structs.replace(
            query, statuses=statuses, created_to=created_to, page_size=PURGED_PAGE_SIZE
        )
        gone = 0
        while True:
            page = await self._store.query(query)
            gone += await self._purge_page(page.records)
            if page.token is None:
                return gone
            query = msgspec.structs.replace(query, token=page.token)

    async def _purge_page(self, records: tuple[InstanceRecord, ...]) -> int:
        gone = 0
        for start in range(0, len(records), MAX_CONCURRENT_PURGES):
            batch = records[start : start + MAX_CONCURRENT_PURGES]
            gone += sum(await asyncio.gather(*map(self._purge_if_finished, batch)))
        return gone

    async def _purge_if_finished(self, record: InstanceRecord) -> bool:
        """Remove what was found; something else under the same id by now stays."""
        try:
            status = await self._store.purge(record.instance_id, record.generation)
        except InstanceUnfinished:  # rewound meanwhile
            return False
        return status is not None

    async def wait(self, instance_id: str, timeout_seconds: float) -> InstanceRecord:
        """Wait until an instance has ended, at most ``timeout_seconds``; return what it is then.

        Raises:
            InstanceNotFound: there is none of that id.
        """
        pause = _FIRST_POLL_SECONDS
        remaining = timeout_seconds  # counted in pauses: a clock set back must not prolong it
        while True:
            held = self._wakeups.end_of(instance_id) if remaining > 0 else None
            if held is not None:
                patience = min(_LAST_POLL_SECONDS, remaining)
                ended, is_late = await self._ended(held, patience)
                if ended is not None:
                    return ended
                if is_late:
                    remaining -= patience
            record = await self.status(instance_id)
            if record.status.is_terminal or remaining <= 0:
                return record
            if held is None:
                await self._clock.sleep(min(pause, remaining))
                remaining -= pause
            pause = min(pause * 2, _LAST_POLL_SECONDS)

    async def wait_begun(self, instance_id: str, timeout_seconds: float) -> InstanceRecord:
        """Wait until an instance is not Pending any more, at most ``timeout_seconds``; return what
        it is then.

        Raises:
            InstanceNotFound: there is none of that id.
        """
        pause = _FIRST_POLL_SECONDS
        remaining = timeout_seconds
        while True:
            record = await self.status(instance_id)
            if record.status is not RuntimeStatus.PENDING or remaining <= 0:
                return record
            await self._clock.sleep(min(pause, remaining))
            remaining -= pause
            pause = min(pause * 2, _LAST_POLL_SECONDS)

    async def _ended(
        self, held: asyncio.Future[InstanceRecord | None], seconds: float
    ) -> tuple[InstanceRecord | None, bool]:
        """Return what this host's instance ended as, nothing when the host let go of it or when
        that takes too long, and whether it does."""
        is_late = False

        def give_up() -> None:
            nonlocal is_late
            if not held.done():
                is_late = True
                held.set_result(None)

        alarm = self._clock.call_at(self._clock.now() + timedelta(seconds=seconds), give_up)
        try:
            return await held, is_late
        finally:
            alarm.cancel()

    def _checked_id(self, instance_id: str) -> str:
        return check_instance_id(instance_id, self._max_instance_id_length)


def _check_filters(query: InstanceQuery) -> None:
    checked_text("The prefix", query.instance_id_prefix)
    if len(query.names) > MAX_FILTERED_NAMES:
        raise InvalidRequest(f"At most {MAX_FILTERED_NAMES} function names can be asked for.")
    for name in query.names:
        checked_text("A function name", name)
