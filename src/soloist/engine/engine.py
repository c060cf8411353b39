"""One host's engine: it finds due instances, holds their sessions and lets them go."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

import msgspec

from soloist.contracts.clock import Alarm, Clock
from soloist.contracts.executor import Executor
from soloist.contracts.store import Store
from soloist.core.events import ExecutionCompleted
from soloist.core.failures import FailureDetails
from soloist.core.instances import Lease
from soloist.core.outcomes import Outcome
from soloist.core.status import RuntimeStatus
from soloist.engine.activities import ActivityPool
from soloist.engine.session import Session, SessionEnd, SessionTools
from soloist.engine.settings import EngineSettings
from soloist.errors import HistoryCorrupt, Overloaded, StoreUnavailable
from soloist.telemetry import logger

_log = logger(__name__)
_MAX_RETRY_SECONDS = 60.0


class DrainProgress(msgspec.Struct, frozen=True):
    """What a draining engine still waits for."""

    activities_running: int
    sessions_held: int


class Engine:
    """The host of a task hub in this process; also the ear of ``contracts.wakeups``."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        executor: Executor,
        settings: EngineSettings | None = None,
        *,
        name: str = "host",
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings or EngineSettings()
        self._name = name
        self._host_id: int | None = None
        self._activities = ActivityPool(
            executor,
            clock,
            concurrency=self._settings.max_concurrent_activities,
            max_worker_losses=self._settings.max_worker_losses,
            max_payload_bytes=self._settings.limits.max_payload_bytes,
        )
        self._tools = SessionTools(
            store,
            clock,
            executor,
            self._activities,
            self._settings,
            asyncio.Semaphore(self._settings.max_concurrent_episodes),
            self._on_rest,
            self._on_wake,
        )
        self._sessions: dict[int, Session] = {}
        self._resting: OrderedDict[int, tuple[Session, datetime]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._look_around = asyncio.Event()
        self._retry_seconds: dict[int, float] = {}
        self._due_instances = 0
        self._is_draining = False

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Join the hub as a host and begin to work.

        Raises:
            HubInUse: another host runs this hub.
        """
        self._host_id = await self._store.join(self._name)
        self._loops = [
            asyncio.create_task(self._forever(self._lease_once)),
            asyncio.create_task(self._forever(self._renew_once)),
        ]

    async def stop(
        self,
        drain_seconds: float = 0.0,
        report: Callable[[DrainProgress], None] | None = None,
    ) -> None:
        """Let running activities end, at most ``drain_seconds``; give everything back.

        What is not finished then is run again by the next host. ``report`` is called about once a
        second while there is something to wait for.
        """
        self._is_draining = True
        await self._cancel(self._loops)
        await self._drain(drain_seconds, report)
        for session in self._sessions.values():
            session.release()
        await self._settle_sessions(drain_seconds)
        await self._activities.close()
        if self._host_id is not None:
            host_id, self._host_id = self._host_id, None
            try:
                await self._store.leave(host_id)
            except StoreUnavailable as error:
                _log.warning("leases left to expire", reason=str(error))

    async def _drain(
        self, drain_seconds: float, report: Callable[[DrainProgress], None] | None
    ) -> None:
        idle = asyncio.Event()
        self._activities.stop_taking(idle.set)
        deadline = self._clock.now() + timedelta(seconds=drain_seconds)
        while self._activities.running and self._clock.now() < deadline:
            idle.clear()
            if report is not None:
                report(DrainProgress(self._activities.running, len(self._sessions)))
            remaining = (deadline - self._clock.now()).total_seconds()
            await self._wait(idle, min(1.0, remaining))

    async def _settle_sessions(self, drain_seconds: float) -> None:
        settled = asyncio.Event()
        waiting = asyncio.create_task(self._gather_sessions(settled))
        await self._wait(settled, max(drain_seconds, self._settings.retry_seconds))
        await self._cancel([waiting, *self._tasks])

    async def _gather_sessions(self, settled: asyncio.Event) -> None:
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        settled.set()

    @staticmethod
    async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
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
        if self._is_draining:
            self._begin(self._give_back(lease.record.generation, lease.epoch))
            return
        if len(self._sessions) >= self._settings.max_sessions:
            self._let_go_longest_resting()
        session = Session(lease, self._tools)
        self._sessions[session.generation] = session
        self._begin(self._host(session))

    def mail(self, generation: int) -> None:
        """Let the holder read its inbox; if it is held elsewhere or by nobody, look around."""
        session = self._sessions.get(generation)
        if session is not None:
            session.check_mail()
        else:
            self.work_waits()

    def work_waits(self) -> None:
        """Look for due instances now rather than at the next poll, if there is room for them."""
        if self._room() > 0:
            self._look_around.set()
        else:
            self._due_instances += 1

    # -- sessions -------------------------------------------------------------------------------

    async def _host(self, session: Session) -> None:
        """Run a session to its end and clean up behind it."""
        try:
            end = await session.run()
        except asyncio.CancelledError:
            raise
        except HistoryCorrupt as error:
            end = SessionEnd.FAILED
            await self._condemn(session, error)
        except StoreUnavailable as error:
            end = SessionEnd.FAILED
            _log.warning("store unavailable", instance_id=session.instance_id, reason=str(error))
        except Exception:  # noqa: BLE001  # whatever it was, the lease is given back
            end = SessionEnd.FAILED
            _log.exception("session failed", instance_id=session.instance_id)
        finally:
            self._resting.pop(session.generation, None)
            if self._sessions.get(session.generation) is session:
                del self._sessions[session.generation]
        if end is SessionEnd.FAILED:
            await self._give_back_later(session)
        else:
            self._retry_seconds.pop(session.generation, None)
        if self._due_instances:
            self._look_around.set()

    async def _condemn(self, session: Session, error: HistoryCorrupt) -> None:
        """Fail an instance whose history or whose executor breaks a law: no retry would help."""
        _log.error("instance fails", instance_id=session.instance_id, reason=str(error))
        record = await self._store.read(session.instance_id)
        if record is None or record.generation != session.generation:
            return
        now = self._clock.now()
        failure = FailureDetails(f"Soloist cannot go on with this instance. {error}")
        completed = ExecutionCompleted(now, RuntimeStatus.FAILED, None, failure)
        await self._store.commit(
            Outcome(
                generation=record.generation,
                execution_id=record.execution_id,
                epoch=session.epoch,
                history_length=record.history_length,
                at=now,
                events=(completed,),
                consumed=(),
                status=RuntimeStatus.FAILED,
                custom_status=record.custom_status,
                output=None,
                failure=failure,
                due_at=None,
            )
        )

    async def _give_back_later(self, session: Session) -> None:
        """Give a failed session's lease back, more slowly each time it fails again."""
        generation = session.generation
        pause = self._retry_seconds.get(generation, self._settings.retry_seconds)
        self._retry_seconds[generation] = min(pause * 2, _MAX_RETRY_SECONDS)
        await self._clock.sleep(pause)
        await self._give_back(generation, session.epoch)

    async def _give_back(self, generation: int, epoch: int) -> None:
        while True:
            try:
                await self._store.release(generation, epoch)
            except StoreUnavailable:
                await self._clock.sleep(self._settings.retry_seconds)
            else:
                self._look_around.set()
                return

    def _on_rest(self, session: Session) -> None:
        self._resting[session.generation] = (session, self._clock.now())

    def _on_wake(self, session: Session) -> None:
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
                _log.warning("store unavailable", reason=str(error))
                await self._clock.sleep(self._settings.retry_seconds)
            except Exception:  # noqa: BLE001  # the host must go on
                _log.exception("the engine stumbled")
                await self._clock.sleep(self._settings.retry_seconds)

    async def _lease_once(self) -> None:
        """Take what is due while there is room, then wait for more.

        With no room the line is counted instead, so that starts can be refused when it is full.
        """
        self._look_around.clear()
        self._let_go_idle()
        limit = min(self._settings.lease_batch, max(0, self._room()))
        host_id = self._host_id
        assert host_id is not None, "the loops run only while the host has joined"
        grant = await self._store.lease(host_id, limit)
        for lease in grant.leases:
            self.granted(lease)
        for generation in grant.mail:
            self.mail(generation)
        if limit and len(grant.leases) == limit:
            return
        self._due_instances = 0 if limit else (await self._store.backlog()).due
        pause = self._settings.poll_seconds
        if grant.next_due_at is not None:
            until_due = (grant.next_due_at - self._clock.now()).total_seconds()
            pause = max(0.0, min(pause, until_due)) if limit else pause
        await self._wait(self._look_around, pause)

    async def _renew_once(self) -> None:
        """Prolong the leases; start afresh when they were already lost."""
        await self._clock.sleep(self._settings.renew_seconds)
        host_id = self._host_id
        if host_id is not None and not await self._store.renew(host_id):
            _log.warning("this host was considered gone; it joins again", host=self._name)
            self._host_id = await self._store.join(self._name)

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

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
