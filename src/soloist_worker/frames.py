"""Frames: the worker's side of the connection to its host.

Four bytes, big-endian, give the length of what follows: UTF-8 JSON, an array of messages. The
messages are those of ``soloist.wire``, here as plain dictionaries.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

Message = dict[str, Any]

MAX_FRAME_BYTES = 256 * 1024 * 1024
_LENGTH_BYTES = 4

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


class FrameReader:
    """Reads frames from a socket; one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._stream = connection.makefile("rb", buffering=256 * 1024)

    def read(self) -> list[Message] | None:
        """Wait for the next frame; ``None`` when the host has closed the connection.

        Raises:
            ValueError: the other side does not keep to the protocol.
        """
        try:
            header = self._stream.read(_LENGTH_BYTES)
            if len(header) < _LENGTH_BYTES:
                return None
            length = int.from_bytes(header, "big")
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"The host sent a frame of {length} bytes; something else spoke.")
            body = self._stream.read(length)
        except ConnectionError:
            return None
        if len(body) < length:
            return None
        messages: list[Message] = json.loads(body.decode("utf-8"))
        return messages

    def close(self) -> None:
        """Read no more."""
        self._stream.close()


class FrameWriter:
    """Writes messages from any thread.

    Whoever finds nobody writing writes, and takes along what others post meanwhile: messages
    that are ready together travel in one frame, in the order in which they were posted.

    A finalizer or a signal handler that logs runs in the middle of whatever its thread is at, also
    of a ``post``. So nobody waits for a lock to post: what is posted is written by whoever has the
    floor, and whoever gives it up looks once more.
    """

    def __init__(self, connection: socket.socket, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._connection = connection
        self._max_frame_bytes = max_frame_bytes
        self._waiting: deque[Message] = deque()
        self._floor = threading.Lock()
        self._writing_thread_id = 0

    def post(self, messages: Iterable[Message]) -> None:
        """Send the messages; a connection that is gone swallows them."""
        waiting, floor = self._waiting, self._floor
        waiting.extend(messages)
        while waiting and floor.acquire(blocking=False):
            self._writing_thread_id = threading.get_ident()
            try:
                # So many are there for certain: only this thread takes any.
                self._write([waiting.popleft() for _ in range(len(waiting))])
            finally:
                self._writing_thread_id = 0
                floor.release()

    def flush(self, timeout_seconds: float) -> None:
        """Wait until everything that was posted is written, or the time is over. A thread that is
        itself in the middle of writing goes on at once."""
        if self._writing_thread_id == threading.get_ident():
            return
        if self._floor.acquire(timeout=timeout_seconds):
            self._floor.release()
            self.post(())  # what came while nobody else could write it

    def _write(self, batch: list[Message]) -> None:
        # Lone surrogates, legal in Python's text, are not legal in a frame.
        body = _encode(batch).encode("utf-8", "replace")
        if len(body) > self._max_frame_bytes:
            self._write_less(batch)
            return
        try:
            self._connection.sendall(len(body).to_bytes(_LENGTH_BYTES, "big") + body)
        except OSError:
            return  # the reader sees the end of the connection as well, and acts on it

    def _write_less(self, batch: list[Message]) -> None:
        if len(batch) == 1:
            answer = refusal(batch[0], self._max_frame_bytes)
            if answer is not None:
                self._write([answer])
            return
        half = len(batch) // 2
        self._write(batch[:half])
        self._write(batch[half:])


def refusal(message: Message, max_frame_bytes: int) -> Message | None:
    """Return the answer that says that the true answer is too large to send; ``None`` when the
    host does not wait for one."""
    kind = message["kind"]
    text = f"What came out is larger than {max_frame_bytes} bytes and cannot be sent to the host."
    details = {"message": text, "error_type": "", "stack_trace": ""}
    if kind == "episode_done":
        end = {"type": "CompleteExecution", "result": None, "failure": details}
        result = {"actions": [end], "custom_status": None}
        return {"kind": kind, "call": message["call"], "result": result}
    if kind == "activity_done" and message.get("turn") is not None:
        return {**message, "turn": None}
    if kind == "activity_done":
        return {"kind": kind, "call": message["call"], "result": None, "failure": details}
    if kind == "handle_done":
        return {"kind": kind, "call": message["call"], "body": None, "failure": details}
    if kind == "http_done":
        return {"kind": "http_failed", "call": message["call"], "failure": details}
    return None
