"""Seats: one place in the worker pool, held by a worker or waiting for the next one.

Theory of operation. A seat opens a link, has the app loaded, and is *up*. Its keeper task waits
for the link's loss, fails every call in flight with ``WorkerLost`` and opens the next link, ever
more slowly while workers keep dying young. Callers that meet a seat that is down wait for it to
come up, within a bound. The first load is different: nobody can be served by an app that does
not load, so its failure is raised to the host instead of being tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from itertools import count

import msgspec

from soloist.errors import AppError, AppLoadFailed, WorkerAbsent, WorkerLost
from soloist.functions.clientdesk import ClientDesk
from soloist.functions.inflight import Question, described
from soloist.functions.links import Link, OpenLink
from soloist.telemetry import logger
from soloist.wire import (
    ActivityDone,
    ClientCall,
    EntityDone,
    EpisodeDone,
    FunctionDescription,
    HandleDone,
    HistoryMissing,
    HostMessage,
    HttpDone,
    HttpFailed,
    Load,
    Loaded,
    LoadFailed,
    Log,
    Rebind,
    SlowTurn,
    TimerDone,
    WorkerMessage,
)

_log = logger(__name__)
_app_log = logger("user_code")

Answer = (
    EpisodeDone
    | HistoryMissing
    | ActivityDone
    | EntityDone
    | HandleDone
    | TimerDone
    | HttpDone
    | HttpFailed
)

_STOPPING = "The host is stopping."
_LOOPING_DEATHS = 3
"""So many early deaths in a row are reported as a crash loop."""


class SeatLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a seat.

    A worker must load the app within ``load_seconds``. A call waits at most ``wait_seconds`` for
    a replacement. Replacements follow after ``first_backoff_seconds``, twice as long after each
    early death up to ``last_backoff_seconds``; a worker that lived ``healthy_seconds`` did not
    die early.
    """

    load_seconds: float = 120.0
    wait_seconds: float = 60.0
    first_backoff_seconds: float = 0.1
    last_backoff_seconds: float = 15.0
    healthy_seconds: float = 30.0

    def backoff_seconds(self, deaths: int) -> float:
        """Return the pause before the next worker after ``deaths`` early deaths in a row."""
        doublings = min(max(deaths - 1, 0), 30)
        return float(min(self.first_backoff_seconds * 2**doublings, self.last_backoff_seconds))


