"""The session table: the live executions that this worker holds, the longest unused leaving."""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta

from soloist_worker.app import App
from soloist_worker.failures import failure, failure_of
from soloist_worker.frames import Message
from soloist_worker.replay import History, Session, Surface, parse_time

DEFAULT_MAX_SESSIONS = 5_000


class SessionTable:
    """Runs episodes; never two at once."""

    def __init__(self, app: App, max_sessions: int = DEFAULT_MAX_SESSIONS) -> None:
        self._app = app
        self._max_sessions = max_sessions
        self._held: OrderedDict[int, Session] = OrderedDict()

    def run(self, message: Message) -> Message:
        """Run one episode; return ``episode_done`` or ``history_missing``."""
        call = message["call"]
        try:
            result = self._turn(message)
        except BaseException as error:  # the worker's own fault; the session is not to be trusted
            self.forget(message["generation"])
            result = _failed(failure_of(error, f"The worker failed: {error!r}"))
        if result is None:
            return {"kind": "history_missing", "call": call}
        return {"kind": "episode_done", "call": call, "result": result}

    def feed(self, activity: Message, answer: Message, seconds: float) -> Message:
        """Feed an activity's result to the orchestrator that waits for it, if its session is held
        where the host believes it to be; return the answer, with the turn if there was one.

        ``activity`` is the host's question, asked ``seconds`` ago.
        """
        feeds, generation = activity["feeds"], activity["generation"]
        held = self._held.get(generation)
        if held is None or not _stands_at(held, feeds):
            return answer
        at = (parse_time(feeds["at"]) + timedelta(seconds=seconds)).isoformat()
        completed = {"task_id": activity["task_id"], "result": answer["result"]}
        episode = {
            "call": activity["call"],
            "generation": generation,
            "instance_id": activity["instance_id"],
            "events": [
                {"type": "OrchestratorStarted", "at": at},
                {"type": "TaskCompleted", "at": at, **completed},
            ],
            "past": None,
            **feeds,
        }
        done = self.run(episode)
        if done["kind"] == "episode_done":
            answer["turn"] = {"at": at, "result": done["result"]}
        return answer

    def forget(self, generation: int) -> None:
        """Drop a session, if it is held."""
        self._held.pop(generation, None)

    def clear(self) -> None:
        """Drop all sessions."""
        self._held.clear()

    def _turn(self, message: Message) -> Message | None:
        """Return the result, or ``None`` when the past is needed.

        Code that reads the history is run again with the whole of it, and its session is not
        held: it is given all of it in each turn. Other code pays nothing for that.
        """
        session = self._find(message)
        if session is None:
            surface = self._app.orchestrator(message["name"])
            if surface is None:
                return _failed(failure(self._app.unknown(message["name"], "orchestrator")))
            session = _begin(surface, message)
        if session is None:
            return None
        result = session.turn(message["events"])
        if session.lacks_history:
            session = _begin(session.surface, message)
            if session is None:
                return None
            result = session.turn(message["events"])
        if session.history is None:
            self._hold(message["generation"], session)
        return result

    def _find(self, message: Message) -> Session | None:
        """Take the session to feed out of the table, if it is there."""
        held = self._held.pop(message["generation"], None)
        if held is None or message["past"] is not None:
            return None
        return held if _stands_at(held, message) else None

    def _hold(self, generation: int, session: Session) -> None:
        self._held[generation] = session
        if len(self._held) > self._max_sessions:
            self._held.popitem(last=False)


def _stands_at(session: Session, place: Message) -> bool:
    is_same = session.execution_id == place["execution_id"]
    return bool(is_same and session.position == place["position"])


def _begin(surface: Surface, message: Message) -> Session | None:
    """Return a session at the end of the past, or ``None`` when that was not told."""
    past = message["past"]
    if past is None:
        if message["position"] != 0:
            return None
        past = ()
    history = History(past, message["events"]) if surface.reads_history else None
    session = Session(surface, message["instance_id"], message["execution_id"], history)
    if past:
        session.replay(past)
    return session


def _failed(details: Message) -> Message:
    end = {"type": "CompleteExecution", "result": None, "failure": details}
    return {"actions": [end], "custom_status": None}
