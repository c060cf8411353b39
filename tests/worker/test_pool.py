"""The pool: no job waits while a thread could run it."""

from __future__ import annotations

import threading
from functools import partial

from soloist_worker.pool import Pool

_SECONDS = 20.0


def test_no_job_waits_behind_a_blocked_one_while_a_thread_may_be_made() -> None:
    for _ in range(20):
        pool = Pool(2, "test")
        gate = threading.Event()
        is_through = threading.Event()
        pool.submit(partial(_pass, gate, is_through))
        pool.submit(gate.set)
        assert is_through.wait(_SECONDS)
        pool.close()


def test_there_are_never_more_threads_than_the_limit() -> None:
    pool = Pool(3, "bounded")
    gate = threading.Event()
    done = threading.Semaphore(0)

    def job() -> None:
        gate.wait(_SECONDS)
        done.release()

    for _ in range(10):
        pool.submit(job)
    running = [each for each in threading.enumerate() if each.name.startswith("bounded")]
    gate.set()
    assert len(running) == 3
    assert all(done.acquire(timeout=_SECONDS) for _ in range(10))
    pool.close()


def _pass(gate: threading.Event, done: threading.Event) -> None:
    if gate.wait(_SECONDS):
        done.set()
