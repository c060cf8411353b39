"""The session table: the live executions that this worker holds, the longest unused leaving."""

from __future__ import annotations

from collections import OrderedDict

from soloist_worker.app import App
from soloist_worker.failures import failure, failure_of
from soloist_worker.frames import Message
from soloist_worker.replay import Session

DEFAULT_MAX_SESSIONS = 5_000


class SessionTable:
    """Runs episodes. One thread owns it."""

    def __init__(self, app: App, max_sessions: int = DEFAULT_MAX_SESSIONS) -> None:
        self._app = app
        self._max_sessions = max_sessions
        self._held: OrderedDict[int, Session] = OrderedDict()

    def run(self, message: Message) -> Message:
        """Run one episode; return ``episode_done`` or ``history_missing``."""
        call, generation = message["call"], message["generation"]
        try:
            session = self._find(message)
            if session is None:
                return {"kind": "history_missing", "call": call}
            if isinstance(session, str):
                return _failed(call, failure(session))
            result = session.turn(message["events"])
        except BaseException as error:  # the worker's own fault; the session is not to be trusted
            self._held.pop(generation, None)
            return _failed(call, failure_of(error, f"The worker failed: {error!r}"))
        return {"kind": "episode_done", "call": call, "result": result}

    def forget(self, generation: int) -> None:
        """Drop a session, if it is held."""
        self._held.pop(generation, None)

    def clear(self) -> None:
        """Drop all sessions."""
        self._held.clear()

    def _find(self, message: Message) -> Session | str | None:
        """Return the session to feed, the reason why there can be none, or ``None`` when the
        past is needed."""
        generation, past = message["generation"], message["past"]
        held = self._held.get(generation)
        if past is None:
            if held is not None and (
                held.execution_id == message["execution_id"]
                and held.position == message["position"]
            ):
                self._held.move_to_end(generation)
                return held
            if message["position"] != 0:
                return None
        surface = self._app.orchestrator(message["name"])
        if surface is None:
            return self._app.unknown(message["name"], "orchestrator")
        session = Session(surface, message["instance_id"], message["execution_id"])
        self._held.pop(generation, None)
        self._held[generation] = session
        if len(self._held) > self._max_sessions:
            self._held.popitem(last=False)
        if past:
            session.replay(past)
        return session


def _failed(call: int, details: Message) -> Message:
    end = {"type": "CompleteExecution", "result": None, "failure": details}
    result = {"actions": [end], "custom_status": None}
    return {"kind": "episode_done", "call": call, "result": result}
