"""The watchdog: tells the host while one turn of an orchestrator holds up all others.

It looks at the thread that runs it from outside: that thread only says which turn it is in. So it
also sees code that never comes back, and where it stands.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from soloist_worker.frames import Message

_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_SDK_FOLDER = os.sep + os.path.join("azure", "durable_functions") + os.sep
_INSTALLED = f"{os.sep}site-packages{os.sep}"


class Watchdog:
    """Watches the turns. ``report`` takes a ``slow_turn`` message, from any thread.

    Whoever runs some turns writes its ``thread_id`` first, and ``turn_at`` and then ``turn``, the
    episode, whenever it begins one; ``turn`` is ``None`` while none runs. More than that a turn
    must not cost. A turn that is reported once is reported again each time that it is twice as
    old.
    """

    def __init__(
        self,
        report: Callable[[Message], None],
        *,
        app_dir: str,
        slow_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slow_seconds = slow_seconds
        self.turn: Message | None = None
        self.turn_at = 0.0
        self.thread_id = 0
        self._report = report
        self._root = os.path.join(os.path.realpath(app_dir), "")
        self._clock = clock
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        self._known: Message | None = None
        self._due_seconds = slow_seconds

    def start(self) -> None:
        """Begin to watch, from a thread of its own."""
        threading.Thread(target=self._watch, name="soloist-watchdog", daemon=True).start()

    def close(self) -> None:
        """Watch no more."""
        self._is_closed.set()

    def look(self) -> float:
        """Report the present turn if it is due; return the seconds until the next look."""
        turn = self.turn
        if turn is None:
            return self.slow_seconds
        with self._lock:
            if turn is not self._known:
                self._known, self._due_seconds = turn, self.slow_seconds
            seconds = self._clock() - self.turn_at
            if seconds >= self._due_seconds:
                place = place_of(sys._current_frames().get(self.thread_id), self._root)
                if turn is not self.turn:  # it has just ended, and the place is another turn's
                    return self.slow_seconds
                while self._due_seconds <= seconds:
                    self._due_seconds *= 2
                self._tell(turn, seconds, place)
            # Never longer: the next turn may be slow as well.
            return min(self._due_seconds - seconds, self.slow_seconds)

    def ended(self, seconds: float) -> None:
        """Report the present turn, which took so long but is over, unless that was done: code
        that never lets go of the interpreter is seen by nobody while it runs."""
        turn = self.turn
        assert turn is not None, "called by the thread that wrote it"
        with self._lock:
            is_reported = turn is self._known and self._due_seconds > self.slow_seconds
            self.turn = None
        if not is_reported:
            self._tell(turn, seconds, "")

    def _watch(self) -> None:
        while not self._is_closed.wait(self.look()):
            pass

    def _tell(self, turn: Message, seconds: float, place: str) -> None:
        self._report(
            {
                "kind": "slow_turn",
                "name": turn["name"],
                "instance_id": turn["instance_id"],
                "seconds": seconds,
                "place": place,
            }
        )


def place_of(frame: FrameType | None, root: str) -> str:
    """Return where the user's code stands in a stack: the innermost frame of a file below
    ``root``; without one, the innermost that our frames lead to."""
    candidate = found = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(root) and _INSTALLED not in name:
            return _told(frame, name[len(root) :])
        if name.startswith(_OWN_FOLDER) or _SDK_FOLDER in name:
            found = found or candidate
        else:
            candidate = candidate or _told(frame, os.path.basename(name))
        frame = frame.f_back
    return found


def _told(frame: FrameType, name: str) -> str:
    return f"{name}:{frame.f_lineno} in {frame.f_code.co_name}"
