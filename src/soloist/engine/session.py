"""Sessions: one instance while this host works on it.

*Theory of operation.* A session owns the folded state of one leased instance and is the only
thing that changes it. Completions of activities, messages of the inbox and timers that fall due
*arrive*; whatever has arrived by then is taken together as one turn: the code is run over it, the
core says what that means, and one commit makes it durable. Only then are new activities begun.

An activity that is all that the code waits for may come back with the turn that it caused: whoever
ran it fed its result to the code on the spot. Such a turn counts only if nothing has entered the
history since the activity was begun; else it is as if the code had never been run over it. Then
the executor's session stands ahead of ours, asks for the history, and is made anew from it.

A commit that is refused means that somebody else holds the instance: the session drops dead and
tells nobody, because all that it did since its last commit never happened.

A session that fails for any other reason is dropped as well and its lease given back, so the
instance is loaded again from what is durable. There is no repair of state in memory.
"""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

import msgspec

from soloist.contracts.executor import (
    ActivityCall,
    Episode,
    FedTurn,
    Feed,
    HistoryNeeded,
)
from soloist.core.actions import (
    HTTP_ACTIVITY,
    CompleteExecution,
    ContinueAsNew,
    EpisodeResult,
)
from soloist.core.episode import Conclusion, End, Turn, close_turn, open_turn
from soloist.core.events import (
    Arrival,
    EntityMail,
    ExecutionStarted,
    ExecutionTerminated,
    HistoryEvent,
    TaskCompleted,
    TaskFailed,
    TaskScheduled,
    TimerFired,
)
from soloist.core.failures import FailureDetails
from soloist.core.instances import Lease
from soloist.core.messages import Execution
from soloist.core.outcomes import NextExecution, Outcome, record_after
from soloist.core.state import OrchestrationState
from soloist.core.work import WorkKind
from soloist.engine.held import Held, HeldEnd, Tools
from soloist.errors import AppError, WorkerAbsent, WorkerLost
from soloist.telemetry import logger

_log = logger(__name__)
_NO_CODE = EpisodeResult()


class _Wait(msgspec.Struct, frozen=True):
    """Nothing is shown to the code until then; ``None``: until somebody wakes the session."""

    until: datetime | None = None


class _Arrived(msgspec.Struct, frozen=True):
    """What is taken as one turn, and the inbox messages that it uses up; ``fed`` is what the code
    made of it, if it was run already."""

    arrivals: list[Arrival]
    consumed: tuple[int, ...] = ()
    fed: FedTurn | None = None


class _Errand:
    """Brings an activity's completion to the execution that asked for it, and to no other.

    It lets go of its session when that execution is over: of what has ended, nothing is kept until
    somebody looks for cycles.
    """

    def __init__(self, session: Session) -> None:
        self._session: Session | None = session

    @property
    def is_closed(self) -> bool:
        """Whether the execution is over or its session is."""
        return self._session is None or self._session.is_closed

    def close(self) -> None:
        """Bring nothing any more."""
        self._session = None

    def feed(self, task_id: int) -> Feed | None:
        """Say where the code stands, if the activity is all that it waits for."""
        return None if self._session is None else self._session.feed(task_id)

    def arrive(self, completion: TaskCompleted | TaskFailed, turn: FedTurn | None) -> None:
        """Take the activity's completion, and the turn that it caused if the code was fed it."""
        if self._session is not None:
            self._session.arrive(completion, turn)


