"""Which texts may name an instance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soloist.core.ids import (
    MAX_INSTANCE_ID_LENGTH,
    EntityId,
    check_entity_id,
    check_instance_id,
    entity_id,
    is_entity_id,
    parse_entity_id,
    timer_function,
    timer_id,
)
from soloist.errors import InvalidRequest, Kind


@pytest.mark.parametrize("instance_id", ["one", "A", "a b", "é", "a:b", "x" * 100, "%2F", "+"])
def test_ordinary_ids_pass_unchanged(instance_id: str) -> None:
    assert check_instance_id(instance_id) == instance_id


@pytest.mark.parametrize(
    ("instance_id", "reason"),
    [
        ("", "empty"),
        (" ", "white space"),
        (" \u3000\u2003", "white space"),
        ("x" * 101, "101 characters"),
        ("@counter@a", "reserved for entities"),
        ("a/b", "'/'"),
        ("a\\b", "'\\\\'"),
        ("a#b", "'#'"),
        ("a?b", "'?'"),
        ("a\nb", "U+000A"),
        ("a\x7f", "U+007F"),
        ("a\x9f", "U+009F"),
        ("\ud800", "surrogate"),
        (".", "URL"),
        ("..", "URL"),
    ],
)
def test_a_bad_id_is_refused_with_its_reason(instance_id: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        check_instance_id(instance_id)
    assert reason in str(refusal.value)
    assert refusal.value.kind is Kind.INVALID


@given(st.text(max_size=MAX_INSTANCE_ID_LENGTH))
def test_whatever_passes_survives_in_a_url_path(instance_id: str) -> None:
    try:
        check_instance_id(instance_id)
    except InvalidRequest:
        return
    assert instance_id.encode("utf-8")
    assert not set(instance_id) & set("/\\#?")


def test_an_entity_id_folds_its_name_and_keeps_its_key() -> None:
    assert str(entity_id("Counter", "Key@1")) == "@counter@Key@1"
    assert parse_entity_id("@Counter@Key@1") == EntityId("counter", "Key@1")


@pytest.mark.parametrize(
    "text", ["@", "@name", "name@key", "@@key", "@na/me@k", "@n@k\n", "@n@" + "k" * 99]
)
def test_what_cannot_be_an_entity_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(InvalidRequest, match="entity ID"):
        check_entity_id(text)


def test_no_entity_of_an_app_can_be_a_timer() -> None:
    timer = timer_id("Tick")
    assert timer_function(timer) == "Tick"
    assert timer_function("@counter@timer@Tick") is None
    assert is_entity_id(timer)
    with pytest.raises(InvalidRequest):
        check_entity_id(timer)
