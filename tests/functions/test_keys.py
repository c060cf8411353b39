"""Keys: which of them opens which door."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soloist.core.instances import AccessKey
from soloist.errors import InvalidRequest
from soloist.functions.keys import (
    MAX_VALUE_LENGTH,
    OPEN_RING,
    KeyRing,
    checked_name,
    checked_scope,
    checked_value,
    ensure_keys,
    new_key_value,
    presented_key,
)

AT = datetime(2030, 1, 1, tzinfo=UTC)
RING = KeyRing(
    tuple(
        AccessKey(scope, name, f"{scope}-{name}-value", AT)
        for scope, name in (
            ("master", "_master"),
            ("host", "default"),
            ("system", "durabletask_extension"),
            ("function:Hello", "default"),
            ("function:Other", "default"),
            ("system", "another_extension"),
            ("host", "function:Hello"),
            ("function:host", "_master"),
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
        ("user", {"master"}),
        ("", {"master"}),
    ],
)
def test_levels_match_exactly_or_not_at_all(level: str, opening: set[str]) -> None:
    for key in RING.keys:
        assert RING.admits(level, "hello", key.value) == (key.scope in opening), key.scope


def test_the_durable_webhook_takes_its_own_key_and_the_master() -> None:
    admitted = {key.name for key in RING.keys if RING.admits_management(key.value)}
    assert admitted == {"_master", "durabletask_extension"}
    assert not RING.admits_management("function:host-_master-value")


def test_anonymous_doors_need_no_key() -> None:
    assert RING.admits("anonymous", "Hello", None)
    assert RING.admits("anonymous", "Hello", "wrong")


@pytest.mark.parametrize(
    "presented", [None, "", "wrong", "host-default-valuE", "host-default-value ", "\ud800"]
)
def test_a_wrong_or_missing_key_opens_nothing(presented: str | None) -> None:
    assert not RING.admits("function", "Hello", presented)


@given(st.text())
def test_no_text_but_a_key_opens_a_door(text: str) -> None:
    assert RING.admits("admin", "Hello", text) == (text == "master-_master-value")


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


def test_each_function_gets_a_key_of_its_own_once() -> None:
    drawer = Drawer()
    asyncio.run(ensure_keys(drawer, AT, ("Hello", "Other")))
    ring = asyncio.run(ensure_keys(drawer, AT, ("hello", "Third")))
    scopes = [key.scope for key in ring.keys if key.scope.startswith("function:")]
    assert sorted(scopes) == ["function:Hello", "function:Other", "function:Third"]
    assert len({key.value for key in ring.keys}) == 6


def test_keys_are_found_however_their_case_is_spelled() -> None:
    assert RING.value("Function:HELLO", "DEFAULT") == "function:Hello-default-value"
    assert RING.value("function:Nobody", "default") is None


def test_a_ring_that_asks_nobody_has_no_keys() -> None:
    assert OPEN_RING.keys == ()
    assert OPEN_RING.admits_management(None)


def test_every_candidate_is_compared_in_full_and_in_a_time_that_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[bytes] = []
    genuine = secrets.compare_digest

    def watched(value: bytes, presented: bytes) -> bool:
        compared.append(value)
        return genuine(value, presented)

    monkeypatch.setattr(secrets, "compare_digest", watched)
    counts = []
    for presented in ("wrong", "master-_master-value", "function:Hello-default-value"):
        compared.clear()
        RING.admits("function", "Hello", presented)
        counts.append(len(compared))
    assert counts == [4, 4, 4]


@pytest.mark.parametrize(
    ("text", "scope"),
    [("Host", "host"), ("MASTER", "master"), ("Function:Job_1", "function:Job_1")],
)
def test_a_scope_is_read_without_case(text: str, scope: str) -> None:
    assert checked_scope(text) == scope


@pytest.mark.parametrize("text", ["", "hosts", "function", "function:", "function:a b", "x" * 999])
def test_what_is_no_scope_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Say master, host, system or function:NAME"):
        checked_scope(text)


@pytest.mark.parametrize(
    ("scope", "name"),
    [("master", "default"), ("host", ""), ("host", "_mine"), ("host", "a b"), ("host", "é"),
     ("system", "a" * 128), ("function:Job", "a/b")],
)  # fmt: skip
def test_what_cannot_name_a_key_is_refused(scope: str, name: str) -> None:
    with pytest.raises(InvalidRequest):
        checked_name(scope, name)


@pytest.mark.parametrize(
    "value", ["", "short", "a" * (MAX_VALUE_LENGTH + 1), "a b" * 9, "a,b" * 9, "é" * 20, "\n" * 20]
)
def test_what_cannot_be_a_key_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        checked_value(value)
    assert not value or value not in str(refused.value)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","),
               min_size=16))  # fmt: skip
def test_every_value_that_is_taken_can_be_presented(value: str) -> None:
    ring = KeyRing((AccessKey("host", "default", checked_value(value), AT),))
    assert ring.admits("function", "Hello", presented_key({"x-functions-key": value}, {}))
    assert ring.admits("function", "Hello", presented_key({}, {"code": value}))


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
