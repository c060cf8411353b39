"""Real hubs without an app: ``soloist serve`` in a process of its own, started and ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from proofs.hosts import HostDied

_READY = re.compile(r"Durable Task gRPC: (\S+) \(")


class HubProcess:
    """A ``soloist serve`` of its own, on a port that the system chose."""

    def __init__(
        self,
        store: Path | str,
        *options: str,
        port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it and wait until it serves.

        Raises:
            HostDied: it did not come so far.
        """
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "soloist", "serve", "--store", str(store)),
                *("--grpc-port", str(port), *options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        )
        self.store = store
        self.output: list[str] = []
        self.address = self._wait_until_ready()
        self._reader = threading.Thread(target=self._read_on, daemon=True)
        self._reader.start()

    @property
    def port(self) -> int:
        """Where it serves."""
        return int(self.address.rpartition(":")[2])

    @property
    def text(self) -> str:
        """Everything it printed so far."""
        return "".join(self.output)

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()
        self.wait()

    def stop(self) -> int:
        """Ask for an orderly end; return the exit code."""
        if self._process.poll() is None:
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
            ready = _READY.match(line)
            if ready is not None:
                return ready[1]
        code = self._process.wait(timeout=60)
        self._process.stdout.close()
        raise HostDied("".join(self.output), code)

    def _read_on(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            self.output.extend(lines)
