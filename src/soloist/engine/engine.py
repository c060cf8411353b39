"""One host's engine: it finds due instances, holds their sessions and lets them go."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from soloist.contracts.clock import Alarm, Clock
from soloist.contracts.executor import Absence, Executor, nobody_is_absent
from soloist.contracts.store import Store
from soloist.core.events import ExecutionCompleted, TimerDeclared
from soloist.core.failures import FailureDetails
from soloist.core.ids import is_entity_id, timer_function, timer_id
from soloist.core.instances import CommitReceipt, InstanceRecord, Lease
from soloist.core.messages import Execution, answer_parent
from soloist.core.outcomes import Outcome
from soloist.core.status import RuntimeStatus
from soloist.core.timers import TimerTrigger
from soloist.core.versions import FailureStrategy
from soloist.core.work import Lacks
from soloist.engine.activities import ActivityPool
from soloist.engine.entities import EntitySession
from soloist.engine.held import Held, HeldEnd, Tools
from soloist.engine.outage import Outage
from soloist.engine.session import Session
from soloist.engine.settings import EngineSettings
from soloist.engine.timers import TimerSession
from soloist.errors import HistoryCorrupt, Overloaded, StoreGone, StoreUnavailable
from soloist.telemetry import logger

_log = logger(__name__)
_MAX_RETRY_SECONDS = 60.0
_MIN_PAUSE_SECONDS = 0.001
_REPORT_SECONDS = 1.0
_MAX_LEFT_VERSIONS = 100
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_MOST_NAMED = 5


class DrainProgress(msgspec.Struct, frozen=True):
    """What a draining engine still waits for."""

    activities_running: int
    sessions_held: int


class Engine:
    """The host of a task hub in this process; also the ear of ``contracts.wakeups``.

    ``is_versioned`` says of an orchestrator whether the version rule of the settings is for it.
    What ``lacks`` returns is told the hub with each renewal.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        executor: Executor,
        settings: EngineSettings | None = None,
        *,
        name: str = "host",
        address: str = "",
        version: str = "",
        timers: Mapping[str, TimerTrigger] | None = None,
        absence: Absence = nobody_is_absent,
        lacks: Callable[[], Lacks | None] = lambda: None,
        is_versioned: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._store = store
        self._clock = clock
        self._executor = executor
        self._settings = settings or EngineSettings()
        self._name = name
        self._address = address
        self._version = version
        self._timers = dict(timers or {})
        self._host_id: int | None = None
        self._activities = self._pool(self._settings.max_concurrent_activities)
        self._http_calls = self._pool(self._settings.max_concurrent_http_calls)
        self._tools = Tools(
            store,
            clock,
            executor,
            self._activities,
            self._http_calls,
            self._settings,
            episodes=asyncio.Semaphore(self._settings.max_concurrent_episodes),
            batches=asyncio.Semaphore(self._settings.max_concurrent_entities),
            on_rest=self._on_rest,
            on_wake=self._on_wake,
            claim=self._claim,
            on_commit=self._on_commit,
            absence=absence,
        )
        self._lacks = lacks
        self._is_versioned = is_versioned
        self._sessions: dict[int, Held] = {}
        self._by_id: dict[str, Held] = {}
        self._resting: OrderedDict[int, tuple[Held, datetime]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._returns: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._look_around = asyncio.Event()
        self._looks_at = _LONG_AGO
        self._retry_seconds: dict[int, float] = {}
        self._watchers: dict[int, set[asyncio.Future[InstanceRecord | None]]] = {}
        self._due_instances = 0
        self._left_versions: frozenset[str] = frozenset()
        self._is_draining = False
        self._outage = Outage(clock)

    def _pool(self, concurrency: int) -> ActivityPool:
        return ActivityPool(
            self._executor,
            self._clock,
            concurrency=concurrency,
            max_worker_losses=self._settings.max_worker_losses,
            max_payload_bytes=self._settings.limits.max_payload_bytes,
        )

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Join the hub as a host and begin to work.

        Raises:
            HubInUse: another host runs this hub.
        """
        self._store.on_news(self._look_around.set)
        self._host_id = await self._join()
        await self._declare_timers()
        self._loops = [
            asyncio.create_task(self._forever(self._lease_once)),
            asyncio.create_task(self._forever(self._renew_once)),
        ]

    async def _join(self) -> int:
        return await self._store.join(
            self._name,
            address=self._address,
            version=self._version,
            app_version=self._settings.versions.version,
        )

    async def _declare_timers(self) -> None:
        """Bring the timers of the app into being, or tell their keepers that a host came up."""
        for function, trigger in self._timers.items():
            event = TimerDeclared(self._clock.now(), trigger.runs_on_startup)
            receipt = await self._store.deliver(timer_id(function), event, self._claim())
            if receipt.lease is not None:
                self.granted(receipt.lease)
            else:
                self.mail(receipt.generation)

    async def stop(
        self,
        drain_seconds: float = 0.0,
        report: Callable[[DrainProgress], None] | None = None,
    ) -> None:
        """Let running activities end, at most ``drain_seconds``; give everything back.

        However this ends, by an error or by cancelling it, no session lives on.

        What is not finished then is run again by the next host. ``report`` is called about once a
        second while there is something to wait for.

        Raises:
            StoreGone: the hub's file is gone; no host goes on with what is unfinished.
        """
        if self._is_draining:
            return
        self._is_draining = True
        time_is_up = asyncio.Event()
        patience = timedelta(seconds=max(drain_seconds, self._settings.retry_seconds))
        alarm = self._clock.call_at(self._clock.now() + patience, time_is_up.set)
        ended = asyncio.Event()
        # Before anything is awaited: what the executor hands back from here on is begun no more.
        self._activities.stop_taking(ended.set)
        self._http_calls.stop_taking(lambda: None)
        try:
            # Not the renewing: what is held while it drains must not be taken over.
            await self._cancel([*self._loops[:1], *self._returns])
            if drain_seconds > 0:
                await self._drain(ended, time_is_up, report)
            for session in self._sessions.values():
                session.release()
            await self._settle_sessions(time_is_up)
        finally:
            self._tell_abandoned()
            alarm.cancel()
            await self._cancel([*self._loops, *self._returns, *self._tasks])
            await self._activities.close()
            await self._http_calls.close()
            await self._leave()

    def _tell_abandoned(self) -> None:
        """Say which activities the stop does not wait for."""
        names = [*self._activities.running_names(), *self._http_calls.running_names()]
        if names:
            more = len(names) - _MOST_NAMED
            _log.warning(
                "activities are abandoned by the stop; their instances run them again",
                activities=", ".join(names[:_MOST_NAMED])
                + (f" and {more} more" if more > 0 else ""),
            )

    async def _leave(self) -> None:
        if self._host_id is not None:
            host_id, self._host_id = self._host_id, None
            try:
                await self._store.leave(host_id)
            except StoreGone:
                raise
            except (StoreUnavailable, Overloaded) as error:
                _log.warning("leases left to expire", reason=str(error))

    async def _drain(
        self,
        ended: asyncio.Event,
        time_is_up: asyncio.Event,
        report: Callable[[DrainProgress], None] | None,
    ) -> None:
        while self._activities.running and not time_is_up.is_set():
            ended.clear()
            if report is not None:
                report(DrainProgress(self._activities.running, len(self._sessions)))
            await self._wait(ended, _REPORT_SECONDS)

    async def _settle_sessions(self, time_is_up: asyncio.Event) -> None:
        """Let every session finish its turn and give its lease back."""
        over = asyncio.create_task(time_is_up.wait())
        while self._tasks and not over.done():
            await asyncio.wait({over, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        await self._cancel([over])

    @staticmethod
    async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- the ear --------------------------------------------------------------------------------

    def claimant(self) -> int | None:
        """Return this host's id while it has room for one more instance.

        Raises:
            Overloaded: the line of due instances has reached its bound.
        """
        if self._is_draining or self._host_id is None:
            return None
        if self._room() > 0:
            return self._host_id
        if self._due_instances >= self._settings.max_due_instances:
            raise Overloaded(
                f"The hub is full: {self._due_instances} instances wait to be run"
                " (setting max_due_instances)."
            )
        return None

    def granted(self, lease: Lease) -> None:
        """Begin to work on a leased instance."""
        generation = lease.record.generation
        # More may have been promised, by claims that ran side by side, than there is room for.
        if self._is_draining or self._room() <= 0:
            self._begin(self._give_back(generation, lease.epoch), self._returns)
            return
        try:
            session = self._session_for(lease)
        except Exception:  # noqa: BLE001  # one row that cannot be read must not stop its neighbours
            _log.exception("an instance cannot be taken up", instance_id=lease.record.instance_id)
            self._begin(self._leave_to_others(lease), self._returns)
            return
        if session is None:
            return
        if len(self._sessions) >= self._settings.max_sessions:
            self._let_go_longest_resting()
        self.replaced(generation)
        self._sessions[generation] = session
        self._by_id[session.instance_id] = session
        self._begin(self._host(session))

    def _session_for(self, lease: Lease) -> Held | None:
        """Return what works on the instance; ``None`` when it is not for this host to run."""
        record = lease.record
        if not is_entity_id(record.instance_id):
            versions = self._settings.versions
            if versions.admits(record.version) or not self._is_versioned(record.name):
                return Session(lease, self._tools)
            self._begin(self._refuse_version(lease), self._returns)
            return None
        function = timer_function(record.instance_id)
        if function is None:
            return EntitySession(lease, self._tools)
        trigger = self._timers.get(function)
        if trigger is not None:
            return TimerSession(lease, function, trigger, self._tools)
        self._begin(self._leave_to_others(lease), self._returns)
        return None

    async def _leave_to_others(self, lease: Lease) -> None:
        """Give back what only a host with another version of the app can run."""
        retry_at = self._clock.now() + timedelta(seconds=self._settings.reject_seconds)
        await self._give_back(lease.record.generation, lease.epoch, retry_at)

    async def _refuse_version(self, lease: Lease) -> None:
        """Do with an instance of an unfitting version what ``versionFailureStrategy`` says."""
        record = lease.record
        rule = self._settings.versions
        text = (
            f"The instance has version {record.version or '(none)'}, which does not comply with"
            f" this host's version {rule.version or '(none)'} (match strategy {rule.match})."
        )
        if rule.failure is FailureStrategy.FAIL:
            try:
                await self._fail(record, lease.epoch, FailureDetails(text, "VersionMismatch"))
            except (StoreUnavailable, Overloaded):
                await self._give_back(record.generation, lease.epoch)
            return
        version = record.version or ""
        if version not in self._left_versions:
            _log.warning("instances wait for another host", instance=record.instance_id, why=text)
            if len(self._left_versions) >= _MAX_LEFT_VERSIONS:
                await self._leave_to_others(lease)
                return
            self._left_versions |= {version}
        await self._give_back(record.generation, lease.epoch)

    def mail(self, generation: int) -> None:
        """Let the holder read its inbox; if it is held elsewhere or by nobody, look around."""
        session = self._sessions.get(generation)
        if session is not None:
            session.check_mail()
        else:
            self.work_waits()

    def replaced(self, generation: int) -> None:
        """Drop a session whose lease is lost: its code is run no more."""
        session = self._sessions.get(generation)
        if session is not None:
            session.abandon()

    def work_waits(self, due_at: datetime | None = None) -> None:
        """Look for due instances now rather than at the next poll, if there is room for them and
        the poll would come too late."""
        if due_at is not None and due_at >= self._looks_at:
            return
        if self._room() > 0:
            self._look_around.set()
        else:
            self._due_instances += 1

    def end_of(self, instance_id: str) -> asyncio.Future[InstanceRecord | None] | None:
        """Return a future that brings an instance as it ended, or nothing when its session is over
        for another reason, if it is held."""
        session = self._by_id.get(instance_id)
        # Whoever begins to wait when it may have ended already must look: before this host hears of
        # that commit, another may have let a new instance take its place.
        if session is None or session.is_ending:
            return None
        watcher: asyncio.Future[InstanceRecord | None] = asyncio.get_running_loop().create_future()
        watchers = self._watchers.setdefault(session.generation, set())
        watchers.add(watcher)
        watcher.add_done_callback(watchers.discard)
        return watcher

    def _tell_watchers(self, session: Held) -> None:
        for watcher in self._watchers.pop(session.generation, ()):
            if not watcher.done():
                watcher.set_result(session.ended_as)

    def _claim(self) -> int | None:
        """Return this host's id for what a commit sets in motion; a full hub lets it wait."""
        try:
            return self.claimant()
        except Overloaded:
            return None

    def _on_commit(self, receipt: CommitReceipt) -> None:
        for generation in receipt.replaced:
            self.replaced(generation)
        for lease in receipt.leases:
            self.granted(lease)
        for generation in receipt.mail:
            self.mail(generation)
        if receipt.waits:
            self.work_waits()

    # -- sessions -------------------------------------------------------------------------------

    async def _host(self, session: Held) -> None:
        """Run a session to its end and clean up behind it."""
        end = HeldEnd.FAILED
        try:
            try:
                end = await session.run()
            except HistoryCorrupt as error:
                await self._condemn(session, error)
                end = HeldEnd.OVER
        except (StoreUnavailable, Overloaded) as error:
            self._outage.put_off(session.instance_id, error)
        except Exception:  # noqa: BLE001  # whatever it was, the lease is given back
            _log.exception("session failed", instance_id=session.instance_id)
        finally:
            if self._sessions.get(session.generation) is session:
                del self._sessions[session.generation]
                self._resting.pop(session.generation, None)
                self._tell_watchers(session)
            if self._by_id.get(session.instance_id) is session:
                del self._by_id[session.instance_id]
        if end is HeldEnd.FAILED:
            self._begin(self._give_back_later(session), self._returns)
        else:
            self._retry_seconds.pop(session.generation, None)
        if end is HeldEnd.STALE:  # a lease that is no longer ours is not touched by this
            self._begin(self._give_back(session.generation, session.epoch), self._returns)
        if self._due_instances or end is HeldEnd.RELEASED:
            self._look_around.set()

    async def _condemn(self, session: Held, error: HistoryCorrupt) -> None:
        """Fail an instance whose history or whose executor breaks a law: no retry would help."""
        _log.error("instance fails", instance_id=session.instance_id, reason=str(error))
        record = await self._store.read(session.instance_id)
        if record is None or record.generation != session.generation:
            return
        failure = FailureDetails(f"Soloist cannot go on with this instance. {error}")
        await self._fail(record, session.epoch, failure)

    async def _fail(self, record: InstanceRecord, epoch: int, failure: FailureDetails) -> None:
        """End an instance without its code."""
        now = self._clock.now()
        execution = Execution(
            instance_id=record.instance_id,
            generation=record.generation,
            execution_id=record.execution_id,
            name=record.name,
            parent=record.parent,
        )
        completed = ExecutionCompleted(now, RuntimeStatus.FAILED, None, failure)
        receipt = await self._store.commit(
            Outcome(
                generation=record.generation,
                execution_id=record.execution_id,
                epoch=epoch,
                history_length=record.history_length,
                at=now,
                events=(completed,),
                consumed=(),
                status=RuntimeStatus.FAILED,
                custom_status=record.custom_status,
                output=None,
                failure=failure,
                due_at=None,
                outgoing=answer_parent(execution, RuntimeStatus.FAILED, None, failure, now),
            ),
            self._claim(),
        )
        if receipt is not None:
            self._on_commit(receipt)

    async def _give_back_later(self, session: Held) -> None:
        """Give a failed session's lease back, more slowly each time it fails again."""
        generation = session.generation
        pause = self._retry_seconds.get(generation, self._settings.retry_seconds)
        self._retry_seconds[generation] = min(pause * 2, _MAX_RETRY_SECONDS)
        await self._clock.sleep(pause)
        await self._give_back(generation, session.epoch)

    async def _give_back(
        self, generation: int, epoch: int, retry_at: datetime | None = None
    ) -> None:
        while True:
            try:
                await self._store.release(generation, epoch, retry_at)
            except (StoreUnavailable, Overloaded):
                await self._clock.sleep(self._settings.retry_seconds)
            else:
                self._look_around.set()
                return

    def _on_rest(self, session: Held) -> None:
        self._resting[session.generation] = (session, self._clock.now())

    def _on_wake(self, session: Held) -> None:
        self._resting.pop(session.generation, None)

    def _let_go_longest_resting(self) -> None:
        if self._resting:
            self._resting.popitem(last=False)[1][0].release()

    def _let_go_idle(self) -> None:
        limit = self._clock.now() - timedelta(seconds=self._settings.session_idle_seconds)
        while self._resting and next(iter(self._resting.values()))[1] <= limit:
            self._let_go_longest_resting()

    def _room(self) -> int:
        return self._settings.max_sessions - len(self._sessions) + len(self._resting)

    # -- loops ----------------------------------------------------------------------------------

    async def _forever(self, once: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await once()
            except asyncio.CancelledError:
                raise
            except StoreUnavailable as error:
                self._outage.met(error)
                await self._clock.sleep(self._settings.retry_seconds)
            except Exception:  # noqa: BLE001  # the host must go on
                _log.exception("the engine stumbled")
                await self._clock.sleep(self._settings.retry_seconds)

    async def _lease_once(self) -> None:
        """Take what is due while there is room, then wait for more.

        With no room the line is counted instead, so that starts can be refused when it is full.
        """
        self._look_around.clear()
        self._looks_at = self._clock.now() + timedelta(seconds=self._settings.poll_seconds)
        self._let_go_idle()
        limit = min(self._settings.lease_batch, max(0, self._room()))
        host_id = self._host_id
        assert host_id is not None, "the loops run only while the host has joined"
        grant = await self._store.lease(host_id, limit, self._left_versions)
        self._outage.over()
        for gone in grant.taken_over:
            _log.warning(
                "a host is gone; what it held is taken over",
                host=gone.name,
                host_id=gone.host_id,
                instances=gone.instances,
            )
        for lease in grant.leases:
            self.granted(lease)
        for generation in grant.mail:
            self.mail(generation)
        if limit and len(grant.leases) == limit:
            return
        self._due_instances = 0 if limit else (await self._store.backlog()).due
        pause = self._settings.poll_seconds
        if grant.next_due_at is not None and limit:
            until_due = (grant.next_due_at - self._clock.now()).total_seconds()
            # What is due and was not granted is in somebody else's hands for the moment.
            if until_due > 0 or grant.leases:
                pause = max(_MIN_PAUSE_SECONDS, min(pause, until_due))
        self._looks_at = self._clock.now() + timedelta(seconds=pause)
        await self._wait(self._look_around, pause)

    async def _renew_once(self) -> None:
        """Prolong the leases; start afresh when they were already lost."""
        await self._clock.sleep(self._settings.renew_seconds)
        host_id = self._host_id
        if host_id is not None and not await self._renewed(host_id):
            _log.warning("this host was considered gone; it joins again", host=self._name)
            for session in self._sessions.values():
                session.abandon()
            self._host_id = await self._join()

    async def _renewed(self, host_id: int) -> bool:
        """Prolong the leases; whatever is in the way, it is tried again soon."""
        while True:
            try:
                return await self._store.renew(host_id, self._lacks())
            except (StoreUnavailable, Overloaded) as error:
                self._outage.met(error)
                pause = min(self._settings.retry_seconds, self._settings.renew_seconds)
                await self._clock.sleep(pause)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        """Return when the event is set or the time is over."""
        if event.is_set():
            return
        alarm: Alarm = self._clock.call_at(
            self._clock.now() + timedelta(seconds=seconds), event.set
        )
        try:
            await event.wait()
        finally:
            alarm.cancel()

    def _begin(
        self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]] | None = None
    ) -> None:
        tasks = self._tasks if tasks is None else tasks
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
