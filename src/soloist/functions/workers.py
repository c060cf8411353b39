"""The worker pool: the executor that runs the user's Function app in workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from soloist.contracts.executor import (
    ActivityCall,
    ActivityResult,
    EntityBatch,
    EntityResult,
    Episode,
    HistoryNeeded,
    TimerCall,
)
from soloist.core.actions import EpisodeResult
from soloist.core.failures import FailureDetails
from soloist.errors import AppError, AppLoadFailed, WorkerAbsent, WorkerLost
from soloist.functions.clientdesk import ClientDesk, Management
from soloist.functions.links import OpenLink
from soloist.functions.seats import Answer, Seat, SeatLimits
from soloist.telemetry import logger
from soloist.wire import (
    ActivityDone,
    EntityDone,
    EpisodeDone,
    Forget,
    FunctionDescription,
    HandleDone,
    HistoryMissing,
    HttpDone,
    HttpFailed,
    Load,
    Loaded,
    RunActivity,
    RunEntity,
    RunEpisode,
    RunHandle,
    RunHttp,
    RunTimer,
    TimerDone,
)

_log = logger(__name__)

DEFAULT_DRAIN_SECONDS = 30.0
_MORE_CALLS = 4
"""By so many calls a worker may be busier than the least busy one and still get an activity
whose orchestrator it holds: a saved crossing is worth a short wait, not a long one."""


class HttpCall(msgspec.Struct, frozen=True, kw_only=True):
    """One run of an HTTP function; ``body`` is Base64, ``url`` as the caller sees it."""

    function: str
    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    params: dict[str, str]
    route_params: dict[str, str]
    body: str
    client_binding: str


class WorkerPool:
    """``contracts.executor.Executor`` over ``count`` workers, and the HTTP functions' runner.

    Episodes of one instance always meet the same worker, which holds its session; HTTP functions
    and activities go to the least busy one, but one that feeds a session to its holder.
    """

    def __init__(
        self,
        open_link: OpenLink,
        load: Load,
        *,
        count: int = 1,
        limits: SeatLimits | None = None,
        desk: ClientDesk | None = None,
    ) -> None:
        self._desk = desk or ClientDesk()
        self._seats = tuple(
            Seat(index, open_link, load, self._desk, limits or SeatLimits())
            for index in range(count)
        )
        self._count = count
        self.loaded: Loaded | None = None

    @property
    def functions(self) -> tuple[FunctionDescription, ...]:
        """What the app consists of; empty before the start."""
        return self.loaded.functions if self.loaded is not None else ()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers that are there now."""
        return tuple(seat.pid for seat in self._seats if seat.pid is not None)

    @property
    def in_flight(self) -> int:
        """How many calls are not answered yet."""
        return sum(len(seat.answers) for seat in self._seats)

    def answer_clients(self, management: Management) -> None:
        """From now on, let ``management`` answer the durable clients in user code."""
        self._desk.management = management

    def rebind(self, client_binding: str) -> None:
        """From now on, hand another binding to durable clients that no HTTP request calls."""
        for seat in self._seats:
            seat.rebind(client_binding)

    async def start(self) -> Loaded:
        """Start all workers and load the app in each.

        Raises:
            AppLoadFailed: the app does not load, or not the same in every worker.
        """
        try:
            results = await asyncio.gather(
                *(seat.start() for seat in self._seats), return_exceptions=True
            )
            self.loaded = _same(results)
        except BaseException:
            await self.close()
            raise
        return self.loaded

    async def run_episode(self, episode: Episode) -> EpisodeResult:
        """See ``contracts.executor``.

        Raises:
            HistoryNeeded: the worker does not hold the session.
            WorkerLost: it died.
            AppError: the episode cannot be written to a worker (too large).
        """
        seat = self._seats[episode.generation % self._count]
        if not seat.is_up:
            await seat.wait_up()
        answer = await seat.ask(
            RunEpisode(
                seat.next_call(),
                episode.generation,
                episode.execution_id,
                episode.instance_id,
                episode.name,
                episode.position,
                episode.events,
                episode.past,
            )
        )
        if type(answer) is EpisodeDone:
            return answer.result
        if type(answer) is HistoryMissing:
            raise HistoryNeeded
        raise _mismatch(answer)

    async def run_activity(self, call: ActivityCall) -> ActivityResult:
        """See ``contracts.executor``; a call that cannot be written to a worker has failed.

        Raises:
            WorkerLost: the worker died.
        """
        seat = await self._least_busy()
        holder = self._seats[call.generation % self._count]
        is_fed = call.feeds is not None and _may_wait(holder, seat)
        if is_fed:
            seat = holder
        question = RunActivity(
            seat.next_call(),
            call.name,
            call.input,
            call.instance_id,
            call.task_id,
            call.generation,
            call.feeds if is_fed else None,
        )
        try:
            answer = await seat.ask(question)
        except WorkerLost:
            raise
        except AppError as error:
            return ActivityResult(failure=FailureDetails(str(error)))
        if type(answer) is ActivityDone:
            return ActivityResult(answer.result, answer.failure, answer.turn)
        raise _mismatch(answer)

    async def run_entity(self, batch: EntityBatch) -> EntityResult:
        """See ``contracts.executor``.

        Raises:
            WorkerLost: the worker died.
            AppError: the batch cannot be written to a worker.
        """
        seat = await self._least_busy()
        answer = await seat.ask(
            RunEntity(seat.next_call(), batch.name, batch.key, batch.state, batch.operations)
        )
        if type(answer) is EntityDone:
            return answer.result
        raise _mismatch(answer)

    async def run_handle(self, trigger: str, name: str, body: str) -> HandleDone:
        """Call the SDK's handle of a modern orchestrator or entity; see ``wire.RunHandle``.

        Raises:
            WorkerLost: the worker died; nothing is kept of it, and it may be run again.
            AppError: the request cannot be written to a worker.
        """
        seat = await self._least_busy()
        answer = await seat.ask(RunHandle(seat.next_call(), trigger, name, body))
        if type(answer) is HandleDone:
            return answer
        raise _mismatch(answer)

    async def run_timer(self, call: TimerCall) -> FailureDetails | None:
        """See ``contracts.executor``.

        Raises:
            WorkerLost: the worker died; the function may have run.
        """
        seat = await self._least_busy()
        answer = await seat.ask(
            RunTimer(
                seat.next_call(),
                call.function,
                call.is_past_due,
                call.last_at,
                call.next_at,
                call.updated_at,
            )
        )
        if type(answer) is TimerDone:
            return answer.failure
        raise _mismatch(answer)

    async def run_http(self, call: HttpCall) -> HttpDone | HttpFailed:
        """Run an HTTP function. A user's exception is an answer, never raised here.

        Raises:
            WorkerLost: the worker died; the function may have run.
            AppError: the request cannot be written to a worker.
        """
        seat = await self._least_busy()
        question = RunHttp(
            seat.next_call(),
            call.function,
            call.method,
            call.url,
            call.headers,
            call.params,
            call.route_params,
            call.body,
            call.client_binding,
        )
        answer = await seat.ask(question)
        if isinstance(answer, HttpDone | HttpFailed):
            return answer
        raise _mismatch(answer)

    def forget(self, generation: int) -> None:
        """Drop the session of ``generation``; never fails and never waits."""
        self._seats[generation % self._count].tell(Forget(generation))

    async def drain(self, timeout_seconds: float = DEFAULT_DRAIN_SECONDS) -> bool:
        """Wait until every call is answered; ``False`` when some were not in time.

        Calls made meanwhile are waited for as well: whoever drains has stopped asking.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while (remaining := deadline - loop.time()) > 0:
            waiting = [each for seat in self._seats for each in seat.answers.values()]
            if not waiting:
                return True
            await asyncio.wait(waiting, timeout=remaining)
        return self.in_flight == 0

    async def close(self) -> None:
        """End every worker; calls in flight raise ``WorkerLost``. Closing twice does nothing."""
        results = await asyncio.gather(
            *(seat.close() for seat in self._seats), return_exceptions=True
        )
        await self._desk.close()
        for result in results:
            if result is not None:
                raise result

    async def _least_busy(self) -> Seat:
        if self._count == 1:
            (seat,) = self._seats
            if not seat.is_up:
                await seat.wait_up()
            return seat
        up = [seat for seat in self._seats if seat.is_up] or [await self._first_up()]
        return min(up, key=lambda seat: len(seat.answers))

    async def _first_up(self) -> Seat:
        """Return the first seat that comes up while all are down."""
        waits = {asyncio.create_task(seat.wait_up()): seat for seat in self._seats}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.exception() is None:
                    return waits[task]
            raise WorkerAbsent("No worker came back in time; the log says why.")
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


def _may_wait(holder: Seat, least_busy: Seat) -> bool:
    """Whether an activity is well placed at the worker that holds its session."""
    if holder is least_busy:
        return True
    return holder.is_up and len(holder.answers) <= len(least_busy.answers) + _MORE_CALLS


def _same(results: Sequence[Loaded | BaseException]) -> Loaded:
    for result in results:
        if isinstance(result, BaseException):
            raise result
    first, *others = [result for result in results if isinstance(result, Loaded)]
    if any(_by_name(other) != _by_name(first) for other in others):
        raise AppLoadFailed("The app describes different functions each time it is imported.")
    return first


def _by_name(loaded: Loaded) -> list[FunctionDescription]:
    return sorted(loaded.functions, key=lambda function: function.name)


def _mismatch(answer: Answer) -> AppError:
    return AppError(f"The worker answered with {type(answer).__name__}, which was not asked for.")
