"""Turns: the orchestrators' code runs one turn at a time, by whoever has the *floor*.

Episodes stand in line for the *episode thread*, which runs those of a frame one after another and
sends their answers together. The result of an activity may *feed* its orchestrator; the turn that
it causes is run by the thread that brings it, if nobody has the floor or waits for it: the turn is
often shorter than the way to another thread. Otherwise it stands in line as well.

All turns share one context, so that code cannot tell on which thread it runs.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from soloist_worker import logs
from soloist_worker.frames import Message
from soloist_worker.sessions import SessionTable
from soloist_worker.watchdog import Watchdog

Job = Callable[[], None]

_FLUSH_SECONDS = 0.002
_JOIN_SECONDS = 1.0
_MAX_FEEDS = 64
"""So many run together, before whatever else stands in line."""


class Turns:
    """Runs turns; ``answer`` takes the answers, from any thread."""

    def __init__(self, answer: Callable[[list[Message]], None]) -> None:
        self._answer = answer
        self._sessions: SessionTable | None = None
        self._watchdog: Watchdog | None = None
        self._line: SimpleQueue[Job | None] = SimpleQueue()
        self._feeds: deque[Message] = deque()
        self._floor = threading.Lock()
        self._is_awaited = False
        self._context = contextvars.Context()
        self._thread = threading.Thread(target=self._serve, name="soloist-episodes", daemon=True)
        self._thread.start()

    def open(self, sessions: SessionTable, watchdog: Watchdog) -> None:
        """Have an app to run turns of."""
        self._sessions = sessions
        self._watchdog = watchdog

    def submit(self, batch: list[Message]) -> None:
        """Run the episodes of one frame, and forget the sessions that it says."""
        self._line.put(partial(self._wait_and_run, batch))

    def run(self, job: Job) -> None:
        """Run something else on the episode thread; it must not raise."""
        self._line.put(job)

    def feed(self, feed: Message, *, may_run_here: bool) -> None:
        """Run the turn that a result causes, and answer with both."""
        if (
            may_run_here
            and not self._is_awaited
            and self._line.empty()
            and self._floor.acquire(blocking=False)
        ):
            try:
                self._context.run(self._run, [feed])
            finally:
                self._floor.release()
            return
        self._feeds.append(feed)
        self._line.put(self._run_feeds)

    def close(self) -> None:
        """Let the thread end once it has run what stands in line, and run no turn any more; one
        that blocks is left."""
        self._line.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(2 * _JOIN_SECONDS)

    def _serve(self) -> None:
        while (job := self._line.get()) is not None:
            job()
        # For good: what comes later has nobody to run it.
        if self._floor.acquire(timeout=_JOIN_SECONDS) and self._sessions is not None:
            self._sessions.clear()

    def _run_feeds(self) -> None:
        """Run what has gathered; each brings a call of this, so whatever is left has its own."""
        feeds = self._feeds
        batch = [feeds.popleft() for _ in range(min(len(feeds), _MAX_FEEDS))]
        if batch:
            self._wait_and_run(batch)

    def _wait_and_run(self, batch: list[Message]) -> None:
        self._is_awaited = True
        with self._floor:
            self._is_awaited = False
            self._context.run(self._run, batch)

    def _run(self, batch: list[Message]) -> None:
        """Run some turns; answers that have waited for a slow one leave before."""
        sessions, watchdog = self._sessions, self._watchdog
        if sessions is None or watchdog is None:
            turns = [each for each in batch if each["kind"] == "episode"]
            if turns:
                self._answer([{"kind": "history_missing", "call": each["call"]} for each in turns])
            return
        answers: list[Message] = []
        watchdog.thread_id = threading.get_ident()
        slow_seconds = watchdog.slow_seconds
        sent_at = turn_at = time.monotonic()
        for message in batch:
            if message["kind"] == "forget":
                sessions.forget(message["generation"])
                continue
            watchdog.turn_at = turn_at
            watchdog.turn = message
            logs.enter(message)
            if message["kind"] == "episode":
                answers.append(sessions.run(message))
            else:
                seconds = time.monotonic() - message["asked_at"]
                answers.append(sessions.feed(message["activity"], message["answer"], seconds))
            now = time.monotonic()
            if now - turn_at >= slow_seconds:
                watchdog.ended(now - turn_at)
            turn_at = now
            if now - sent_at > _FLUSH_SECONDS:
                watchdog.turn = None
                self._answer(answers)
                answers = []
                sent_at = turn_at = time.monotonic()
        watchdog.turn = None
        if answers:
            self._answer(answers)
