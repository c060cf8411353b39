"""Databases for tests, made on one server that lives as long as the test run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from urllib.parse import urlsplit

import psycopg

from soloist.stores.times import to_micros
from soloist.testing.clock import JumpClock

_numbers = count(1)

CLOCK = "(SELECT micros FROM public.test_clock)"
"""The expression by which a store asks such a database for the time."""


class DatabaseClock(JumpClock):
    """A clock that jumps, in a database: every store that asks there sees it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("CREATE TABLE public.test_clock (micros bigint NOT NULL)")
        self._connection.execute("INSERT INTO public.test_clock VALUES (0)")
        self._tell()

    def advance(self, seconds: float) -> None:
        """Move on, here and there."""
        super().advance(seconds)
        self._tell()

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def _tell(self) -> None:
        self._connection.execute(
            "UPDATE public.test_clock SET micros = %s", (to_micros(self.now()),)
        )


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """Make an empty database, give its URL, and drop it."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
