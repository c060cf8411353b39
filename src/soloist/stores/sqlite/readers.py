"""The readers: a few threads with a connection each, so that a long listing delays no commit, and
one connection more for what is read by its key.

A read by its key takes some ten microseconds; handing it to a thread and back costs ten times as
much, so it runs where it is asked for.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from soloist.errors import StoreUnavailable
from soloist.stores.sqlite.connection import open_reader, unavailable
from soloist.stores.sqlite.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

READERS = 2

T = TypeVar("T")


class Readers:
    """Runs reads on their own threads."""

    def __init__(self, path: Path, place: Place) -> None:
        self._path = path
        self._place = place
        self._threads: ThreadPoolExecutor | None = None
        self._free: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        self._here: sqlite3.Connection | None = None

    def open(self) -> None:
        """Connect; the file must have been prepared by the writer.

        Raises:
            StoreUnavailable: the file cannot be opened.
        """
        self._here = open_reader(self._path)
        for _ in range(READERS):
            self._free.put(open_reader(self._path))
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="soloist-reader")

    async def close(self) -> None:
        """Finish what is being read and close the connections."""
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.get_running_loop().run_in_executor(None, threads.shutdown)
        here, self._here = self._here, None
        if here is not None:
            here.close()
        while not self._free.empty():
            self._free.get_nowait().close()

    def look_up(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` finds by a key, at once.

        Raises:
            StoreUnavailable: the store is not open, or the database does not answer.
            StoreGone: its file is known to be gone.
        """
        if self._here is None:
            raise StoreUnavailable(f"The task hub file {self._path} is not open.")
        self._place.check_told()
        try:
            return work(self._here)
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` reads.

        Raises:
            StoreUnavailable: the store is not open, or the database does not answer.
            StoreGone: its file is known to be gone.
        """
        if self._threads is None:
            raise StoreUnavailable(f"The task hub file {self._path} is not open.")
        self._place.check_told()
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._borrowed() as connection:
            try:
                return work(connection)
            except sqlite3.Error as error:
                raise unavailable(self._path, error) from error

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        connection = self._free.get()
        try:
            yield connection
        finally:
            self._free.put(connection)
