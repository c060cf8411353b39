"""The board: work that waits for a worker, and the rule who gets it.

Work is offered by the executor and stands in line by function and version until a worker that
takes it has room. It is then that worker's under a *completion token*, drawn anew each time. When a
worker's stream ends, what it held goes back to the line and the token means nothing from the moment
that somebody else is given the work: so an answer that comes late is refused, and one that comes
while nobody else has begun is as good as any.

An activity of a vanished worker is kept back for a moment, because a worker that stops politely
closes its stream first and answers what it has begun afterwards.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec

from soloist.core.failures import FailureDetails
from soloist.core.work import Lacks, WorkKind, lacks_of
from soloist.errors import WorkerAbsent
from soloist.rpc.streams import Stream
from soloist.rpc.work import Work, WorkFailed
from soloist.telemetry import logger

_log = logger(__name__)

Key = tuple[WorkKind, str, str | None]


class BoardLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The board's bounds and paces.

    What is handed back comes to the same worker again after ``refusal_seconds``, twice as long each
    time up to ``last_refusal_seconds``. Work under which ``max_losses`` workers vanished has
    failed. ``orphan_seconds`` is how long an activity waits for the answer of a worker that closed
    its stream. ``says_seconds`` is how often the log tells of a function that nobody knows, and
    ``missed_seconds`` how long one that was asked for counts as waited for.
    """

    refusal_seconds: float = 0.5
    last_refusal_seconds: float = 15.0
    max_losses: int = 10
    orphan_seconds: float = 1.0
    says_seconds: float = 60.0
    missed_seconds: float = 3.0


class TokenOver(Exception):
    """The work of a completion token is over, or somebody else's by now."""


class TokenUnknown(Exception):
    """No work was ever handed out here under that completion token."""