class Seat:
    """One worker's place; see the head of this file. It is the receiver of its own links."""

    def __init__(
        self, index: int, open_link: OpenLink, load: Load, desk: ClientDesk, limits: SeatLimits
    ) -> None:
        self.index = index
        self.answers: dict[int, asyncio.Future[Answer]] = {}
        self._questions: dict[int, Question] = {}
        self._died_with: str | None = None
        self._open_link = open_link
        self._load = load
        self._desk = desk
        self._limits = limits
        self._calls = count(1)
        self._link: Link | None = None
        self._is_up = asyncio.Event()
        self._is_closed = False
        self._closing = asyncio.Event()
        self._loading: asyncio.Future[Loaded] | None = None
        self._lost: asyncio.Future[str] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._functions: tuple[FunctionDescription, ...] | None = None

    @property
    def is_up(self) -> bool:
        """Whether a worker has loaded the app and takes calls."""
        return self._is_up.is_set()

    @property
    def pid(self) -> int | None:
        """The present worker's process id."""
        return self._link.pid if self._link is not None else None

    async def start(self) -> Loaded:
        """Start the first worker and load the app.

        Raises:
            AppLoadFailed: with the app's traceback, if it has one.
        """
        loaded = await self._seat_worker()
        self._keeper = asyncio.create_task(self._keep(), name=f"seat-{self.index}")
        return loaded

    async def wait_up(self) -> None:
        """Return once a worker takes calls.

        Raises:
            WorkerLost: none came within the bound, or the seat is closed.
        """
        if not self._is_up.is_set() and not self._is_closed:
            try:
                await asyncio.wait_for(self._is_up.wait(), self._limits.wait_seconds)
            except TimeoutError:
                raise WorkerAbsent(
                    f"Worker {self.index} did not come back within"
                    f" {self._limits.wait_seconds:g} s; the log says why."
                ) from None
        if self._is_closed:
            raise WorkerAbsent(_STOPPING)

    def next_call(self) -> int:
        """Return a number for the next question."""
        return next(self._calls)

    def ask(self, question: Question) -> asyncio.Future[Answer]:
        """Post a question; the future brings its answer, ``WorkerLost``, or an ``AppError`` when
        the question cannot be written.

        Raises:
            WorkerLost: nobody is there to be asked.
        """
        if self._link is None or self._is_closed:
            raise WorkerAbsent(_STOPPING if self._is_closed else "The worker has just been lost.")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.answers[question.call] = future
        self._questions[question.call] = question
        self._link.send(question)
        return future

    def tell(self, message: HostMessage) -> None:
        """Post a message that has no answer, if anybody is there."""
        if self._link is not None:
            self._link.send(message)

    def rebind(self, client_binding: str) -> None:
        """Let this worker and its successors hand out another binding to durable clients."""
        self._load = msgspec.structs.replace(self._load, client_binding=client_binding)
        if self.is_up:
            self.tell(Rebind(client_binding))

    async def close(self) -> None:
        """End the worker and let every waiting call fail; closing twice does nothing."""
        self._is_closed = True
        self._is_up.set()  # whoever waits learns that nobody will come
        # The keeper is told, not cancelled: a worker that it is just starting must be ended.
        self._closing.set()
        if self._loading is not None and not self._loading.done():
            self._loading.set_exception(AppLoadFailed(_STOPPING))
        if self._lost is not None and not self._lost.done():
            self._lost.set_result("is no longer needed")
        try:
            if self._keeper is not None:
                await self._keeper
        finally:
            if self._link is not None:
                await self._link.close()
                self._link = None
            self._fail_all(_STOPPING)

    # What the link says.

    def received(self, messages: Sequence[WorkerMessage]) -> None:
        """Pair answers with questions and pass on what the worker asks."""
        answers = self.answers
        for message in messages:
            kind = type(message)
            if kind is ClientCall:
                # The reply belongs to the worker that asked, never to the next one.
                assert self._link is not None
                self._desk.accept(message, self._link.send)  # type: ignore[arg-type]  # is one
            elif kind is Loaded or kind is LoadFailed:
                self._on_loaded(message)  # type: ignore[arg-type]  # it is one of the two
            elif kind is SlowTurn:
                self._on_slow_turn(message)  # type: ignore[arg-type]  # it is one
            elif kind is Log:
                _on_log(message)  # type: ignore[arg-type]  # it is one
            else:
                call = message.call  # type: ignore[union-attr]  # has one
                future = answers.pop(call, None)
                self._questions.pop(call, None)
                if future is not None and not future.done():
                    future.set_result(message)  # type: ignore[arg-type]  # only answers remain

    def unsendable(self, message: HostMessage, error: Exception) -> None:
        """Fail the one call whose question cannot be written."""
        future = None
        if isinstance(message, Question):
            future = self.answers.pop(message.call, None)
            self._questions.pop(message.call, None)
        if future is not None and not future.done():
            future.set_exception(AppError(f"The call cannot be sent to the worker: {error}"))
        else:
            _log.error("A message to the worker was dropped", error=str(error))

    def lost(self, reason: str) -> None:
        """Fail every call in flight and have the worker replaced."""
        self._is_up.clear()
        self._link = None
        self._died_with = described(self._questions.values())
        text = f"Worker {self.index} {reason} while it worked."
        self._fail_all(text)
        if self._loading is not None and not self._loading.done():
            self._loading.set_exception(AppLoadFailed(f"The worker {reason} as it loaded the app."))
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)

    # How the seat is kept.

    async def _seat_worker(self) -> Loaded:
        loop = asyncio.get_running_loop()
        self._loading = loop.create_future()
        self._lost = loop.create_future()
        link = await self._opened()
        self._link = link
        try:
            if self._is_closed:
                raise AppLoadFailed(_STOPPING)
            load = self._load
            link.send(load)
            loaded = await asyncio.wait_for(self._loading, self._limits.load_seconds)
            if self._lost.done():
                raise AppLoadFailed(f"The worker {self._lost.result()} after it loaded the app.")
            self._check_same(loaded)
        except BaseException as error:
            self._link = None
            await link.close()
            if isinstance(error, TimeoutError):
                seconds = f"{self._limits.load_seconds:g} s"
                raise AppLoadFailed(f"The app did not finish loading within {seconds}.") from None
            raise
        self._is_up.set()
        if self._load is not load:  # bound anew while this worker loaded the app
            self.tell(Rebind(self._load.client_binding))
        return loaded

    async def _opened(self) -> Link:
        """Open a link whole, also when we are cancelled: no process is left half started."""
        opening = asyncio.ensure_future(self._open_link(self))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait((opening,))
            if opening.exception() is None:
                await opening.result().close()
            raise

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        deaths = 0
        while not self._is_closed:
            assert self._lost is not None
            up_at = loop.time()
            reason = await self._lost
            deaths = 1 if loop.time() - up_at >= self._limits.healthy_seconds else deaths + 1
            deaths = await self._replace(f"The worker {reason}", deaths)

    async def _replace(self, why: str, deaths: int) -> int:
        """Try until a new worker is up or the seat is closed; return the early deaths by then."""
        traceback = ""
        while not self._is_closed:
            pause = self._limits.backoff_seconds(deaths)
            is_looping = deaths >= _LOOPING_DEATHS
            _log.log(
                logging.ERROR if is_looping else logging.WARNING,
                "Workers keep dying" if is_looping else "A worker is replaced",
                worker=self.index,
                why=why,
                was_running=self._died_with,
                deaths_in_a_row=deaths,
                next_in_seconds=pause,
                exception=traceback or None,
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause)
            try:
                await self._seat_worker()
            except AppLoadFailed as error:
                why, traceback = str(error), error.traceback
                self._died_with = None
                deaths += 1
            else:
                _log.info("The worker is back", worker=self.index, pid=self.pid)
                break
        return deaths

    def _on_loaded(self, message: Loaded | LoadFailed) -> None:
        if self._loading is None or self._loading.done():
            return
        if isinstance(message, Loaded):
            self._loading.set_result(message)
        else:
            self._loading.set_exception(AppLoadFailed(message.message, message.traceback))

    def _on_slow_turn(self, slow: SlowTurn) -> None:
        _log.warning(
            "An orchestrator blocks its worker: orchestrators must not sleep, wait or do I/O",
            orchestrator=slow.name,
            instance_id=slow.instance_id,
            seconds=round(slow.seconds, 1),
            stands_at=slow.place or None,
            worker=self.index,
        )

    def _check_same(self, loaded: Loaded) -> None:
        functions = tuple(sorted(loaded.functions, key=lambda function: function.name))
        if self._functions is None:
            self._functions = functions
        elif self._functions != functions:
            raise AppLoadFailed(
                "The app's functions changed while the host was running; restart the host."
            )

    def _fail_all(self, text: str) -> None:
        answers, self.answers = self.answers, {}
        self._questions.clear()
        for future in answers.values():
            if not future.done():
                future.set_exception(WorkerLost(text))


def _on_log(record: Log) -> None:
    """Pass on what the app has logged; the level that the log is set to decides about it."""
    fields = {
        "function": record.function,
        "instance_id": record.instance_id,
        "logger": record.logger if record.logger != "root" else None,
        "exception": record.exception or None,
    }
    known = {name: value for name, value in fields.items() if value is not None}
    _app_log.log(record.level, record.text, **known)
