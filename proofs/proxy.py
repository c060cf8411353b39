"""A bad network in front of a PostgreSQL server: it cuts, hangs, delays and loses answers.

The proxy understands as much of the protocol as it takes to see a commit pass: frames of the
client, the text of simple queries and of prepared statements. It runs on a thread of its own, so
that commands can come from anywhere.

    with Proxy(server.port) as proxy:
        url = proxy.url_for(server.url())
        proxy.lose_answers(1)
"""

from __future__ import annotations

import asyncio
import re
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Self, TypeVar

import msgspec

HOST = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
COMMAND_SECONDS = 10.0

_Result = TypeVar("_Result")

# The first message of a connection has no type; some of them are questions before the start.
_QUESTIONS = (80877102, 80877103, 80877104)  # cancel, TLS?, GSS?
_COMMITS = re.compile(rb"(?:^|;)\s*COMMIT\s*;?\s*\0?$", re.IGNORECASE)
_COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"


class Weather(StrEnum):
    """What the network is like for new and for living connections."""

    FAIR = "fair"
    HALF_OPEN = "half_open"
    """Connections are accepted; nothing is forwarded, nothing answered, nothing closed."""
    CUT = "cut"
    """Connections are accepted and closed at once."""


class Seen(msgspec.Struct):
    """What the proxy has done so far."""

    connections: int = 0
    cut: int = 0
    hung: int = 0
    commits: int = 0
    lost_commits: int = 0
    lost_answers: int = 0


class FrontendReader:
    """Follows what a client sends and says where a commit ends, as an offset into the stream."""

    def __init__(self) -> None:
        self._rest = b""
        self._has_started = False
        self._commits_by_statement: dict[bytes, bool] = {}
        self._commits_by_portal: dict[bytes, bool] = {}

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Yield each whole message and whether it executes a COMMIT; keep the rest."""
        self._rest += data
        while (size := self._size()) is not None and len(self._rest) >= size:
            message, self._rest = self._rest[:size], self._rest[size:]
            yield message, self._commits(message)

    def _size(self) -> int | None:
        skipped = 1 if self._has_started else 0
        if len(self._rest) < skipped + 4:
            return None
        length: int = struct.unpack_from("!I", self._rest, skipped)[0]
        return skipped + length

    def _commits(self, message: bytes) -> bool:
        if not self._has_started:
            self._has_started = struct.unpack_from("!I", message, 4)[0] not in _QUESTIONS
            return False
        kind, body = message[:1], message[5:]
        if kind == b"Q":
            return bool(_COMMITS.search(body))
        if kind == b"P":  # Parse: name, text
            name, text, _ = body.split(b"\0", 2)
            self._commits_by_statement[name] = bool(_COMMITS.search(text))
        elif kind == b"B":  # Bind: portal, statement
            portal, statement, _ = body.split(b"\0", 2)
            self._commits_by_portal[portal] = self._commits_by_statement.get(statement, False)
        elif kind == b"E":  # Execute: portal
            return self._commits_by_portal.get(body.split(b"\0", 1)[0], False)
        return False


class Connection:
    """One client and its own connection to the server."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, client: asyncio.StreamWriter):
        self._proxy = proxy
        self._from_client, self._to_client = reader, client
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._frontend = FrontendReader()
        self._hangs = asyncio.Event()
        self._is_closed = asyncio.Event()
        self._loses_answer = False

    async def run(self) -> None:
        """Forward both ways until one side ends or the weather changes."""
        pumps: list[asyncio.Task[None]] = []
        try:
            with suppress(OSError):
                self._server = await asyncio.open_connection(HOST, self._proxy.target_port)
                pumps = [asyncio.create_task(each()) for each in (self._up, self._down)]
                over = asyncio.create_task(self._is_closed.wait())
                await asyncio.wait({*pumps, over}, return_when=asyncio.FIRST_COMPLETED)
                over.cancel()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._close()

    def cut(self) -> None:
        """Reset both sides."""
        self._is_closed.set()

    def hang(self) -> None:
        """Never forward anything again."""
        self._hangs.set()

    def _close(self) -> None:
        writers = [self._to_client, *([self._server[1]] if self._server else [])]
        for writer in writers:
            writer.transport.abort()

    async def _up(self) -> None:
        assert self._server is not None
        writer = self._server[1]
        with suppress(OSError):
            while data := await self._from_client.read(CHUNK_BYTES):
                await self._pause()
                for message, commits in self._frontend.feed(data):
                    if commits and self._meets_a_commit():
                        return
                    writer.write(message)
                await writer.drain()

    def _meets_a_commit(self) -> bool:
        """Count it; return whether it is lost on its way to the server."""
        proxy = self._proxy
        proxy.seen.commits += 1
        if proxy.commits_to_lose > 0:
            proxy.commits_to_lose -= 1
            proxy.seen.lost_commits += 1
            return True
        if proxy.answers_to_lose > 0:
            proxy.answers_to_lose -= 1
            self._loses_answer = True
        return False

    async def _down(self) -> None:
        assert self._server is not None
        swallowed = b""
        with suppress(OSError):
            while data := await self._server[0].read(CHUNK_BYTES):
                await self._pause()
                if self._loses_answer:
                    # Cut only when the server has said it: the commit certainly took place.
                    swallowed += data
                    if _COMMITTED in swallowed:
                        self._proxy.seen.lost_answers += 1
                        return
                    continue
                self._to_client.write(data)
                await self._to_client.drain()

    async def _pause(self) -> None:
        if self._proxy.delay_seconds:
            await asyncio.sleep(self._proxy.delay_seconds)
        if self._hangs.is_set():
            await asyncio.get_running_loop().create_future()


