"""``soloist keys``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import Result

from soloist.cli.keys import MAX_KEYS
from soloist.client import Client
from soloist.contracts.clock import SystemClock
from soloist.core.instances import AccessKey
from soloist.functions.keys import ensure_keys
from soloist.stores import MemoryStore
from tests.cli.conftest import Terminal

VALUE = "a-value-of-my-own-choice"


@pytest.fixture
def keyed(terminal: Terminal) -> Terminal:
    """A hub with the keys of an app that has one HTTP function."""

    async def draw(store: MemoryStore, _client: Client) -> None:
        await ensure_keys(store, SystemClock().now(), ("Hello",))

    terminal.on_store(draw)
    return terminal


def outcome(result: Result) -> tuple[int, str]:
    return result.exit_code, result.stderr


def test_keys_are_listed_with_their_values(keyed: Terminal) -> None:
    lines = keyed.type("keys", "list").stdout.splitlines()
    assert [line.split() for line in lines] == [
        [scope, name, value] for (scope, name), value in sorted(keyed.held_keys().items())
    ]
    assert [line.split()[0] for line in lines] == ["function:Hello", "host", "master", "system"]


def test_keys_are_listed_as_json_one_a_line(keyed: Terminal) -> None:
    lines = keyed.type("keys", "list", "--json").stdout.splitlines()
    listed: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert {(each["scope"], each["name"]): each["value"] for each in listed} == keyed.held_keys()
    assert all("created_at" in each for each in listed)


def test_a_hub_without_keys_says_so_beside_an_empty_list(terminal: Terminal) -> None:
    assert "no keys yet" in terminal.type("keys", "list").stdout
    as_json = terminal.type("keys", "list", "--json")
    assert (as_json.stdout, "no keys yet" in as_json.stderr) == ("", True)


def test_a_key_is_drawn_and_only_its_value_printed_to_standard_output(keyed: Terminal) -> None:
    result = keyed.type("keys", "set", "host", "partner")
    assert result.stdout.strip() == keyed.held_keys()["host", "partner"]
    assert len(result.stdout.strip()) >= 50
    assert "The key 'partner' of the scope host is set; a running host knows" in result.stderr


def test_a_key_is_set_to_a_value_of_ones_own_and_not_repeated(keyed: Terminal) -> None:
    result = keyed.type("keys", "set", "function:Hello", "partner", VALUE)
    assert keyed.held_keys()["function:Hello", "partner"] == VALUE
    assert result.exit_code == 0
    assert VALUE not in result.output


def test_a_value_is_read_from_standard_input(keyed: Terminal) -> None:
    assert keyed.type("keys", "set", "master", "_master", "-", stdin=f"{VALUE}\n").exit_code == 0
    assert keyed.held_keys()["master", "_master"] == VALUE


def test_a_key_that_is_there_keeps_its_spelling(keyed: Terminal) -> None:
    count = len(keyed.held_keys())
    keyed.type("keys", "set", "FUNCTION:hello", "Default", VALUE)
    assert keyed.held_keys()["function:Hello", "default"] == VALUE
    assert len(keyed.held_keys()) == count


@pytest.mark.parametrize(
    ("scope", "name"), [("master", "_master"), ("host", "default"), ("function:hello", "default")]
)
def test_a_rotated_key_gets_a_new_value_that_is_printed(
    keyed: Terminal, scope: str, name: str
) -> None:
    before = keyed.held_keys()
    result = keyed.type("keys", "rotate", scope, name)
    changed = set(keyed.held_keys().items()) - set(before.items())
    assert {value for _, value in changed} == {result.stdout.strip()}
    assert len(keyed.held_keys()) == len(before)
    assert "links" not in result.stderr


def test_who_rotates_the_system_key_is_told_that_links_end(keyed: Terminal) -> None:
    result = keyed.type("keys", "rotate", "system", "durabletask_extension")
    assert "Management links that were handed out before end with it." in result.stderr


def test_a_key_that_is_not_there_is_not_rotated_but_those_there_are_named(keyed: Terminal) -> None:
    for command in ("rotate", "remove"):
        code, text = outcome(keyed.type("keys", command, "host", "defualt"))
        assert code == 1
        assert "no key 'defualt' of the scope host. Of that scope there are: default." in text
    _, text = outcome(keyed.type("keys", "rotate", "function:Nobody", "default"))
    assert "It has none at all." in text


def test_a_key_is_removed(keyed: Terminal) -> None:
    keyed.type("keys", "set", "host", "partner")
    result = keyed.type("keys", "remove", "host", "Partner")
    assert (result.exit_code, result.stdout) == (0, "")
    assert ("host", "partner") not in keyed.held_keys()
    assert keyed.type("keys", "remove", "function:Hello", "default").exit_code == 0
    assert set(keyed.held_keys()) == {
        ("master", "_master"), ("host", "default"), ("system", "durabletask_extension")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "name"),
    [("master", "_master"), ("HOST", "Default"), ("system", "durabletask_extension")],
)
def test_the_keys_that_every_hub_has_are_not_removed(
    keyed: Terminal, scope: str, name: str
) -> None:
    before = keyed.held_keys()
    code, text = outcome(keyed.type("keys", "remove", scope, name))
    assert code == 1
    assert f"soloist keys rotate {scope.lower()} {name.lower()}" in text
    assert keyed.held_keys() == before


@pytest.mark.parametrize("command", ["set", "rotate", "remove"])
def test_a_scope_that_is_none_is_refused_with_those_there_are(
    keyed: Terminal, command: str
) -> None:
    code, text = outcome(keyed.type("keys", command, "hosts", "default"))
    assert code == 2
    assert "'hosts' is no scope of keys. Say master, host, system or function:NAME" in text


@pytest.mark.parametrize(
    ("scope", "name", "value", "expected"),
    [
        ("master", "second", VALUE, "There is one master key"),
        ("host", "_mine", VALUE, "cannot name a key"),
        ("host", "mine", "short", "A key has 16 to 1024 characters; this one has 5."),
        ("host", "mine", "with spaces " * 3, "printable ASCII"),
    ],
)
def test_what_cannot_be_a_key_is_refused(
    keyed: Terminal, scope: str, name: str, value: str, expected: str
) -> None:
    before = keyed.held_keys()
    code, text = outcome(keyed.type("keys", "set", scope, name, value))
    assert code == 1
    assert expected in text
    assert value not in text
    assert keyed.held_keys() == before


def test_a_hub_takes_so_many_keys_and_no_more(keyed: Terminal) -> None:
    async def fill(store: MemoryStore, _client: Client) -> None:
        for number in range(MAX_KEYS - len(await store.keys())):
            await store.put_key(AccessKey("host", f"key{number}", VALUE, SystemClock().now()))

    keyed.on_store(fill)
    code, text = outcome(keyed.type("keys", "set", "host", "one-more"))
    assert (code, f"The hub has {MAX_KEYS} keys and takes no more" in text) == (1, True)
    assert keyed.type("keys", "set", "host", "default").exit_code == 0, "that one is there"
