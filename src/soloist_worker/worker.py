"""The worker: which message goes to which thread, and back.

Theory of operation. Messages come in batches, one a frame. Whoever brings them (the thread that
reads the socket) never runs the user's code:

* episodes go, a batch at a time, to the ``turns``, which run them one after another;
* entities and synchronous activities, HTTP and timer functions go to the *pool*;
* handles of a modern SDK go where they belong as functions, mostly to the event loop, and run the
  user's code on threads of the SDK's;
* asynchronous ones go to the *event loop*: the main thread's in a process of its own;
* what an activity comes to may *feed* its orchestrator: then it goes on to the turns, which run the
  one that it causes and send both together;
* the host's answers to durable clients go to whoever waits for them.

An orchestrator that blocks blocks all others; a *watchdog* says so.

A worker may also live in its host's process: then it owns neither the main thread nor the working
directory. It changes there only while it imports the app, and runs a loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from soloist_worker import activities, entities, logs, modern, modern_client, timers, web
from soloist_worker.app import App, AppUnusable, load_app, unload_app
from soloist_worker.calls import Call, Trigger, run, run_async
from soloist_worker.client import Transport
from soloist_worker.frames import Message
from soloist_worker.pool import Pool
from soloist_worker.sessions import DEFAULT_MAX_SESSIONS, SessionTable
from soloist_worker.turns import Turns
from soloist_worker.watchdog import Watchdog

Send = Callable[[list[Message]], None]
Job = Callable[[], None]

_LEAST_SLOW_SECONDS = 0.01
_JOIN_SECONDS = 1.0
_FEED_SECONDS = 0.1
"""An activity that takes longer than that does not feed: a crossing is nothing to it."""
_NO_APP = "No app is loaded in this worker."


class Worker:
    """Runs one app for one host.

    ``send`` takes the worker's messages, from any thread, and must not wait for the host.
    ``loop`` is the running (or soon running) event loop for asynchronous functions; without one
    the worker makes its own. ``load_in`` hands the import of the app to a thread, by default the
    episode thread. With ``owns_process`` the working directory is the app's from then on.
    """

    def __init__(
        self,
        send: Send,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        load_in: Callable[[Job], None] | None = None,
        owns_process: bool = False,
        max_sessions: int = DEFAULT_MAX_SESSIONS,
    ) -> None:
        self._send = send
        self._loop = loop
        self._owned_loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread | None = None
        self._owns_process = owns_process
        self._max_sessions = max_sessions
        self._app: App | None = None
        self._app_dir: str | None = None
        self._watchdog: Watchdog | None = None
        self._pool: Pool | None = None
        self._transport = Transport(send)
        self._client_binding: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self._unanswered = 0
        self._when_idle: Job | None = None
        self._is_closed = False
        self._turns = Turns(self._answer)
        self._load_in: Callable[[Job], None] = load_in or self._turns.run

    # Messages in.

    def receive(self, messages: list[Message]) -> None:
        """Take a batch of the host's messages. Returns at once; one thread at a time."""
        if self._is_closed:
            return
        turns: list[Message] = []
        coroutines: list[Coroutine[Any, Any, None]] = []
        asked = 0
        for message in messages:
            asked += message["kind"] in _QUESTIONS
        if asked:
            with self._lock:
                self._unanswered += asked
        for message in messages:
            kind = message["kind"]
            if kind == "episode" or kind == "forget":
                turns.append(message)
            elif kind in _TRIGGERS:
                self._begin_call(_TRIGGERS[kind], message, coroutines)
            elif kind == "entity":
                self._begin_entity(message)
            elif kind == "client_reply":
                self._transport.reply(message)
            elif kind == "rebind":
                self._bind(message["client_binding"])
            elif kind == "load":
                self._load_in(partial(self._load, message))
        if turns:
            self._turns.submit(turns)
        if coroutines:
            self._need_loop().call_soon_threadsafe(self._begin_tasks, coroutines)

    def call_when_idle(self, job: Job) -> None:
        """Call ``job`` once every question is answered; at once if that is so already."""
        with self._lock:
            self._when_idle = job
            if self._unanswered:
                return
        job()

    async def end_app(self) -> None:
        """Let the app end what it began on the event loop; to be run there, once all is idle."""
        if self._app is not None:
            await self._app.end()

    def close(self) -> None:
        """End the worker's threads, without waiting for functions that still run: what they come
        to is no longer sent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._transport.uninstall()
        if self._watchdog is not None:
            self._watchdog.close()
        if self._pool is not None:
            self._pool.close()
        self._turns.close()
        self._close_loop()
        if self._app_dir is not None and not self._owns_process:
            unload_app(self._app_dir)

    # Messages out.

    def _answer(self, messages: list[Message]) -> None:
        if not self._is_closed:
            self._send(messages)
        with self._lock:
            self._unanswered -= len(messages)
            job = self._when_idle if self._unanswered == 0 else None
        if job is not None:
            job()

    # Loading.

    def _load(self, message: Message) -> None:
        try:
            app = load_app(message["app_dir"], message["script"], owns_process=self._owns_process)
        except AppUnusable as error:
            reply = {"kind": "load_failed", "message": error.message, "traceback": error.trace}
            self._send([reply])
            if not self._owns_process:
                unload_app(message["app_dir"])
            return
        self._app_dir = message["app_dir"]
        self._pool = Pool(message["threads"], "soloist-function")
        self._transport.install()
        if app.is_modern:
            modern_client.install()
        self._bind(message["client_binding"])
        self._watchdog = self._new_watchdog(message)
        self._turns.open(SessionTable(app, self._max_sessions), self._watchdog)
        self._app = app
        if self._owns_process:
            # The app's modules stay: whoever looks for cycles need not look there every time.
            gc.freeze()
        self._send([app.describe()])

    def _bind(self, client_binding: str) -> None:
        """Take note of what durable clients get in functions that no HTTP request calls."""
        if client_binding:
            self._client_binding = client_binding
            self._transport.learn(client_binding)

    def _new_watchdog(self, message: Message) -> Watchdog:
        watchdog = Watchdog(
            self._say,
            app_dir=message["app_dir"],
            slow_seconds=max(message["slow_turn_seconds"], _LEAST_SLOW_SECONDS),
        )
        watchdog.start()
        return watchdog

    def _say(self, message: Message) -> None:
        if not self._is_closed:
            self._send([message])

    # Functions.

    def _begin_call(
        self,
        trigger: Trigger,
        message: Message,
        coroutines: list[Coroutine[Any, Any, None]],
    ) -> None:
        app, pool = self._app, self._pool
        if app is None or pool is None:
            self._answer([trigger.refused(message, _NO_APP)])
            return
        function = trigger.find(app, message)
        if isinstance(function, str):
            self._answer([trigger.refused(message, function)])
            return
        if trigger is web:
            self._transport.learn(message["client_binding"])
        call = Call(function, message, app.codec, self._client_binding)
        asked_at = time.monotonic()
        if function.is_async:
            coroutines.append(self._run_task(run_async(trigger, call), message, asked_at))
            return
        pool.submit(partial(self._run_in_pool, partial(run, trigger, call), message, asked_at))

    def _begin_entity(self, message: Message) -> None:
        app, pool = self._app, self._pool
        if app is None or pool is None:
            self._answer([entities.refused(message, _NO_APP)])
            return
        function = entities.find(app, message)
        if isinstance(function, str):
            self._answer([entities.refused(message, function)])
            return
        work = partial(entities.run, function, message)
        pool.submit(partial(self._run_in_pool, work, message, time.monotonic()))

    def _run_in_pool(self, work: Callable[[], Message], message: Message, asked_at: float) -> None:
        self._transport.enter()
        logs.enter(message)
        self._finish(work(), message, asked_at, is_pooled=True)

    def _finish(
        self, answer: Message, message: Message, asked_at: float, *, is_pooled: bool
    ) -> None:
        """Answer the host, or let that be done with the turn that the result causes. No turn runs
        on the event loop, which has others to serve."""
        feeds = message.get("feeds")
        if feeds is None or answer["failure"] is not None or _is_long_ago(asked_at):
            self._answer([answer])
            return
        feed = {
            "kind": "feed",
            "name": feeds["name"],
            "instance_id": message["instance_id"],
            "activity": message,
            "asked_at": asked_at,
            "answer": answer,
        }
        self._turns.feed(feed, may_run_here=is_pooled)

    # The event loop.

    def _begin_tasks(self, coroutines: list[Coroutine[Any, Any, None]]) -> None:
        for coroutine in coroutines:
            task = asyncio.ensure_future(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run_task(
        self, work: Coroutine[Any, Any, Message], message: Message, asked_at: float
    ) -> None:
        self._transport.enter()
        logs.enter(message)
        self._finish(await work, message, asked_at, is_pooled=False)

    def _need_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = self._owned_loop = asyncio.new_event_loop()
            self._loop_thread = threading.Thread(
                target=_run_loop,
                args=(self._loop, self.end_app),
                name="soloist-loop",
                daemon=True,
            )
            self._loop_thread.start()
        return self._loop

    def _close_loop(self) -> None:
        loop, thread = self._owned_loop, self._loop_thread
        if loop is None or thread is None:
            return

        def stop() -> None:
            for task in self._tasks:
                task.cancel()
            loop.call_soon(loop.stop)

        loop.call_soon_threadsafe(stop)
        if threading.current_thread() is not thread:
            thread.join(_JOIN_SECONDS)


_TRIGGERS: dict[str, Trigger] = {
    "activity": activities,
    "handle": modern,
    "http": web,
    "timer": timers,
}
_QUESTIONS = frozenset(("episode", "entity", *_TRIGGERS))


def _is_long_ago(asked_at: float) -> bool:
    return time.monotonic() - asked_at > _FEED_SECONDS


def _run_loop(
    loop: asyncio.AbstractEventLoop, end: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(end())
        waiting = asyncio.all_tasks(loop)
        if waiting:
            loop.run_until_complete(asyncio.wait(waiting, timeout=_JOIN_SECONDS))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
