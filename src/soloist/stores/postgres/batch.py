"""Batches: several statements in one round trip, at little cost to this process.

psycopg's own pipeline turns to the event loop for every statement; a batch is one write, one wait
and one read of all answers. Of psycopg it uses libpq's pipeline mode, the errors and the loaders.

Statements are written with ``%s`` or with ``%(name)s``, as elsewhere, and prepared at their first
use. Values are of a few types, whose binary form is known.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import count
from struct import pack
from typing import Any, NamedTuple, TypeAlias

import msgspec
from psycopg.adapt import Transformer
from psycopg.errors import OperationalError, error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from soloist.stores.postgres.arrays import BIGINT, BOOL, TEXT, Bigints, Bools, Texts
from soloist.stores.postgres.connection import Connection

Value: TypeAlias = int | str | bool | Bigints | Texts | Bools
Values: TypeAlias = Sequence[Value] | Mapping[str, Value]
_Expected: TypeAlias = "tuple[str, Answer | None]"

_PLACE = re.compile(r"%s|%\((\w+)\)s")
_MAX_STATEMENTS = 256


class _Statement(msgspec.Struct, frozen=True):
    """SQL as the server reads it; ``names`` are of the values at its places, if they have names."""

    sql: bytes
    names: tuple[str, ...] | None

    def ordered(self, values: Values) -> Iterable[Value]:
        """Return the values in the order of the places."""
        if self.names is None:
            assert not isinstance(values, Mapping), "its places have no names"
            return values
        assert isinstance(values, Mapping), "its places have names"
        return [values[name] for name in self.names]


class Answer:
    """What the server said to one statement, there when its batch has run."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []


class Batch:
    """Statements in the order in which they are to be run."""

    def __init__(self, speaker: Speaker) -> None:
        self.statements: list[tuple[str, Values, Answer]] = []
        self._speaker = speaker

    def add(self, text: str, values: Values = ()) -> Answer:
        """Add a statement; its answer is filled when the batch has run."""
        answer = Answer()
        self.statements.append((text, values, answer))
        return answer

    async def run(self) -> None:
        """Run all statements in one round trip; after one that fails, none is run.

        Raises:
            psycopg.Error: the first that failed did so for that reason, or no answer came, and
                then the connection is closed.
        """
        await self._speaker.run(self.statements)


class ServerProcess(NamedTuple):
    """A process of the server: its number, and when it began."""

    number: int
    began: str


UNKNOWN_PROCESS = ServerProcess(0, "")


class Speaker:
    """Speaks in batches over one connection, which nobody else uses meanwhile. ``process`` is the
    server's at its other end.

    Without ``prepares`` every statement is sent in full each time, since a pooler may hand each
    transaction to another process of the server.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        prepares: bool,
        process: ServerProcess = UNKNOWN_PROCESS,
    ) -> None:
        self.process = process
        self.connection = connection
        # After a ROLLBACK psycopg would drop every prepared statement, and ours with its own.
        connection.prepare_threshold = None
        self._server = connection.pgconn
        self._transformer = Transformer(connection)
        self._prepares = prepares
        self._prepared: dict[str, bytes] = {}
        self._numbers = count(1)

    @property
    def has_ended(self) -> bool:
        """Whether the server is known to have closed the connection while nothing was asked."""
        try:
            self._server.consume_input()  # what it said before it went
            self._server.consume_input()  # that it went
        except OperationalError:
            return True
        return False

    def batch(self) -> Batch:
        """Return a batch to fill and run."""
        return Batch(self)

    async def run(self, statements: Sequence[tuple[str, Values, Answer]]) -> None:
        """See :meth:`Batch.run`."""
        server = self._server
        expected: list[_Expected] = []
        try:
            server.enter_pipeline_mode()
            for text, values, answer in statements:
                self._send(text, values, answer, expected)
            server.pipeline_sync()
            results = await self._results()
            server.exit_pipeline_mode()
        except BaseException:
            server.finish()  # in the middle of an answer it is of no use any more
            raise
        self._take(expected, results)

    def _send(self, text: str, values: Values, answer: Answer, expected: list[_Expected]) -> None:
        statement = _compiled(text)
        types: list[int] = []
        columns: list[bytes | None] = []
        for value in statement.ordered(values):
            type_, column = _dump(value)
            types.append(type_)
            columns.append(column)
        formats = [Format.BINARY] * len(columns)
        if self._prepares:
            name = self._prepared.get(text)
            if name is None:
                name = self._prepared[text] = b"soloist_%d" % next(self._numbers)
                self._server.send_prepare(name, statement.sql, types)
                expected.append((text, None))
            self._server.send_query_prepared(name, columns, formats, Format.BINARY)
        else:
            self._server.send_query_params(statement.sql, columns, types, formats, Format.BINARY)
        expected.append((text, answer))

    async def _results(self) -> list[PGresult]:
        """Send what is not sent yet, and read one result for each statement until the end."""
        server = self._server
        loop = asyncio.get_running_loop()
        socket = server.socket
        ready = asyncio.Event()
        is_unsent = server.flush()
        loop.add_reader(socket, ready.set)
        if is_unsent:
            loop.add_writer(socket, ready.set)
        results: list[PGresult] = []
        try:
            while not self._read_into(results):
                await ready.wait()
                ready.clear()
                server.consume_input()
                if is_unsent:
                    is_unsent = server.flush()
                    if not is_unsent:
                        loop.remove_writer(socket)
        finally:
            loop.remove_reader(socket)
            if is_unsent:
                loop.remove_writer(socket)
        return results

    def _read_into(self, results: list[PGresult]) -> bool:
        """Take the results that are there; whether they are all of the batch.

        One statement's end is told by ``None``; two of them say that the connection has ended,
        which the next attempt to read raises.
        """
        server = self._server
        is_between = False
        while not server.is_busy():
            result = server.get_result()
            if result is None:
                if is_between:
                    return False
                is_between = True
                continue
            is_between = False
            if result.status == ExecStatus.PIPELINE_SYNC:
                return True
            results.append(result)
        return False

    def _take(self, expected: list[_Expected], results: list[PGresult]) -> None:
        failed: PGresult | None = None
        for (text, answer), result in zip(expected, results, strict=True):
            if result.status == ExecStatus.TUPLES_OK:
                assert answer is not None, "preparing has no rows"
                self._transformer.set_pgresult(result)
                answer.rows = self._transformer.load_rows(0, result.ntuples, tuple)
            elif result.status != ExecStatus.COMMAND_OK:
                if answer is None:
                    del self._prepared[text]
                if failed is None:
                    failed = result
        if failed is not None:
            raise error_from_result(failed)


def _dump(value: Value) -> tuple[int, bytes]:
    """Return a value's type and its binary form."""
    match value:
        case bool():
            return BOOL, b"\1" if value else b"\0"
        case int():
            return BIGINT, pack(">q", value)
        case str():
            return TEXT, value.encode()
    return value.oid, value.dump()


@lru_cache(maxsize=_MAX_STATEMENTS)
def _compiled(text: str) -> _Statement:
    """Turn a statement's places into the server's; a name has the same one throughout."""
    names: list[str] = []
    places = count(1)

    def place(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return f"${next(places)}"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _Statement(_PLACE.sub(place, text).encode(), tuple(names) or None)
