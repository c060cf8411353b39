"""Who is measured: programs that are started on a store of their own and asked for workloads."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from benchmarks.environments import PACKAGES, ROOT, python_of
from benchmarks.program import ERROR, READY
from proofs.postgres import PostgresServer

SQLITE, POSTGRES, MEMORY = "SQLite", "PostgreSQL", "memory"
START_SECONDS = 60.0
ANSWER_SECONDS = 600.0

_STDERR_SHOWN = 2_000


class ContestantFailed(Exception):
    """A contestant did not answer, or told of an error; the text is what it said."""


class Contestant(msgspec.Struct, frozen=True):
    """One who is measured.

    ``peer`` is the name by which it is left out and, where it has one, that of its environment;
    ours have none. ``url`` makes what the program calls a store of a path.
    """

    name: str
    title: str
    module: str
    store: str
    peer: str | None = None
    arguments: tuple[str, ...] = ()
    url: str = "{}"


_HUB, _WEB, _FLOOR = (f"benchmarks.ours.{name}" for name in ("hub", "web", "floor"))
_DBOS, _ABSURD = "benchmarks.peers.dbos_peer", "benchmarks.peers.absurd_peer"
_DURABLETASK, _BARE = "benchmarks.peers.durabletask_peer", "benchmarks.peers.bare_post"
_SQLALCHEMY = "sqlite:///{}"

# In the order of their turns: those who are compared with each other come one after another.
CONTESTANTS = {
    each.name: each
    for each in (
        Contestant("soloist-sqlite", "Soloist, SQLite", _HUB, SQLITE),
        Contestant("floor-sqlite", "floor, SQLite", _FLOOR, SQLITE),
        Contestant("dbos-wal", "DBOS, SQLite in WAL", _DBOS, SQLITE, "dbos", ("wal",), _SQLALCHEMY),
        Contestant(
            "dbos-sqlite", "DBOS, SQLite as shipped", _DBOS, SQLITE, "dbos", (), _SQLALCHEMY
        ),
        Contestant("web-sqlite", "Soloist over HTTP, SQLite", _WEB, SQLITE),
        Contestant("bare", "a bare Starlette POST", _BARE, MEMORY, "starlette"),
        Contestant("web-postgres", "Soloist over HTTP, PostgreSQL", _WEB, POSTGRES),
        Contestant("dbos-postgres", "DBOS, PostgreSQL", _DBOS, POSTGRES, "dbos"),
        Contestant("soloist-postgres", "Soloist, PostgreSQL", _HUB, POSTGRES),
        Contestant("floor-postgres", "floor, PostgreSQL", _FLOOR, POSTGRES),
        Contestant("absurd", "Absurd, PostgreSQL", _ABSURD, POSTGRES, "absurd"),
        Contestant("grpc-sqlite", "Soloist over gRPC, SQLite", _DURABLETASK, SQLITE),
        Contestant("durabletask", "durabletask, in memory", _DURABLETASK, MEMORY, "durabletask"),
    )
}


class Running:
    """A contestant's program, on a fresh store."""

    def __init__(self, contestant: Contestant, store: str | None) -> None:
        """Start it and wait until it takes requests.

        Raises:
            CannotBeHad: its packages cannot be installed.
            ContestantFailed: it did not come so far.
        """
        self._name = contestant.name
        peer = contestant.peer
        python = python_of(peer) if peer is not None and peer in PACKAGES else sys.executable
        place = () if store is None else (contestant.url.format(store),)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by end()
        self._process = subprocess.Popen(
            [python, "-m", contestant.module, *place, *contestant.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            text=True,
            bufsize=1,
            start_new_session=True,  # it ends with all that it has started
        )
        try:
            if self._line(START_SECONDS).strip() != READY:
                raise ContestantFailed(self._last_words("did not start"))
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def ask(self, workload: str, **sizes: Any) -> dict[str, Any]:
        """Let it run a workload; return its figures.

        Raises:
            ContestantFailed: it could not.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"workload": workload, **sizes}) + "\n")
        answer: dict[str, Any] = json.loads(self._line(ANSWER_SECONDS))
        if ERROR in answer:
            raise ContestantFailed(f"{self._name} failed at {workload}:\n{answer[ERROR]}")
        return answer

    def end(self) -> None:
        """Kill it with everything that it has started: its store is not used again."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._errors.close()

    def _line(self, seconds: float) -> str:
        """Read a line; a program writes one line at a time, and whole."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not readable:
            raise ContestantFailed(self._last_words(f"was silent for {seconds:g} s"))
        line = self._process.stdout.readline()
        if not line:
            raise ContestantFailed(self._last_words("ended"))
        return line

    def _last_words(self, what: str) -> str:
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace")
        return f"{self._name} {what}. {text[-_STDERR_SHOWN:]}"


class Stage:
    """Where contestants are run: a folder on a disk, and a server once one of them needs it."""

    def __init__(self, folder: Path, server: Callable[[], PostgresServer]) -> None:
        self._folder = folder
        self._make_server = server
        self._server: PostgresServer | None = None

    @contextmanager
    def running(self, contestant: Contestant) -> Iterator[Running]:
        """Run a contestant on a fresh store.

        Raises:
            CannotBeHad: its packages cannot be installed.
            ContestantFailed: it does not start.
        """
        if contestant.store == SQLITE:
            with (
                tempfile.TemporaryDirectory(dir=self._folder) as folder,
                Running(contestant, str(Path(folder) / "hub.db")) as running,
            ):
                yield running
        elif contestant.store == POSTGRES:
            server = self._started()
            name = server.create_database().rpartition("/")[2]
            try:
                with Running(contestant, server.url(name)) as running:
                    yield running
            finally:
                server.drop_database(name)
        else:
            with Running(contestant, None) as running:
                yield running

    def close(self) -> None:
        """Stop the server if it was started."""
        if self._server is not None:
            self._server.remove()

    def _started(self) -> PostgresServer:
        if self._server is None:
            self._server = self._make_server()
            self._server.start()
        return self._server
