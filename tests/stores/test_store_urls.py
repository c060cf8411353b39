"""What a store URL means, and what is refused because it may mean something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from soloist.contracts.clock import SystemClock
from soloist.errors import SettingsError
from soloist.stores import path_of, shown_url, store_at
from soloist.stores.postgres.connection import address_of

SECRET = "hunter2"  # a password, or the part of one that would be seen


@pytest.mark.parametrize(
    "store",
    [
        f"host=db password={SECRET}",
        "dbname=x",
        f"postgresql//me:{SECRET}@db/x",
        f"postgres:me:{SECRET}@db/x",
        "postgresql:db",
        f"PostgreSQL:/{SECRET}",
        "postgres.db",
        "127.0.0.1:5432/db",
        "db.example:5432",
        f"me:{SECRET}@db/x",
        f"//me:{SECRET}@db/x",
    ],
)
def test_what_looks_like_an_address_is_not_taken_for_a_file(store: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        path_of(store)
    assert "postgresql://user:password@host:5432/database" in str(refusal.value)
    assert "./name" in str(refusal.value)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("store", ["./a=b.db", "../me@home.db", "/data/me@home/x=1:2/postgres.db"])
def test_what_is_clearly_a_path_is_a_file_whatever_is_in_it(store: str) -> None:
    assert path_of(store) == Path(store)
    assert path_of(f"sqlite:///{store}") == Path(store)


def test_a_plain_name_is_a_file() -> None:
    for name in ("hub.db", "data/hub.db", "a:b.db", "my postgres.db"):
        assert path_of(name) == Path(name)


@pytest.mark.parametrize(
    "store",
    [
        f"postgressql://me:{SECRET}@db/x",
        f"mysql://me:{SECRET}@db/x",
        f"sqlite://{SECRET}.db",
        f"memory:{SECRET}",
        f"file:{SECRET}.db?mode=ro",
        "file::memory:?cache=shared",
        ":memory:",
        f"{SECRET}\x00",
    ],
)
def test_a_url_of_another_kind_is_refused_without_being_quoted(store: str) -> None:
    with pytest.raises(SettingsError, match="postgresql://user:password@host:5432") as refusal:
        store_at(store, task_hub="hub", clock=SystemClock())
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "rest",
    [
        f"me:p@{SECRET}@db/x",
        f"me:p/{SECRET}@db/x",
        f"me:p?{SECRET}@db/x",
        f"me:p#{SECRET}@db/x",
        f"me:12/{SECRET}@db/x",
        f"me:12?{SECRET}@db/x",
        f"me:12#{SECRET}@db/x",
        f"me:p@a/{SECRET}@db/x",
        f"me:p@a?{SECRET}@db/x",
        f"me:p@a#{SECRET}@db/x",
        f"me:p@db/x#{SECRET}",
        f"me:{SECRET}",
    ],
)
def test_an_address_that_can_be_read_in_two_ways_is_refused(rest: str) -> None:
    with pytest.raises(SettingsError, match="write @ as %40, / as %2F") as refusal:
        store_at(f"postgresql://{rest}", task_hub="hub", clock=SystemClock())
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("127.0.0.1:99999/x", "no number from 1 to 65535"),
        ("127.0.0.1:0/x", "no number from 1 to 65535"),
        (f"me:{SECRET}@db:abc/x", "no number from 1 to 65535"),
        (f"me:{SECRET}@a:1,b:70000/x", "no number from 1 to 65535"),
        (f"me:{SECRET}@::1/x", "no number from 1 to 65535"),
        (f"me:{SECRET}@db/x?port=abc", "no number from 1 to 65535"),
        (f"me:{SECRET}@db/x?sslmode=foo", "sslmode is none of disable, allow"),
    ],
)
def test_what_cannot_be_an_address_is_called_a_wrong_url(rest: str, why: str) -> None:
    with pytest.raises(SettingsError, match="URL is wrong") as refusal:
        store_at(f"postgresql://{rest}", task_hub="hub", clock=SystemClock())
    assert why in str(refusal.value)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:a%40b%2Fc%23@db/x", "database 'x' at db"),
        ("postgresql://me:a:b@db:5432/x", "database 'x' at db:5432"),
        ("postgresql:///x?host=/run/pg&user=me@realm", "database 'x' at /run/pg"),
        ("postgresql://a:1,[::1]:2/x", "database 'x' at a,::1:1,2"),
        ("POSTGRES://db/x", "database 'x' at db"),
    ],
)
def test_an_address_that_can_be_read_in_one_way_is_taken(url: str, shown: str) -> None:
    assert address_of(url).shown == shown


def test_a_url_is_shown_without_its_password_and_its_parameters() -> None:
    assert shown_url(f"postgresql://me:{SECRET}@db/x?password={SECRET}") == "postgresql://me@db/x"
    assert shown_url("postgresql://me:[@db/x") == shown_url("postgresql://me:a[b]c@db/x")
    assert shown_url("postgresql://db/x") == "postgresql://db/x"
    assert shown_url("hub.db") == "hub.db"
