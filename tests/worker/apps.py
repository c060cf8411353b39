"""Apps: small Function apps, written to a folder, and a host's end of the line to their worker."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import soloist_worker
from soloist_worker.frames import FrameReader, FrameWriter
from soloist_worker.worker import Worker
from tests.worker.hosting import started

Message = dict[str, Any]

BOOT = Path(soloist_worker.__file__).with_name("boot.py")
HEAD = """\
import azure.functions as func
import azure.durable_functions as df

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""
BINDING = json.dumps(
    {
        "taskHubName": "hub",
        "creationUrls": {},
        "managementUrls": {"id": "INSTANCEID", "statusQueryGetUri": "http://host/INSTANCEID"},
        "rpcBaseUrl": "soloist://host/",
    }
)
_SECONDS = 20.0


def write_app(folder: Path, body: str, head: str = HEAD) -> Path:
    """Write an app of one script; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "host.json").write_text('{"version": "2.0"}')
    (folder / "function_app.py").write_text(head + textwrap.dedent(body))
    return folder


def load(folder: Path, threads: int = 4, **fields: Any) -> Message:
    """Return the message that loads an app."""
    return {
        "kind": "load",
        "app_dir": str(folder),
        "script": "function_app.py",
        "threads": threads,
        "client_binding": "",
        "slow_turn_seconds": 60.0,
        **fields,
    }


def episode(call: int, name: str, **fields: Any) -> Message:
    """Return an episode, by default an instance's first."""
    return {
        "kind": "episode",
        "call": call,
        "generation": 1,
        "execution_id": "execution-1",
        "instance_id": "instance-1",
        "name": name,
        "position": 0,
        "events": started(),
        "past": None,
        **fields,
    }


def activity(call: int, name: str, text: str | None = "null") -> Message:
    """Return a run of an activity."""
    return {
        "kind": "activity",
        "call": call,
        "name": name,
        "input": text,
        "instance_id": "instance-1",
        "task_id": 0,
        "generation": 7,
    }


def entity(
    call: int, name: str, *operations: tuple[str, str | None], state: str | None = None
) -> Message:
    """Return operations of an entity: names, and inputs as JSON text."""
    return {
        "kind": "entity",
        "call": call,
        "name": name,
        "key": "k",
        "state": state,
        "operations": [
            {"name": each, "input": text, "is_signal": False} for each, text in operations
        ],
    }


def timer(call: int, function: str, **fields: Any) -> Message:
    """Return a firing of a timer, by default its first."""
    return {
        "kind": "timer",
        "call": call,
        "function": function,
        "is_past_due": False,
        "last_at": None,
        "next_at": "2030-01-01T00:05:00Z",
        "updated_at": None,
        **fields,
    }


def http(call: int, function: str, body: bytes = b"", **fields: Any) -> Message:
    """Return a run of an HTTP function."""
    return {
        "kind": "http",
        "call": call,
        "function": function,
        "method": "GET",
        "url": f"http://host/api/{function}",
        "headers": [],
        "params": {},
        "route_params": {},
        "body": base64.b64encode(body).decode(),
        "client_binding": BINDING,
        **fields,
    }


class ProcessHost:
    """A worker process and the host's end of its socket. What the app logs is kept in ``logs``."""

    def __init__(self, **environment: str) -> None:
        self.logs: list[Message] = []
        self.connection, theirs = socket.socketpair()
        self.connection.settimeout(_SECONDS)
        self.process = subprocess.Popen(
            [sys.executable, str(BOOT), "--fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | environment,
        )
        theirs.close()
        self._reader = FrameReader(self.connection)
        self._writer = FrameWriter(self.connection)

    def post(self, *messages: Message) -> None:
        """Send messages in one frame."""
        self._writer.post(list(messages))

    def frame(self) -> list[Message] | None:
        """Wait for the next frame with something else than logs in it."""
        while (messages := self._reader.read()) is not None:
            self.logs += [each for each in messages if each["kind"] == "log"]
            rest = [each for each in messages if each["kind"] != "log"]
            if rest:
                return rest
        return None

    def ask(self, *messages: Message) -> Message:
        """Send messages; return the one message that comes back."""
        self.post(*messages)
        frame = self.frame()
        assert frame is not None
        assert len(frame) == 1
        return frame[0]

    def wait(self) -> int:
        """Wait for the process to end; return its exit code."""
        return self.process.wait(_SECONDS)

    def __enter__(self) -> ProcessHost:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()
        self.connection.close()
        try:
            self.wait()
        finally:
            self.process.kill()


class InProcessHost:
    """A worker in this process."""

    def __init__(self, **options: Any) -> None:
        self._answers: SimpleQueue[list[Message]] = SimpleQueue()
        self.worker = Worker(self._answers.put, **options)

    def ask(self, *messages: Message) -> Message:
        """Send messages; return the one message that comes back."""
        self.worker.receive(list(messages))
        return self.next()

    def next(self) -> Message:
        """Wait for the next message."""
        (message,) = self._answers.get(timeout=_SECONDS)
        return message

    def __enter__(self) -> InProcessHost:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.worker.close()