class Session(Held):
    """One leased orchestration at work."""

    def __init__(self, lease: Lease, tools: Tools) -> None:
        super().__init__(lease, tools)
        record = self._record = lease.record
        self._execution = self._execution_of(record.execution_id)
        self._errand = _Errand(self)
        self._state = OrchestrationState()
        self._end: End | None = None
        self._past: tuple[HistoryEvent, ...] | None = ()
        self._fed = 0
        self._unfed: list[HistoryEvent] = []
        self._fed_at_length = 0
        self._fed_turn: FedTurn | None = None
        self._custom_status = record.custom_status
        self._started: ExecutionStarted | None = None
        self._completions: list[Arrival] = []
        self._next_timer_at: datetime | None = None

    def feed(self, task_id: int) -> Feed | None:
        """Say where the code stands, if the activity is all that it waits for."""
        is_at_hand = self._past is None and not self._unfed and self._end is None
        if not is_at_hand or not self._state.waits_only_for(task_id) or self._mailbox.has_messages:
            return None
        now, clock_at = self._tools.clock.now(), self._state.clock_at
        if clock_at is not None and clock_at > now:
            return None
        self._fed_at_length = self._state.length
        return Feed(self._record.name, self._execution.execution_id, self._fed, now)

    def arrive(self, completion: TaskCompleted | TaskFailed, turn: FedTurn | None) -> None:
        """Take the completion of an activity, and the turn that it caused if there is one."""
        self._completions.append(completion)
        self._fed_turn = turn
        self._awake.set()

    async def _work(self) -> HeldEnd:
        try:
            await self._load()
            while True:
                arrived = await self._next_arrivals()
                if self.is_closed:
                    return HeldEnd.STALE
                if arrived is None:
                    return await self._give_back()
                conclusion = await self._turn(arrived)
                if conclusion is None:
                    return HeldEnd.STALE
                if conclusion.is_over and not isinstance(conclusion.end, ContinueAsNew):
                    return HeldEnd.OVER
        finally:
            self._errand.close()
            self._tools.executor.forget(self.generation)

    async def _load(self) -> None:
        record = self._record
        if record.history_length == 0:
            self._begin_execution(record.execution_id, record.input, record.created_at)
            return
        self._past = await self._tools.store.history(self.generation)
        self._state.extend(self._past)
        answered = {
            message.event.task_id
            for message in self._mailbox.messages
            if isinstance(message.event, TaskCompleted | TaskFailed)
        }
        for scheduled in self._state.open_tasks.values():
            if scheduled.task_id not in answered:
                self._begin_activity(scheduled)
        self._next_timer_at = self._state.next_timer_at()

    def _execution_of(self, execution_id: str) -> Execution:
        record = self._record
        return Execution(
            instance_id=record.instance_id,
            generation=record.generation,
            execution_id=execution_id,
            name=record.name,
            parent=record.parent,
            default_version=self._tools.settings.versions.version,
        )

    def _begin_execution(self, execution_id: str, payload: str | None, at: datetime) -> None:
        self._execution = self._execution_of(execution_id)
        self._state = OrchestrationState()
        self._end = None
        self._past = ()
        self._fed = 0
        self._unfed = []
        self._next_timer_at = None
        self._completions.clear()
        record = self._record
        self._errand.close()
        self._errand = _Errand(self)
        self._started = ExecutionStarted(
            at,
            record.name,
            execution_id,
            payload,
            record.version,
            None if record.parent is None else record.parent.instance_id,
            record.extras,
        )

    async def _next_arrivals(self) -> _Arrived | None:
        """Wait for something to do; ``None`` when the instance is to be given back before."""
        while not self.is_closed and (not self._must_release or self._completions):
            self._awake.clear()
            if self._mailbox.has_mail:
                await self._mailbox.read()
            fed = self._take_fed()
            if fed is not None:
                return fed
            wait = self._must_wait()
            if wait is None:
                return self._take_arrivals()
            self._wake_at(wait.until)
            if not self._state.open_tasks:
                self._tools.on_rest(self)
            await self._awake.wait()
            self._tools.on_wake(self)
        return None

    def _must_wait(self) -> _Wait | None:
        """Return until when nothing may be shown to the code: while there is nothing, before the
        time at which it begins, or while nobody can run it. A termination needs no code and is let
        through."""
        if not self._has_arrivals():
            return _Wait(self._next_timer_at)
        if self._is_terminated():
            return None
        start_at = self._start_at()
        if start_at is not None:
            return _Wait(start_at)
        record = self._record
        kind = WorkKind.ORCHESTRATION
        return None if self._absence(kind, record.name, record.version) is None else _Wait()

    def _has_arrivals(self) -> bool:
        if self._completions or self._started is not None or self._mailbox.messages:
            return True
        timer_at = self._next_timer_at
        return timer_at is not None and timer_at <= self._tools.clock.now()

    def _is_terminated(self) -> bool:
        waiting = self._mailbox.messages
        return bool(waiting) and any(
            isinstance(each.event, ExecutionTerminated) for each in waiting
        )

    def _start_at(self) -> datetime | None:
        """Return when the instance begins, if that is yet to come."""
        extras = self._record.extras
        if extras is None or extras.start_at is None or self._state.length:
            return None
        return extras.start_at if extras.start_at > self._tools.clock.now() else None

    def _retry_at(self) -> datetime | None:
        return self._start_at() or super()._retry_at()

    def _take_fed(self) -> _Arrived | None:
        """Take the completion that the code was fed already, if that is what comes next."""
        fed, self._fed_turn = self._fed_turn, None
        is_next = fed is not None and self._fed_at_length == self._state.length
        if not is_next or self._is_terminated():
            return None
        # Of one open task there is one completion.
        return _Arrived([self._completions.pop()], fed=fed)

    def _take_arrivals(self) -> _Arrived:
        room = self._tools.settings.max_arrivals_per_turn
        arrivals: list[Arrival] = []
        if self._started is not None:
            arrivals.append(self._started)
            self._started = None
        arrivals += self._completions[:room]
        del self._completions[:room]
        arrivals += self._fired_timers()
        consumed: list[int] = []
        inbox = self._mailbox.messages
        while inbox and len(arrivals) < room:
            message = inbox.popleft()
            assert not isinstance(message.event, EntityMail), "for entities"
            arrivals.append(message.event)
            consumed.append(message.message_id)
        return _Arrived(arrivals, tuple(consumed))

    def _fired_timers(self) -> list[TimerFired]:
        if self._next_timer_at is None:
            return []
        now = self._tools.clock.now()
        if now < self._next_timer_at:
            return []
        due = [timer for timer in self._state.open_timers.values() if timer.fire_at <= now]
        due.sort(key=lambda timer: (timer.fire_at, timer.task_id))
        return [TimerFired(now, timer.task_id, timer.fire_at) for timer in due]

    async def _turn(self, arrived: _Arrived) -> Conclusion | None:
        """Take one turn and commit it; ``None`` when the lease turned out to be lost."""
        tools = self._tools
        fed = arrived.fed
        opened_at = tools.clock.now() if fed is None else fed.at
        turn = open_turn(self._state, arrived.arrivals, self._end, opened_at)
        history_length = self._state.length
        result = await self._run_code(turn, fed) if turn.needs_code else _NO_CODE
        if result is None:
            return None
        now = max(tools.clock.now(), opened_at)
        conclusion = close_turn(
            self._state, turn, result, self._end, now, tools.settings.limits, self._execution
        )
        if result.custom_status is not None:
            self._custom_status = None if result.custom_status == "null" else result.custom_status
        outcome = self._outcome(conclusion, arrived.consumed, history_length, now)
        self.is_ending = conclusion.is_over and outcome.next_execution is None
        claim = tools.claim() if outcome.outgoing else None
        receipt = await tools.store.commit(outcome, claim)
        if receipt is None:
            _log.info("stale commit refused", instance_id=self.instance_id)
            return None
        tools.on_commit(receipt)
        if turn.needs_code:
            self._past = None
            self._unfed = []
        elif conclusion.end is None:
            self._unfed += turn.events
        self._end = conclusion.end
        self._carry_on(conclusion, outcome, now)
        return conclusion

    def _outcome(
        self,
        conclusion: Conclusion,
        consumed: tuple[int, ...],
        history_length: int,
        now: datetime,
    ) -> Outcome:
        next_execution = None
        if conclusion.is_over and isinstance(conclusion.end, ContinueAsNew):
            end = conclusion.end
            next_execution = NextExecution(uuid4().hex, end.input, end.carried, end.version)
        self._next_timer_at = self._state.next_timer_at()
        waits_for_time_only = next_execution is None and not self._state.open_tasks
        return Outcome(
            generation=self.generation,
            execution_id=self._execution.execution_id,
            epoch=self.epoch,
            history_length=history_length,
            at=now,
            events=() if next_execution is not None else conclusion.events,
            consumed=consumed,
            status=conclusion.status,
            custom_status=self._custom_status,
            output=conclusion.output,
            failure=conclusion.failure,
            due_at=self._next_timer_at if waits_for_time_only else now,
            next_execution=next_execution,
            outgoing=conclusion.outgoing,
        )

    def _carry_on(self, conclusion: Conclusion, outcome: Outcome, now: datetime) -> None:
        """Begin what the committed turn asked for."""
        following = outcome.next_execution
        if following is not None:
            self._record = record_after(self._record, outcome)
            self._begin_execution(following.execution_id, following.input, now)
            # Answers for the execution that has ended are gone, and what was carried stands first.
            self._mailbox.read_afresh()
            return
        if conclusion.is_over:
            self.ended_as = record_after(self._record, outcome)
            if conclusion.failure is not None:
                self._tell_of_failure(conclusion.failure)
            return
        for event in conclusion.events:
            if isinstance(event, TaskScheduled):
                self._begin_activity(event)

    def _tell_of_failure(self, failure: FailureDetails) -> None:
        _log.error(
            "an orchestration failed",
            orchestrator=self._record.name,
            instance_id=self.instance_id,
            reason=failure.message,
            exception=failure.stack_trace or None,
        )

    def _begin_activity(self, scheduled: TaskScheduled) -> None:
        call = ActivityCall(
            generation=self.generation,
            instance_id=self.instance_id,
            task_id=scheduled.task_id,
            name=scheduled.name,
            input=scheduled.input,
            extras=scheduled.extras,
        )
        tools = self._tools
        # A call that is polled for hours must not hold up the app's own activities.
        pool = tools.http_calls if scheduled.name == HTTP_ACTIVITY else tools.activities
        pool.submit(self._errand, call)

    async def _run_code(self, turn: Turn, fed: FedTurn | None) -> EpisodeResult | None:
        """Run the user's code over one turn, unless it was ``fed`` it, giving it the past when it
        has lost it; ``None`` when the instance is to be given back and nobody has run it."""
        if fed is not None:
            self._fed += len(turn.events)
            return fed.result
        losses = 0
        while True:
            try:
                async with self._tools.episodes:
                    return await self._run_episode(turn)
            except HistoryNeeded:
                await self._read_past()
            except WorkerLost as error:
                losses += not isinstance(error, WorkerAbsent)
                if self.is_closed:
                    raise
                if losses >= self._tools.settings.max_worker_losses:
                    text = f"The worker process was lost {losses} times in this turn. {error}"
                    return EpisodeResult((CompleteExecution(failure=FailureDetails(text)),))
                if not await self._can_be_run():
                    return None
                await self._read_past()
            except AppError as error:
                return EpisodeResult((CompleteExecution(failure=FailureDetails(str(error))),))

    async def _can_be_run(self) -> bool:
        """Wait until somebody knows the function; ``False`` when the instance must go before."""
        record = self._record
        while True:
            self._awake.clear()
            if self._absence(WorkKind.ORCHESTRATION, record.name, record.version) is None:
                return True
            if self.is_closed or self._must_release:
                return False
            self._tools.on_rest(self)
            await self._awake.wait()
            self._tools.on_wake(self)

    async def _read_past(self) -> None:
        self._past = await self._tools.store.history(self.generation)
        self._unfed = []

    async def _run_episode(self, turn: Turn) -> EpisodeResult:
        past = self._past
        position = self._fed if past is None else len(past)
        events = (*self._unfed, *turn.events)
        result = await self._tools.executor.run_episode(
            Episode(
                generation=self.generation,
                execution_id=self._execution.execution_id,
                instance_id=self.instance_id,
                name=self._record.name,
                position=position,
                events=events,
                past=past,
            )
        )
        self._fed = position + len(events)
        return result