class Board:
    """The connected workers and the work that waits for them: a ``work.Workplace``."""

    def __init__(self, limits: BoardLimits | None = None) -> None:
        self._limits = limits or BoardLimits()
        self._streams: dict[int, Stream] = {}
        self._lines: dict[Key, deque[Work]] = {}
        self._orphans: dict[str, Work] = {}
        self._places = count(1)
        self._tokens = count(1)
        self._last_token = 0
        self._nonce = secrets.token_hex(8)
        self._waiters: dict[asyncio.Future[None], Key] = {}
        self._missed: dict[Key, float] = {}
        self._said: dict[Key, float] = {}
        self._is_draining = False
        self.on_drain: Callable[[], None] = lambda: None

    # -- what the engine asks -------------------------------------------------------------------

    def absence(
        self, kind: WorkKind, name: str, version: str | None
    ) -> asyncio.Future[None] | None:
        """See ``contracts.executor.Absence``."""
        key = (kind, name, version)
        if self.knows(key):
            return None
        self._say_absent(key)
        loop = asyncio.get_running_loop()
        # Its instance may be given back and taken up again, and is between the two for a moment.
        self._missed[key] = loop.time()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters[waiter] = key
        waiter.add_done_callback(self._waiters.pop)
        return waiter

    def lacks(self) -> Lacks:
        """Return which functions are waited for that no worker takes."""
        since = asyncio.get_running_loop().time() - self._limits.missed_seconds
        self._missed = {key: at for key, at in self._missed.items() if at >= since}
        wanted = {*self._missed, *self._waiters.values()}
        wanted |= {
            key for key, line in self._lines.items() if any(not work.is_settled for work in line)
        }
        return lacks_of(len(self._streams), (key for key in wanted if not self.knows(key)))

    def knows(self, key: Key) -> bool:
        """Whether some worker takes such work."""
        return any(stream.takes(key) for stream in self._streams.values())

    async def done(self, work: Work) -> Any:
        """Offer work and return its answer.

        Raises:
            WorkFailed: too many workers vanished with it.
            WorkerAbsent: the host is stopping, or nobody is left who takes it.
        """
        work.place = next(self._places)
        try:
            self._assign_or_queue(work)
            return await work.answer
        finally:
            self._forget(work)

    def drain(self) -> None:
        """Begin no more activities: those that nobody has been given go back to the engine."""
        self._is_draining = True
        self.on_drain()
        for key in [key for key in self._lines if key[0] is WorkKind.ACTIVITY]:
            for work in self._lines.pop(key):
                _fail(work, WorkerAbsent("The host is stopping."))

    # -- workers --------------------------------------------------------------------------------

    def join(self, stream: Stream) -> None:
        """Let a worker take part."""
        self._streams[stream.number] = stream
        _log.info("a worker has connected", **stream.describe())
        self._said.clear()
        self._fill(stream)
        for waiter in list(self._waiters):
            if not waiter.done():
                waiter.set_result(None)

    def leave(self, stream: Stream) -> None:
        """Let a worker go; what it held is for others."""
        if self._streams.pop(stream.number, None) is None:
            return
        _log.info("a worker has gone", worker=stream.number, held=len(stream.held))
        loop = asyncio.get_running_loop()
        for token, work in list(stream.held.items()):
            stream.take(token)
            if work.is_settled:
                continue
            work.losses += 1
            if work.losses >= self._limits.max_losses:
                reason = f"{work.losses} workers vanished while they worked on it."
                _fail(work, WorkFailed(FailureDetails(reason)))
                continue
            self._orphans[token] = work
            if work.kind is WorkKind.ACTIVITY:
                loop.call_later(self._limits.orphan_seconds, self._adopt, token)
            else:
                self._adopt(token)
        self._fail_unknown()

    def _adopt(self, token: str) -> None:
        """Give an orphan to somebody else, or put it back in line; its token holds until then."""
        work = self._orphans.get(token)
        if work is not None and not work.is_settled:
            self._assign_or_queue(work)

    def _fail_unknown(self) -> None:
        """Give turns and batches that nobody takes any more back to the engine, which can let go
        of their instances; activities wait here."""
        for key in list(self._lines):
            if key[0] is not WorkKind.ACTIVITY and not self.knows(key):
                for work in self._lines.pop(key):
                    _fail(work, WorkerAbsent(f"No worker knows {key[0]} '{key[1]}' any more."))

    # -- answers --------------------------------------------------------------------------------

    def held(self, token: str) -> Work:
        """Return the work that is out under a token.

        Raises:
            TokenOver, TokenUnknown: nothing is.
        """
        for stream in self._streams.values():
            work = stream.held.get(token)
            if work is not None:
                return work
        work = self._orphans.get(token)
        if work is not None and not work.is_settled:
            return work
        nonce, _, number = token.rpartition(".")
        if nonce == self._nonce and number.isdecimal() and 0 < int(number) <= self._last_token:
            raise TokenOver
        raise TokenUnknown

    def answer(self, token: str, answer: Any) -> None:
        """Take the answer to the work of a token.

        Raises:
            TokenOver, TokenUnknown: nothing is out under it.
        """
        work = self.held(token)
        if not work.is_settled:
            work.answer.set_result(answer)
        self._forget(work)

    def refuse(self, token: str) -> None:
        """Take work back that its worker does not want to do; others come first.

        Raises:
            TokenOver, TokenUnknown: nothing is out under it.
        """
        work = self.held(token)
        holder = self._holder(token)
        self._release(work)
        if work.is_settled:
            return
        work.refusals += 1
        if holder is not None:
            work.shunned_by.add(holder.number)
        if self._candidates(work):
            self._assign_or_queue(work)
            return
        pause = min(
            self._limits.refusal_seconds * 2 ** min(work.refusals - 1, 10),
            self._limits.last_refusal_seconds,
        )
        _log.warning(
            "work is handed back by every worker that takes it; it is offered again",
            kind=work.kind.value,
            function=work.name,
            instance_id=work.instance_id,
            in_seconds=pause,
        )
        asyncio.get_running_loop().call_later(pause, self._offer_again, work)

    def _offer_again(self, work: Work) -> None:
        work.shunned_by.clear()
        if work.is_settled:
            return
        if work.kind is not WorkKind.ACTIVITY and not self.knows(work.key):
            _fail(work, WorkerAbsent(f"No worker knows {work.kind} '{work.name}' any more."))
        else:
            self._assign_or_queue(work)

    def again(self, token: str) -> None:
        """Hand the same work to the same worker once more, which needs it whole."""
        work = self.held(token)
        stream = self._holder(token)
        self._release(work)
        if stream is None:
            self._assign_or_queue(work)
        else:
            self._hand_out(work, stream)

    # -- who gets what --------------------------------------------------------------------------

    def _candidates(self, work: Work) -> list[Stream]:
        """Return who takes such work and has not just handed it back."""
        return [
            stream
            for stream in self._streams.values()
            if stream.takes(work.key) and stream.number not in work.shunned_by
        ]

    def _assign_or_queue(self, work: Work) -> None:
        if self._is_draining and work.kind is WorkKind.ACTIVITY:
            _fail(work, WorkerAbsent("The host is stopping."))
            return
        candidates = self._candidates(work)
        kind = work.kind
        free = [stream for stream in candidates if stream.has_room(kind)]
        if free:
            at_home = (stream for stream in free if stream.number == work.home)
            lightest = min(free, key=lambda stream: stream.load(kind))
            self._hand_out(work, next(at_home, lightest))
            return
        if not candidates:
            self._say_absent(work.key, work.instance_id)
        line = self._lines.setdefault(work.key, deque())
        line.append(work)

    def _hand_out(self, work: Work, stream: Stream) -> None:
        self._orphans.pop(work.token, None)
        self._last_token = next(self._tokens)
        work.home = stream.number
        work.parts.clear()
        try:
            stream.give(work, f"{self._nonce}.{self._last_token}")
        except Exception as error:  # noqa: BLE001  # whoever asked for it learns what is wrong
            _fail(work, error)

    def _fill(self, stream: Stream) -> None:
        """Give a worker what waits for it, the longest waiting first."""
        for kind in WorkKind:
            while stream.has_room(kind):
                work = self._next_for(stream, kind)
                if work is None:
                    break
                self._hand_out(work, stream)

    def _next_for(self, stream: Stream, kind: WorkKind) -> Work | None:
        best: deque[Work] | None = None
        for key, line in list(self._lines.items()):
            while line and line[0].is_settled:
                line.popleft()
            if not line:
                del self._lines[key]
            elif (
                key[0] is kind
                and stream.takes(key)
                and stream.number not in line[0].shunned_by
                and (best is None or line[0].place < best[0].place)
            ):
                best = line
        return None if best is None else best.popleft()

    def _holder(self, token: str) -> Stream | None:
        return next((each for each in self._streams.values() if token in each.held), None)

    def _release(self, work: Work) -> None:
        """Free the place that work has with a worker, and give that place to what waits."""
        token, work.token = work.token, ""
        self._orphans.pop(token, None)
        holder = self._holder(token)
        if holder is not None:
            holder.take(token)
            self._fill(holder)

    def _forget(self, work: Work) -> None:
        if work.token:
            self._release(work)

    def _say_absent(self, key: Key, instance_id: str | None = None) -> None:
        """Say in the log that work waits for a worker, but not for each piece of it."""
        now = asyncio.get_running_loop().time()
        if now - self._said.get(key, -self._limits.says_seconds) < self._limits.says_seconds:
            return
        self._said[key] = now
        kind, name, version = key
        instance = {} if instance_id is None else {"instance_id": instance_id}
        _log.warning(
            "work waits: no connected worker knows its function; start one that does, or terminate"
            " the instance that waits for it",
            **instance,
            kind=kind.function,
            function=name,
            version=version,
            workers=len(self._streams),
        )


def _fail(work: Work, error: Exception) -> None:
    if not work.is_settled:
        work.answer.set_exception(error)
