"""Frames: both sides of the protocol read what the other writes."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest

from soloist import wire
from soloist_worker.frames import FrameReader, FrameWriter

Message = dict[str, Any]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def read_all(connection: socket.socket, count: int) -> list[Any]:
    """Read messages as the host does."""
    reader, messages = wire.FrameReader(), list[Any]()
    while len(messages) < count:
        messages += reader.feed(connection.recv(65536))
    return messages


def test_the_host_reads_what_the_worker_writes(pair: tuple[socket.socket, socket.socket]) -> None:
    action = {"type": "CreateTimer", "task_id": 0, "fire_at": "2030-01-01T00:00:00.5+00:00"}
    result = {"actions": [action], "custom_status": None}
    failure = {"message": "bad \ud800", "error_type": "E", "stack_trace": ""}
    FrameWriter(pair[0]).post(
        [
            {"kind": "episode_done", "call": 1, "result": result},
            {"kind": "activity_done", "call": 2, "result": None, "failure": failure},
            {"kind": "history_missing", "call": 3},
        ]
    )
    first, second, third = read_all(pair[1], 3)
    assert first.result.actions[0].fire_at.microsecond == 500_000
    assert second.failure.message == "bad ?"
    assert third == wire.HistoryMissing(3)


def test_the_worker_reads_what_the_host_writes(pair: tuple[socket.socket, socket.socket]) -> None:
    messages = (wire.Load("/app", "function_app.py", 4), wire.Forget(1), wire.Stop())
    pair[1].sendall(wire.encode_frame(messages))
    with closing(FrameReader(pair[0])) as reader:
        assert reader.read() == json.loads(msgspec.json.encode(messages))
        pair[1].close()
        assert reader.read() is None


def test_a_torn_frame_is_the_end(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].sendall(b"\x00\x00\x00\x09[1")
    pair[1].close()
    with closing(FrameReader(pair[0])) as reader:
        assert reader.read() is None


def test_a_frame_of_absurd_length_is_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].sendall(b"HTTP/1.1 200 OK")
    with (
        closing(FrameReader(pair[0])) as reader,
        pytest.raises(ValueError, match="something else spoke"),
    ):
        reader.read()


def test_an_answer_too_large_is_replaced_and_its_neighbours_go_out(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    writer = FrameWriter(pair[0], max_frame_bytes=400)
    writer.post(
        [
            {"kind": "activity_done", "call": 1, "result": "x" * 1000, "failure": None},
            {"kind": "http_done", "call": 2, "status": 200, "headers": [], "body": "x" * 1000},
            {"kind": "handle_done", "call": 3, "body": "x" * 1000, "failure": None},
            {"kind": "history_missing", "call": 4},
        ]
    )
    *replaced, last = read_all(pair[1], 4)
    assert len(replaced) == 3
    assert all("larger than 400 bytes" in each.failure.message for each in replaced)
    assert last.call == 4


def test_a_message_too_large_that_answers_nothing_is_left_out(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    writer = FrameWriter(pair[0], max_frame_bytes=200)
    call = {"kind": "client_call", "call": 1, "method": "POST", "target": "x", "data": "x" * 1000}
    writer.post([call, {"kind": "history_missing", "call": 3}])
    assert read_all(pair[1], 1)[0].call == 3


class Connection:
    """A connection whose ``sendall`` does something else first."""

    def __init__(self, connection: socket.socket, before: Callable[[], None]) -> None:
        self._connection = connection
        self._before = before

    def sendall(self, data: bytes) -> None:
        self._before()
        self._connection.sendall(data)


def test_what_is_posted_in_the_middle_of_a_post_is_written_after_it(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    calls = iter((2, 3))

    def interrupt() -> None:  # as a finalizer or a signal handler does
        for call in calls:
            writer.post([{"kind": "history_missing", "call": call}])
            writer.flush(1e6)  # does not wait for itself

    writer = FrameWriter(Connection(pair[0], interrupt))  # type: ignore[arg-type]  # is like one
    writer.post([{"kind": "history_missing", "call": 1}])
    assert [each.call for each in read_all(pair[1], 3)] == [1, 2, 3]


def test_a_flush_waits_for_what_another_thread_writes(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    began, gate = threading.Event(), threading.Event()
    order: list[str] = []

    def stand_still() -> None:
        began.set()
        gate.wait(20)
        order.append("written")

    def flush() -> None:
        writer.flush(20)
        order.append("flushed")

    writer = FrameWriter(Connection(pair[0], stand_still))  # type: ignore[arg-type]  # is like one
    message = {"kind": "history_missing", "call": 1}
    threads = [threading.Thread(target=writer.post, args=([message],))]
    threads[0].start()
    began.wait(20)
    threads.append(threading.Thread(target=flush))
    threads[1].start()
    gate.set()
    for thread in threads:
        thread.join()
    assert order == ["written", "flushed"]


def test_many_threads_write_without_mixing_up(pair: tuple[socket.socket, socket.socket]) -> None:
    writer = FrameWriter(pair[0])

    def write(thread: int) -> None:
        for number in range(50):
            writer.post([{"kind": "history_missing", "call": thread * 50 + number}])

    threads = [threading.Thread(target=write, args=(each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    calls = [each.call for each in read_all(pair[1], 200)]
    for thread in threads:
        thread.join()
    assert sorted(calls) == list(range(200))
    assert [each for each in calls if each < 50] == list(range(50))
