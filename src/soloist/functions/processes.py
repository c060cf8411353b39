"""Worker processes: how they are started, spoken to and ended.

A worker inherits one end of a socket pair and exits when the other end closes, so that none
outlives its host, however the host dies.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from soloist.errors import AppError, AppLoadFailed, SettingsError
from soloist.functions.links import Link, OpenLink, Receiver
from soloist.functions.outbox import Outbox
from soloist.telemetry import logger
from soloist.wire import FrameReader, HostMessage, Stop, encode_frame

_log = logger(__name__)

_IS_WINDOWS: Final = sys.platform == "win32"
_LAST_WORDS_SECONDS = 1.0


class StopLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a worker has to end: after being asked, and again after being terminated."""

    ask_seconds: float = 5.0
    terminate_seconds: float = 2.0


def find_python(app_dir: Path, given: str | None = None) -> str:
    """Return the interpreter for an app: the given one, else its ``.venv``'s, else ours.

    Raises:
        SettingsError: the given interpreter does not exist.
    """
    if given is not None:
        found = shutil.which(given)
        if found is None:
            raise SettingsError(f"The Python interpreter {given!r} does not exist.")
        return found
    own = _python_of_venv(app_dir)
    return str(own) if own.exists() else sys.executable


def venv_warning(app_dir: Path) -> str | None:
    """Return what to tell who expects the app's ``.venv`` to be used where it cannot be."""
    own = _python_of_venv(app_dir)
    if own.exists() or not own.parents[1].is_dir():
        return None
    return (
        f"{own.parents[1]} has no {own.relative_to(own.parents[1])}, so the app runs with"
        f" {sys.executable}, Soloist's own interpreter. Make it anew with 'python3 -m venv', or"
        " name an interpreter with --python."
    )


def _python_of_venv(app_dir: Path) -> Path:
    inside = ("Scripts", "python.exe") if _IS_WINDOWS else ("bin", "python")
    return app_dir.joinpath(".venv", *inside)


def boot_script() -> Path:
    """Return the path of the worker's start file.

    Raises:
        AppLoadFailed: the installation lacks the worker.
    """
    spec = importlib.util.find_spec("soloist_worker")
    for folder in (spec and spec.submodule_search_locations) or ():
        script = Path(folder) / "boot.py"
        if script.is_file():
            return script
    raise AppLoadFailed("The package soloist_worker is missing; install Soloist again.")


def process_links(
    python: str, environment: Mapping[str, str], limits: StopLimits | None = None
) -> OpenLink:
    """Return a starter of worker processes that run under ``python`` with ``environment``."""

    async def open_link(receiver: Receiver) -> Link:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise AppLoadFailed(f"The worker cannot be reached: {error}.") from error
        wire = _Wire(receiver)
        try:
            await asyncio.get_running_loop().create_connection(lambda: wire, sock=ours)
            process = await _spawn(python, environment, theirs)
        except OSError as error:
            wire.abort()
            raise AppLoadFailed(f"The worker cannot be started with {python}: {error}.") from error
        except BaseException:
            # A worker that is already on its way finds the connection closed and exits.
            wire.abort()
            ours.close()
            raise
        finally:
            theirs.close()
        return ProcessLink(process, wire, receiver, limits or StopLimits())

    return open_link


async def _spawn(
    python: str, environment: Mapping[str, str], end: socket.socket
) -> asyncio.subprocess.Process:
    options: dict[str, Any] = {"pass_fds": (end.fileno(),)}
    if _IS_WINDOWS:
        end.set_inheritable(True)
        options = {"close_fds": False}
    return await asyncio.create_subprocess_exec(
        python,
        str(boot_script()),
        "--fd",
        str(end.fileno()),
        stdin=subprocess.DEVNULL,
        env=dict(environment),
        # A Ctrl-C in the terminal is the host's to answer; the worker is told when it is time.
        start_new_session=not _IS_WINDOWS,
        **options,
    )


class ProcessLink:
    """A worker process and the socket to it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        wire: _Wire,
        receiver: Receiver,
        limits: StopLimits,
    ) -> None:
        self._process = process
        self._wire = wire
        self._receiver = receiver
        self._limits = limits
        self._is_closing = False
        self._watch = asyncio.create_task(self._until_gone(), name=f"worker-{process.pid}")

    @property
    def pid(self) -> int | None:
        """The worker's process id."""
        return self._process.pid

    def send(self, message: HostMessage) -> None:
        """Post a message."""
        self._wire.outbox.post(message)

    async def close(self) -> None:
        """Ask the worker to stop, terminate it, kill it, whichever is enough."""
        if not self._is_closing:
            self._is_closing = True
            self.send(Stop())
        if not self._watch.done():
            await asyncio.wait((self._watch,), timeout=self._limits.ask_seconds)
            await self._end()
            await self._watch

    async def _until_gone(self) -> None:
        exited = asyncio.create_task(self._process.wait())
        ended = self._wire.ended
        await asyncio.wait((exited, ended), return_when=asyncio.FIRST_COMPLETED)
        if exited.done():
            # What it said before it died is still in the socket.
            await asyncio.wait((ended,), timeout=_LAST_WORDS_SECONDS)
        elif not self._is_closing or self._wire.fault:
            await asyncio.wait((exited,), timeout=_LAST_WORDS_SECONDS)
            await self._end()
        code = await exited
        self._wire.abort()
        if not self._is_closing:
            self._receiver.lost(self._wire.fault or _describe_exit(code))

    async def _end(self) -> None:
        """Terminate, then kill, the process, by its own id."""
        for end, seconds in (
            (self._process.terminate, self._limits.terminate_seconds),
            (self._process.kill, None),
        ):
            if self._process.returncode is not None:
                return
            try:
                end()
                await asyncio.wait_for(self._process.wait(), seconds)
            except ProcessLookupError:
                await self._process.wait()
            except TimeoutError:
                _log.warning("A worker does not end; killing it", pid=self.pid)


class _Wire(asyncio.Protocol):
    """The host's side of the socket; ``fault`` says how the worker broke the protocol."""

    def __init__(self, receiver: Receiver) -> None:
        loop = asyncio.get_running_loop()
        self.outbox = Outbox(loop, self._ship)
        self.ended: asyncio.Future[None] = loop.create_future()
        self.fault = ""
        self._receiver = receiver
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports are not asyncio.Transport's children.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.fault:
            return
        try:
            messages = self._reader.feed(data)
        except AppError as error:
            self.fault = f"broke the protocol: {error}"
            self.abort()
            return
        if messages:
            self._receiver.received(messages)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if not self.ended.done():
            self.ended.set_result(None)

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _ship(self, messages: list[HostMessage]) -> None:
        if self._transport is None:
            return
        try:
            self._transport.write(encode_frame(messages))
        except (AppError, ValueError) as error:  # too large, or text that UTF-8 cannot hold
            if len(messages) == 1:
                self._receiver.unsendable(messages[0], error)
                return
            for message in messages:
                self._ship([message])


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def child_environment(environment: Mapping[str, str], app_dir: Path) -> dict[str, str]:
    """Return what the app sees: ``environment``, the app's root, and output that is not held
    back in buffers on its way to whoever watches the host."""
    return {
        "PYTHONUNBUFFERED": "1",
        **environment,
        "AzureWebJobsScriptRoot": os.fspath(app_dir),
    }
