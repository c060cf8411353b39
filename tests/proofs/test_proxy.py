"""The bad network: what it loses is lost, and what passed has happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.rows import TupleRow

from proofs.postgres import PostgresServer
from proofs.proxy import FrontendReader, Proxy

Connection = psycopg.Connection[TupleRow]
Way = Callable[[Connection, int], None]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        server.execute("CREATE TABLE seen (n int)")
        yield server


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[Proxy]:
    server.execute("TRUNCATE seen")
    with Proxy(server.port) as proxy:
        yield proxy


def connect(server: PostgresServer, proxy: Proxy) -> Connection:
    return psycopg.connect(proxy.url_for(server.url()))


def insert(connection: Connection, number: int) -> None:
    connection.execute("INSERT INTO seen VALUES (%s)", (number,))
    connection.commit()


def insert_piped(connection: Connection, number: int) -> None:
    """As a store would: one trip, the transaction's end within it."""
    connection.autocommit = True
    with connection.pipeline():
        connection.execute("BEGIN")
        connection.execute("INSERT INTO seen VALUES (%s)", (number,))
        connection.execute("COMMIT", prepare=True)


WAYS = pytest.mark.parametrize("way", [insert, insert_piped])


@WAYS
def test_in_fair_weather_everything_passes(server: PostgresServer, proxy: Proxy, way: Way) -> None:
    with connect(server, proxy) as connection:
        way(connection, 1)
    assert server.execute("SELECT n FROM seen") == [(1,)]
    assert proxy.seen.commits >= 1


@WAYS
def test_a_commit_whose_answer_is_lost_took_place(
    server: PostgresServer, proxy: Proxy, way: Way
) -> None:
    connection = connect(server, proxy)
    proxy.lose_answers(1)
    with pytest.raises(psycopg.OperationalError):
        way(connection, 1)
    connection.close()
    assert server.execute("SELECT n FROM seen") == [(1,)]
    assert (proxy.seen.lost_answers, proxy.seen.lost_commits) == (1, 0)


@WAYS
def test_a_commit_that_is_lost_did_not_take_place(
    server: PostgresServer, proxy: Proxy, way: Way
) -> None:
    connection = connect(server, proxy)
    proxy.lose_commits(1)
    with pytest.raises(psycopg.OperationalError):
        way(connection, 1)
    connection.close()
    assert server.execute("SELECT n FROM seen") == []
    assert (proxy.seen.lost_answers, proxy.seen.lost_commits) == (0, 1)


def test_after_a_cut_a_new_connection_is_served(server: PostgresServer, proxy: Proxy) -> None:
    connection = connect(server, proxy)
    assert proxy.cut() == 1
    with pytest.raises(psycopg.OperationalError):
        insert(connection, 1)
    connection.close()
    with connect(server, proxy) as connection:
        insert(connection, 2)
    assert server.execute("SELECT n FROM seen") == [(2,)]


def test_while_it_refuses_nobody_gets_through(server: PostgresServer, proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(psycopg.OperationalError):
        connect(server, proxy)
    proxy.be_fair()
    connect(server, proxy).close()


def test_a_half_open_connection_hangs_and_a_later_one_does_not(
    server: PostgresServer, proxy: Proxy
) -> None:
    proxy.half_open()
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        psycopg.connect(proxy.url_for(server.url()), connect_timeout=2)
    proxy.be_fair()
    connect(server, proxy).close()
    assert proxy.seen.hung >= 1


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_a_commit_is_seen_however_the_bytes_are_cut(step: int) -> None:
    start = b"\0\0\0\x08\0\x03\0\0"
    parse = b"P" + (4 + 9 + 2).to_bytes(4, "big") + b"s\0COMMIT\0\0\0"
    bind = b"B" + (4 + 3 + 6).to_bytes(4, "big") + b"\0s\0" + bytes(6)
    execute = b"E" + (4 + 5).to_bytes(4, "big") + bytes(5)
    query = b"Q" + (4 + 7).to_bytes(4, "big") + b"commit\0"
    stream = start + parse + bind + execute + query
    reader = FrontendReader()
    seen = [
        (message[:1], commits)
        for place in range(0, len(stream), step)
        for message, commits in reader.feed(stream[place : place + step])
    ]
    assert seen == [(b"\0", False), (b"P", False), (b"B", False), (b"E", True), (b"Q", True)]
