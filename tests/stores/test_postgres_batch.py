"""Batches: several statements in one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest

from soloist.stores.postgres.arrays import Bigints, Bools, Texts
from soloist.stores.postgres.batch import Speaker
from soloist.stores.postgres.connection import address_of, close, connect

PATIENCE_SECONDS = 20.0


@asynccontextmanager
async def speaking(url: str, *, prepares: bool = True) -> AsyncIterator[Speaker]:
    connection = await connect(address_of(url))
    try:
        yield Speaker(connection, prepares=prepares)
    finally:
        await close(connection)


def run(url: str, scenario: Callable[[Speaker], Awaitable[None]], *, prepares: bool = True) -> None:
    async def main() -> None:
        async with speaking(url, prepares=prepares) as speaker:
            await asyncio.wait_for(scenario(speaker), PATIENCE_SECONDS)

    asyncio.run(main())


@pytest.mark.parametrize("prepares", [True, False])
def test_values_of_every_type_come_back_as_they_were(postgres_url: str, prepares: bool) -> None:
    async def scenario(speaker: Speaker) -> None:
        for _ in range(2):
            batch = speaker.batch()
            named = batch.add(
                "SELECT %(number)s, %(text)s, %(flag)s, %(number)s + 1",
                {"text": "é\n'\\%", "flag": True, "number": -(2**40)},
            )
            placed = batch.add(
                "SELECT * FROM unnest(%s, %s, %s) AS r (a, b, c)",
                (Bigints([1, None]), Texts([None, "ü"]), Bools([False, True])),
            )
            empty = batch.add("SELECT 1 WHERE %s = ANY(%s)", (1, Bigints([])))
            await batch.run()
            assert named.rows == [(-(2**40), "é\n'\\%", True, -(2**40) + 1)]
            assert placed.rows == [(1, None, False), (None, "ü", True)]
            assert empty.rows == []

    run(postgres_url, scenario, prepares=prepares)


def test_what_stands_behind_a_statement_that_fails_is_not_run_and_can_be_run_later(
    postgres_url: str,
) -> None:
    async def scenario(speaker: Speaker) -> None:
        batch = speaker.batch()
        batch.add("CREATE TEMPORARY TABLE seen (number bigint PRIMARY KEY)")
        batch.add("INSERT INTO seen VALUES (%s)", (1,))
        await batch.run()
        batch = speaker.batch()
        batch.add("BEGIN")
        batch.add("INSERT INTO seen VALUES (%s)", (1,))
        batch.add("INSERT INTO seen SELECT * FROM unnest(%s)", (Bigints([2]),))
        batch.add("COMMIT")
        with pytest.raises(psycopg.errors.UniqueViolation, match="seen_pkey"):
            await batch.run()
        batch = speaker.batch()
        batch.add("ROLLBACK")
        batch.add("INSERT INTO seen SELECT * FROM unnest(%s)", (Bigints([3]),))
        seen = batch.add("SELECT number FROM seen ORDER BY number")
        await batch.run()
        assert seen.rows == [(1,), (3,)]

    run(postgres_url, scenario)


def test_more_than_the_sockets_hold_goes_both_ways_at_once(postgres_url: str) -> None:
    async def scenario(speaker: Speaker) -> None:
        large = "x" * (8 * 1024 * 1024)
        batch = speaker.batch()
        answers = [batch.add("SELECT %s", (large,)) for _ in range(4)]
        await batch.run()
        assert all(answer.rows == [(large,)] for answer in answers)

    run(postgres_url, scenario)


def test_a_connection_is_given_up_when_nobody_waits_for_the_rest_of_an_answer(
    postgres_url: str,
) -> None:
    async def scenario(speaker: Speaker) -> None:
        batch = speaker.batch()
        batch.add("SELECT pg_sleep(%s)", (60,))
        running = asyncio.create_task(batch.run())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert speaker.connection.closed

    run(postgres_url, scenario)


def test_a_server_that_ends_the_connection_is_an_error_at_once(postgres_url: str) -> None:
    async def scenario(speaker: Speaker) -> None:
        batch = speaker.batch()
        batch.add("SELECT pg_terminate_backend(pg_backend_pid())")
        batch.add("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            await batch.run()
        assert speaker.connection.closed

    run(postgres_url, scenario)


def test_what_psycopg_rolls_back_leaves_prepared_statements_alone(postgres_url: str) -> None:
    async def scenario(speaker: Speaker) -> None:
        for _ in range(2):
            batch = speaker.batch()
            found = batch.add("SELECT %s", (7,))
            await batch.run()
            assert found.rows == [(7,)]
            await speaker.connection.execute("BEGIN")
            await speaker.connection.execute("ROLLBACK")
            await speaker.connection.execute("SELECT 1")

    run(postgres_url, scenario)
