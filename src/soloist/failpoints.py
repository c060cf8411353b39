"""Fail points: named places where a crash test may kill the process.

With the environment variable ``SOLOIST_FAILPOINT=name:N`` the process ends by ``SIGKILL`` when it
reaches ``name`` for the N-th time, so that tests can ask what a crash leaves behind. Without it,
reaching a place costs one comparison.

Places around a transaction of the SQLite store: ``commit.before`` it begins, ``commit.written`` when
all is written but not yet committed, ``commit.durable`` when nobody has been told yet. Places inside
of one: ``start.replacing`` between removing an instance and inserting the next,
``commit.sending`` before each message that a step sends, ``rewind.revived`` after each instance that
a rewind brings back.
"""

from __future__ import annotations

import os
import signal
import threading

_VARIABLE = "SOLOIST_FAILPOINT"


def _parse(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    name, _, count = text.partition(":")
    return name, int(count or "1")


_armed = _parse(os.environ.get(_VARIABLE, ""))
_remaining = _armed[1] if _armed else 0
_lock = threading.Lock()


def reach(name: str) -> None:
    """Die here if this place is armed and its turn has come; otherwise do nothing."""
    if _armed is not None and _armed[0] == name:
        _count_down()


def _count_down() -> None:
    global _remaining
    with _lock:
        _remaining -= 1
        if _remaining == 0:
            # Windows has no SIGKILL; there os._exit is as sudden as it gets.
            if hasattr(signal, "SIGKILL"):
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(137)
