"""``soloist entities``."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from soloist.core.events import EntityRequested
from soloist.core.status import RuntimeStatus
from tests.cli.conftest import Terminal


@pytest.fixture
def counting(terminal: Terminal) -> Terminal:
    """A hub with two counters and a light."""
    for name, key, state in (("Counter", "a", "5"), ("counter", "b", "6"), ("Light", "x", '"on"')):
        terminal.type("entities", "signal", name, key, "set", "--input", state)
        terminal.settle(f"@{name.lower()}@{key}", RuntimeStatus.RUNNING, state)
    return terminal


def test_a_signal_is_recorded_with_its_input_and_its_time(terminal: Terminal) -> None:
    result = terminal.type(
        "entities", "signal", "Counter", "a@b", "add",
        "--input", '{"n": 5}', "--at", "2999-01-31T12:00:00+01:00",
    )  # fmt: skip
    assert result.stdout == "Operation 'add' is recorded for entity '@counter@a@b'.\n"
    (event,) = terminal.inbox("@counter@a@b")
    assert isinstance(event, EntityRequested)
    assert (event.operation, event.input) == ("add", '{"n": 5}')
    assert event.due_at == datetime(2999, 1, 31, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("counter", "a", "add", "--input", "{"), 2, "is not JSON"),
        (("counter", "a", "add", "--at", "soon"), 2, "is no time"),
        (("counter", "a/b", "add"), 1, "'/'"),
        (("", "a", "add"), 1, "name"),
        (("counter", "a", ""), 1, "An operation's name has 1 to 200 characters"),
    ],
)
def test_a_signal_that_is_malformed_is_refused(
    terminal: Terminal, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    result = terminal.type("entities", "signal", *arguments)
    assert (result.exit_code, expected in result.stderr) == (code, True), result.stderr


def test_an_entity_that_waits_for_its_first_operation_is_told_from_one_that_is_not_there(
    terminal: Terminal,
) -> None:
    terminal.type("entities", "signal", "Acc", "z", "add", "--at", "2999-01-31T12:00:00Z")
    waiting = terminal.type("entities", "show", "Acc", "z")
    assert (waiting.exit_code, "no state yet" in waiting.stderr) == (1, True)
    assert "one is due at 2999-01-31" in terminal.type("instances", "show", "@acc@z").stdout
    missing = terminal.type("entities", "show", "Acc", "y")
    assert missing.stderr == "Error: No entity '@acc@y' found.\n"


def test_an_entity_is_shown_with_its_state(counting: Terminal) -> None:
    shown = counting.type("entities", "show", "Counter", "a").output
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert (lines["entity"], lines["key"], lines["state"]) == ("counter", "a", "5")
    as_json = json.loads(counting.type("entities", "show", "light", "x", "--json").output)
    assert (as_json["id"], as_json["state"]) == ({"name": "light", "key": "x"}, '"on"')


def test_entities_are_listed_by_function_and_page_by_page(counting: Terminal) -> None:
    table = counting.type("entities", "list").stdout.splitlines()
    assert [line.split()[:2] for line in table[1:]] == [
        ["counter", "a"], ["counter", "b"], ["light", "x"]
    ]  # fmt: skip
    listed = counting.type("entities", "list", "--name", "COUNTER", "--json").stdout.splitlines()
    assert [json.loads(line)["id"]["key"] for line in listed] == ["a", "b"]
    first = counting.type("entities", "list", "--limit", "2", "--json")
    mark = first.stderr.split("--after ")[1].strip()
    rest = counting.type("entities", "list", "--after", mark, "--json").stdout.splitlines()
    assert [json.loads(line)["id"]["name"] for line in rest] == ["light"]


def test_entities_are_listed_by_their_last_operation(counting: Terminal) -> None:
    def keys(*options: str) -> list[str]:
        lines = counting.type("entities", "list", "--json", *options).stdout.splitlines()
        return [json.loads(line)["id"]["key"] for line in lines]

    assert keys("--since", "1h") == ["a", "b", "x"]
    assert keys("--since", "2999-01-01") == []


def test_a_deleted_entity_is_gone(counting: Terminal) -> None:
    result = counting.type("entities", "delete", "Counter", "a")
    assert result.output == "Entity '@counter@a' is deleted.\n"
    for verb in ("show", "delete"):
        missing = counting.type("entities", verb, "counter", "a")
        assert missing.exit_code == 1
        assert missing.stderr == "Error: No entity '@counter@a' found.\n"
