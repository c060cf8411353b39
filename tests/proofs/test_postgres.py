"""The servers that tests and proofs of PostgreSQL run on."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from proofs.postgres import PostgresServer, primary_and_standby, url_of_either


def test_what_a_killed_server_acknowledged_is_there_when_it_is_started_again() -> None:
    with PostgresServer() as server:
        url = server.create_database()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE seen (n int)")
            connection.execute("INSERT INTO seen VALUES (1)")
            server.kill()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("INSERT INTO seen VALUES (2)")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT n FROM seen").fetchall() == [(1,)]


def test_a_removed_server_leaves_nothing_behind() -> None:
    with PostgresServer() as server:
        folder = server.execute("SHOW data_directory")[0][0]
        pid = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not Path(str(folder)).parent.exists()


def test_a_promoted_standby_has_every_commit_and_takes_more() -> None:
    with primary_and_standby() as (primary, standby):
        url = url_of_either(primary, standby)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE seen (n int)")
            connection.execute("INSERT INTO seen VALUES (1)")
        primary.kill()
        standby.promote()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("INSERT INTO seen VALUES (2)")
            assert connection.execute("SELECT n FROM seen").fetchall() == [(1,), (2,)]
