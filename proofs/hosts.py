"""Real host processes: started, spoken to over HTTP, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from soloist.webapi import BASE_PATH

_READY = "Management API: "


class HostDied(Exception):
    """The host exited before it was ready; the text is what it printed."""

    def __init__(self, output: str, code: int) -> None:
        super().__init__(output)
        self.was_killed = code == -signal.SIGKILL


class HostProcess:
    """A ``soloist start`` of its own, on a port that the system chose."""

    def __init__(
        self,
        app_dir: Path,
        store: Path | str,
        *options: str,
        environment: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (),
    ) -> None:
        """Start it and wait until it serves.

        ``launcher`` is a module with its own arguments, which runs ``soloist`` with the rest.

        Raises:
            HostDied: it did not come so far.
        """
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", *(launcher or ("soloist",)), "start", str(app_dir)),
                *("--port", "0", "--store", str(store), *options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.output: list[str] = []
        self.origin = self._wait_until_ready()
        self._reader = threading.Thread(target=self._read_on, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The host's process id."""
        return self._process.pid

    @property
    def management(self) -> str:
        """The management API's base URL."""
        return f"{self.origin}{BASE_PATH}"

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @property
    def code(self) -> int | None:
        """The exit code, once it has ended."""
        return self._process.poll()

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()
        self.wait()

    def stop(self) -> int:
        """Ask for an orderly end; return the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        code = self._process.wait(timeout=60)
        self._reader.join(timeout=10)
        return code

    def _wait_until_ready(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output.append(line)
            if line.startswith(_READY):
                return line.removeprefix(_READY).strip().removesuffix(BASE_PATH)
        code = self._process.wait(timeout=60)
        self._process.stdout.close()
        raise HostDied("".join(self.output), code)

    def _read_on(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            self.output.extend(lines)
