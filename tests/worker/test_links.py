"""Link codes: each opens one operation on one instance of one hub, and none of them another."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from soloist_worker.links import (
    LINK_OPERATIONS,
    code_opens,
    in_path,
    link_code,
    link_secret,
    signed_links,
)

SECRET = link_secret("system key")
OPERATIONS = st.sampled_from(sorted(LINK_OPERATIONS.values()))
ANY_TEXT = st.text(st.characters(), max_size=40)  # also control characters and surrogates
SCOPES = st.tuples(ANY_TEXT, OPERATIONS, ANY_TEXT)


@given(SCOPES, SCOPES)
def test_a_code_opens_its_own_and_nothing_else(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assume((one[0].casefold(), *one[1:]) != (other[0].casefold(), *other[1:]))
    code = link_code(SECRET, *one)
    assert code_opens(SECRET, *one, code)
    assert not code_opens(SECRET, *other, code)


@given(st.text("ab", max_size=6), st.text("ab", max_size=6), st.text("ab", max_size=6))
def test_what_one_name_ends_with_is_not_what_the_next_begins_with(a: str, b: str, c: str) -> None:
    assume((a + b, c) != (a, b + c))
    operation = "getStatus"
    assert link_code(SECRET, a + b, operation, c) != link_code(SECRET, a, operation, b + c)


@given(ANY_TEXT)
def test_no_other_text_opens_anything(text: str) -> None:
    assert not code_opens(SECRET, "Hub", "purgeInstance", "one", text)


@given(st.integers(0, 45), st.characters())
def test_a_tampered_code_opens_nothing(place: int, character: str) -> None:
    code = link_code(SECRET, "Hub", "purgeInstance", "one")
    assume(code[place] != character)
    tampered = code[:place] + character + code[place + 1 :]
    assert not code_opens(SECRET, "Hub", "purgeInstance", "one", tampered)


def test_neither_a_part_of_a_code_nor_more_than_it_opens_anything() -> None:
    code = link_code(SECRET, "Hub", "purgeInstance", "one")
    for wrong in (
        *(code[:length] for length in range(len(code))),
        *(code + more for more in ("=", " ", "\x00", "é", "\ud800", "A" * 100_000)),
        *(f" {code}", code.upper(), code.removeprefix("s1."), f"s2.{code[3:]}"),
    ):
        assert not code_opens(SECRET, "Hub", "purgeInstance", "one", wrong), wrong[:60]


def test_operations_without_a_link_are_opened_by_no_code() -> None:
    for operation in ("start", "list", "purge many instances", "signal entity", ""):
        code = link_code(SECRET, "Hub", operation, "one")
        assert not code_opens(SECRET, "Hub", operation, "one", code)


def test_another_key_makes_other_codes() -> None:
    code = link_code(link_secret("another key"), "Hub", "purgeInstance", "one")
    assert not code_opens(SECRET, "Hub", "purgeInstance", "one", code)


def test_the_name_of_a_hub_has_no_case_and_that_of_an_instance_has() -> None:
    code = link_code(SECRET, "Hub", "purgeInstance", "one")
    assert code_opens(SECRET, "HUB", "purgeInstance", "one", code)
    assert not code_opens(SECRET, "Hub", "purgeInstance", "One", code)


def test_codes_are_compared_in_a_time_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    genuine = hmac.compare_digest

    def watched(expected: bytes, presented: bytes) -> bool:
        compared.append(presented)
        return genuine(expected, presented)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    for presented in ("wrong", link_code(SECRET, "Hub", "purgeInstance", "one")):
        code_opens(SECRET, "Hub", "purgeInstance", "one", presented)
        assert compared[-1] == presented.encode()


def test_codes_stay_what_they_are_from_release_to_release() -> None:
    code = link_code(link_secret("k"), "Hub", "getStatus", "é")
    assert code == "s1.GqUrvlhCM2_i62nOqLNmuhpIKT5UtoldZAtiU7KTbNw"
    assert in_path("é a+%~/") == "%C3%A9%20a%2B%25%7E%2F"


def test_only_known_links_are_signed() -> None:
    links = {"id": "one", "statusQueryGetUri": "http://h/one", "other": "http://h/?x=1"}
    signed = signed_links(links, SECRET, "Hub", "one")
    code = link_code(SECRET, "Hub", "getStatus", "one")
    assert signed == {**links, "statusQueryGetUri": f"http://h/one?code={code}"}
