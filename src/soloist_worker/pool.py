"""The pool: threads, made when needed, for functions that block."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], None]


class Pool:
    """Runs jobs on up to ``limit`` threads; a job must not raise.

    A queue hand-off and nothing else per job: no futures, no condition variables.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = max(1, limit)
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0
        self._unfinished = 0

    def submit(self, job: Job) -> None:
        """Run a job as soon as a thread is free."""
        with self._lock:
            self._unfinished += 1
            if self._count < min(self._unfinished, self._limit):
                self._count += 1
                name = f"{self._name}-{self._count}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._jobs.put(job)

    def close(self) -> None:
        """Let the threads end once they have run what was submitted."""
        with self._lock:
            count = self._count
        for _ in range(count):
            self._jobs.put(None)

    def _serve(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            job()
            with self._lock:
                self._unfinished -= 1
