"""Keys: which of them opens which door."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soloist.core.instances import AccessKey
from soloist.functions.keys import KeyRing, ensure_keys, new_key_value, presented_key

AT = datetime(2030, 1, 1, tzinfo=UTC)
RING = KeyRing(
    tuple(
        AccessKey(scope, name, f"{scope}-value", AT)
        for scope, name in (
            ("master", "_master"),
            ("host", "default"),
            ("system", "durabletask_extension"),
            ("function:Hello", "default"),
            ("function:Other", "default"),
        )
    )
)


class Drawer:
    """A store that keeps keys and nothing else."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], AccessKey] = {}

    async def keys(self) -> tuple[AccessKey, ...]:
        return tuple(self.held.values())

    async def put_key(self, key: AccessKey, *, replaces: bool = False) -> AccessKey:
        assert not replaces
        return self.held.setdefault((key.scope, key.name), key)


@pytest.mark.parametrize(
    ("level", "opening"),
    [
        ("function", {"master", "host", "function:Hello"}),
        ("admin", {"master"}),
        ("system", {"master"}),
    ],
)
def test_levels_match_exactly_or_not_at_all(level: str, opening: set[str]) -> None:
    for key in RING.keys:
        assert RING.admits(level, "hello", key.value) == (key.scope in opening), key.scope


def test_the_durable_webhook_takes_its_own_key_and_the_master() -> None:
    admitted = {key.scope for key in RING.keys if RING.admits_management(key.value)}
    assert admitted == {"master", "system"}


def test_anonymous_doors_need_no_key() -> None:
    assert RING.admits("anonymous", "Hello", None)
    assert RING.admits("anonymous", "Hello", "wrong")


@pytest.mark.parametrize("presented", [None, "", "wrong", "host-valuE", "host-value ", "\ud800"])
def test_a_wrong_or_missing_key_opens_nothing(presented: str | None) -> None:
    assert not RING.admits("function", "Hello", presented)


@given(st.text())
def test_no_text_but_a_key_opens_a_door(text: str) -> None:
    assert RING.admits("admin", "Hello", text) == (text == "master-value")


def test_without_enforcement_every_door_is_open() -> None:
    assert KeyRing(is_enforced=False).admits("admin", "Hello", None)


def test_a_hub_without_keys_opens_nothing() -> None:
    assert not KeyRing().admits("function", "Hello", "")


def test_first_keys_are_drawn_once_and_kept() -> None:
    drawer = Drawer()
    first = asyncio.run(ensure_keys(drawer, AT))
    second = asyncio.run(ensure_keys(drawer, AT))
    assert first == second
    assert {(key.scope, key.name) for key in first.keys} == {
        ("master", "_master"),
        ("host", "default"),
        ("system", "durabletask_extension"),
    }
    assert len({key.value for key in first.keys}) == 3


def test_hosts_that_draw_at_once_agree() -> None:
    async def run() -> None:
        drawer = Drawer()
        one, two = await asyncio.gather(ensure_keys(drawer, AT), ensure_keys(drawer, AT))
        assert one == two

    asyncio.run(run())


def test_a_key_is_long_and_fits_into_a_url() -> None:
    value = new_key_value()
    assert len(value) >= 50
    assert value.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ({}, {}, None),
        ({}, {"code": "q"}, "q"),
        ({"x-functions-key": "h"}, {"code": "q"}, "h"),
        ({"x-functions-key": "first, second"}, {}, "first"),
        ({"x-functions-key": ""}, {"code": "q"}, None),
    ],
)
def test_the_header_outranks_the_query(
    headers: dict[str, str], query: dict[str, str], expected: str | None
) -> None:
    assert presented_key(headers, query) == expected