class Proxy:
    """The proxy: its address, its commands and what it has seen."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.seen = Seen()
        self.delay_seconds = 0.0
        self.commits_to_lose = 0
        self.answers_to_lose = 0
        self._weather = Weather.FAIR
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(COMMAND_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(COMMAND_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(COMMAND_SECONDS)
        self._loop.close()

    def url_for(self, url: str) -> str:
        """Return a server's URL as it is through this proxy."""
        return url.replace(f":{self.target_port}", f":{self.port}")

    def cut(self) -> int:
        """Cut every living connection; return how many there were."""
        return self._command(self._cut)

    def refuse(self) -> None:
        """Cut every connection, now and until it is fair again."""
        self._command(lambda: self._turn(Weather.CUT))

    def half_open(self) -> None:
        """Let every connection hang for ever, and new ones until it is fair again."""
        self._command(lambda: self._turn(Weather.HALF_OPEN))

    def delay(self, seconds: float) -> None:
        """Hold back each piece of data that long, in both directions."""
        self._command(lambda: setattr(self, "delay_seconds", seconds))

    def lose_answers(self, count: int) -> None:
        """Let the next commits take place, and cut the connection in front of the answer."""
        self._command(lambda: setattr(self, "answers_to_lose", count))

    def lose_commits(self, count: int) -> None:
        """Cut the connection in front of the next commits: they never reach the server."""
        self._command(lambda: setattr(self, "commits_to_lose", count))

    def be_fair(self) -> None:
        """Serve new connections well from now on; those that hang go on hanging."""
        self._command(lambda: self._turn(Weather.FAIR))

    def _turn(self, weather: Weather) -> None:
        self._weather = weather
        if weather is Weather.FAIR:
            self.delay_seconds, self.answers_to_lose, self.commits_to_lose = 0.0, 0, 0
        elif weather is Weather.CUT:
            self._cut()
        else:
            self.seen.hung += len(self._connections)
            for connection in self._connections:
                connection.hang()

    def _cut(self) -> int:
        for connection in self._connections:
            connection.cut()
        self.seen.cut += len(self._connections)
        return len(self._connections)

    def _command(self, call: Callable[[], _Result]) -> _Result:
        done: Future[_Result] = Future()

        def run() -> None:
            done.set_result(call())

        self._loop.call_soon_threadsafe(run)
        return done.result(COMMAND_SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen.connections += 1
        if self._weather is Weather.CUT:
            self.seen.cut += 1
            writer.transport.abort()
            return
        connection = Connection(self, reader, writer)
        if self._weather is Weather.HALF_OPEN:
            self.seen.hung += 1
            connection.hang()
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._tasks.discard(task)

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        self._cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
