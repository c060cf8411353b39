"""Timer triggers: one timer while this host keeps it.

A timer is an entity of Soloist's own: its state is when it fired and when it fires next, its
lease says which host fires it. The holder fires one occurrence after another, so they never
overlap; another host takes over when the lease is lost.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from soloist.contracts.executor import TimerCall
from soloist.core.events import TimerDeclared
from soloist.core.failures import FailureDetails
from soloist.core.instances import Lease
from soloist.core.ncrontab import Schedule
from soloist.core.outcomes import Outcome
from soloist.core.status import RuntimeStatus
from soloist.core.timers import (
    TimerState,
    TimerTrigger,
    begun,
    decode_timer,
    encode_timer,
    ended,
    taken_up,
)
from soloist.engine.held import Held, HeldEnd, Tools
from soloist.errors import AppError, WorkerAbsent
from soloist.telemetry import logger

_log = logger(__name__)


class TimerSession(Held):
    """One leased timer trigger at work."""

    def __init__(self, lease: Lease, function: str, trigger: TimerTrigger, tools: Tools) -> None:
        super().__init__(lease, tools)
        self._function = function
        self._trigger = trigger
        self._schedule = Schedule.parse(trigger.schedule)
        self._zone = ZoneInfo(trigger.zone)
        output = lease.record.output
        stored = None if output is None else decode_timer(output)
        self._state = taken_up(stored, trigger, self._next_after, tools.clock.now())
        self._missed_at = self._state.next_at if self._is_due(tools.clock.now()) else None

    async def _work(self) -> HeldEnd:
        while True:
            occurrence, declared = await self._next_occurrence()
            if self.is_closed:
                return HeldEnd.STALE
            if occurrence is None and not declared:
                return await self._give_back()
            if occurrence is None:
                is_ours = await self._commit(self._state, declared)
            else:
                is_ours = await self._fire(occurrence, declared)
            if not is_ours:
                return HeldEnd.STALE

    async def _next_occurrence(self) -> tuple[datetime | None, tuple[int, ...]]:
        """Wait until something is due; return it with the messages that are then done with."""
        while not self.is_closed and not self._must_release:
            self._awake.clear()
            if self._mailbox.has_mail:
                await self._mailbox.read()
            now = self._tools.clock.now()
            declared, runs_on_startup = self._take_mail()
            if self._is_due(now):
                return self._state.next_at, declared
            if runs_on_startup:
                return now, declared
            if declared:
                return None, declared
            self._wake_at(self._state.next_at)
            await self._awake.wait()
        return None, ()

    def _take_mail(self) -> tuple[tuple[int, ...], bool]:
        messages = tuple(self._mailbox.messages)
        self._mailbox.messages.clear()
        runs_on_startup = any(
            isinstance(each.event, TimerDeclared) and each.event.runs_on_startup
            for each in messages
        )
        return tuple(each.message_id for each in messages), runs_on_startup

    async def _fire(self, occurrence: datetime, declared: tuple[int, ...]) -> bool:
        """Fire one occurrence, written down before and after; ``False`` when the lease is lost."""
        began_at = self._tools.clock.now()
        before = self._state
        grace = timedelta(seconds=self._tools.settings.timer_grace_seconds)
        if not await self._commit(begun(before, occurrence, self._next_after, began_at), declared):
            return False
        failure = await self._call(
            TimerCall(
                function=self._function,
                is_past_due=occurrence == self._missed_at or began_at - occurrence >= grace,
                last_at=before.last_at,
                next_at=occurrence,
                updated_at=before.updated_at,
            )
        )
        if failure is not None:
            _log.error(
                "a timer function failed",
                function=self._function,
                reason=failure.message,
                exception=failure.stack_trace or None,
            )
        return await self._commit(ended(self._state, self._tools.clock.now()), ())

    async def _call(self, call: TimerCall) -> FailureDetails | None:
        """Run the function. It is not run again when it fails or its process dies, as on Azure."""
        while True:
            try:
                return await self._tools.executor.run_timer(call)
            except WorkerAbsent as error:  # it has certainly not run
                if self.is_closed or self._must_release:
                    return FailureDetails(str(error))
                await self._tools.clock.sleep(self._tools.settings.retry_seconds)
            except AppError as error:
                return FailureDetails(str(error))

    async def _commit(self, state: TimerState, declared: tuple[int, ...]) -> bool:
        now = self._tools.clock.now()
        receipt = await self._tools.store.commit(
            Outcome(
                generation=self.generation,
                execution_id="",
                epoch=self.epoch,
                history_length=0,
                at=now,
                events=(),
                consumed=declared,
                status=RuntimeStatus.RUNNING,
                custom_status=None,
                output=encode_timer(state),
                failure=None,
                due_at=now if state.firing_at is not None else state.next_at,
            )
        )
        if receipt is None:
            _log.info("stale commit refused", instance_id=self.instance_id)
            return False
        self._state = state
        return True

    def _is_due(self, now: datetime) -> bool:
        return self._state.next_at is not None and self._state.next_at <= now

    def _next_after(self, at: datetime) -> datetime | None:
        return self._schedule.next_after(at, self._zone)
