"""Connections: opening a hub file and bringing its schema up to date, with errors for people."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from soloist.errors import HubTooNew, StoreUnavailable
from soloist.stores import migrations

BUSY_TIMEOUT_SECONDS = 10.0
_PATIENCE_MILLISECONDS = round(BUSY_TIMEOUT_SECONDS * 1000)
CACHED_STATEMENTS = 256
_PRIVATE_FOLDER = 0o700
_PRIVATE_FILE = 0o600
OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING."""

WAL_PAGES_BEFORE_CHECKPOINT = 4000
"""About 16 MB of log: a checkpoint costs a sync of its own, so it should come seldom."""

_NEWEST = migrations.load(__package__)

_PRIMARY_CODE = 0xFF
_REASONS = {
    sqlite3.SQLITE_BUSY: "another process holds its write lock. Try again, or end that process",
    sqlite3.SQLITE_LOCKED: "another connection holds its write lock. Try again",
    sqlite3.SQLITE_READONLY: "it cannot be written. Give this user write access to the file and"
    " its folder",
    sqlite3.SQLITE_IOERR: "reading or writing it failed. Check the disk and the system log",
    sqlite3.SQLITE_CORRUPT: "it is damaged. Restore it from a backup",
    sqlite3.SQLITE_FULL: "the disk, or the file's own limit, is full. Make room",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened. Check the path and the permissions",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database. Choose another path",
    sqlite3.SQLITE_PERM: "the system refuses access. Check the permissions",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
}


def unavailable(path: Path, error: sqlite3.Error) -> StoreUnavailable:
    """Say in one sentence which file, what happened and what to do."""
    code = getattr(error, "sqlite_errorcode", None)
    reason = None if code is None else _REASONS.get(code & _PRIMARY_CODE)
    if reason is None:
        return StoreUnavailable(f"The task hub file {path} does not answer: {error}.")
    return StoreUnavailable(f"The task hub file {path} does not answer: {reason} ({error}).")


def open_writer(path: Path, now_micros: int) -> sqlite3.Connection:
    """Open the connection that writes, creating the file or upgrading its schema where needed.

    Raises:
        HubTooNew: a newer Soloist wrote the file.
        StoreUnavailable: it cannot be opened or written; the text says why.
    """
    _check_place(path)
    try:
        connection = _connect(path)
        try:
            connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MILLISECONDS}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES_BEFORE_CHECKPOINT}")
            _migrate(connection, path, now_micros)
            connection.execute("PRAGMA busy_timeout = 0")  # from here on it must not block
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise unavailable(path, error) from error
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that only reads a file which :func:`open_writer` has prepared.

    Raises:
        StoreUnavailable: it cannot be opened; the text says why.
    """
    try:
        connection = _connect(path)
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise unavailable(path, error) from error
    return connection


def hubs_in(path: Path) -> tuple[str, ...]:
    """Return the names of the task hubs in a file, which is left as it is; none without a file.

    Raises:
        StoreUnavailable: it cannot be read, or is no hub file; the text says why.
    """
    if not os.path.exists(path):  # noqa: PTH110  # Path.exists raises on names too long
        return ()
    _refuse_folder(path)
    # The mode keeps SQLite from making a file, should this one vanish meanwhile.
    place = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(place, timeout=BUSY_TIMEOUT_SECONDS, uri=True)) as connection:
            if _version(connection) == 0:
                _check_origin(connection, path, 0)
                return ()
            found = connection.execute("SELECT name FROM hubs ORDER BY hub_id").fetchall()
            return tuple(row[0] for row in found)
    except sqlite3.Error as error:
        raise unavailable(path, error) from error


def begin(connection: sqlite3.Connection) -> bool:
    """Begin a writing transaction at once, or return ``False`` when another process has one."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & _PRIMARY_CODE == sqlite3.SQLITE_BUSY:
            return False
        raise
    return True


def begin_patiently(connection: sqlite3.Connection) -> None:
    """Begin a writing transaction, waiting for other processes as long as is bearable."""
    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MILLISECONDS}")
    try:
        connection.execute("BEGIN IMMEDIATE")
    finally:
        connection.execute("PRAGMA busy_timeout = 0")


def hub_id_of(connection: sqlite3.Connection, task_hub: str, now_micros: int) -> int:
    """Return the number of a task hub, entering it when there is none of that name."""
    find = "SELECT hub_id FROM hubs WHERE name = ?"
    row = connection.execute(find, (task_hub,)).fetchone()
    if row is None:
        # Another process may do the same at the same moment.
        connection.execute(
            "INSERT INTO hubs (name, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (task_hub, now_micros),
        )
        row = connection.execute(find, (task_hub,)).fetchone()
    return int(row[0])


def _connect(path: Path) -> sqlite3.Connection:
    # Each connection is used by one thread at a time, though not always by the one that opened it.
    return sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )


def _check_place(path: Path) -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(str(part) for part in OLDEST_SQLITE)
        raise StoreUnavailable(
            f"This Python has SQLite {sqlite3.sqlite_version}; Soloist needs {oldest} or newer."
        )
    try:
        _make_place(path)
    except OSError as error:
        raise StoreUnavailable(
            f"The task hub file {path} cannot be made: {error.strerror or error}. Give this"
            " user access to its folder, or choose another path."
        ) from error


def _make_place(path: Path) -> None:
    """Make the file and its folder, for this user's eyes only: a hub holds access keys."""
    _refuse_folder(path)
    path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=_PRIVATE_FILE)


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise StoreUnavailable(
            f"The task hub file {path} is a folder. Name a file in it, such as {path / 'hub.db'}."
        )


def _migrate(connection: sqlite3.Connection, path: Path, now_micros: int) -> None:
    if _version(connection) == len(_NEWEST):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)  # another process may have been faster
        _check_origin(connection, path, version)
        for migration in _NEWEST[version:]:
            for statement in _statements(migration.sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)",
                (migration.version, migration.name, now_micros),
            )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    found = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'"
    ).fetchone()
    if found is None:
        return 0
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_migrations").fetchone()
    return int(row[0])


def _check_origin(connection: sqlite3.Connection, path: Path, version: int) -> None:
    if version > len(_NEWEST):
        raise HubTooNew(
            f"The task hub file {path} was written by a newer Soloist (schema {version}; this one"
            f" knows {len(_NEWEST)}). Upgrade Soloist, or choose another file."
        )
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version == 0 and tables:
        raise StoreUnavailable(
            f"The file {path} is a database of some other program. Choose another path."
        )


def _statements(script: str) -> list[str]:
    """Cut a script into statements: executescript would commit before it begins."""
    statements: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    assert not pending.strip(), "the last statement of a migration ends with a semicolon"
    return statements
