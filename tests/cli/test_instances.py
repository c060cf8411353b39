"""``soloist instances``: what is steered from outside, and what is purged."""

from __future__ import annotations

import pytest

from soloist.client import Client
from soloist.core.events import (
    ExecutionResumed,
    ExecutionSuspended,
    ExecutionTerminated,
)
from soloist.core.failures import FailureDetails
from soloist.core.status import RuntimeStatus
from soloist.stores import MemoryStore
from tests.cli.conftest import Terminal

COMPLETED, FAILED = RuntimeStatus.COMPLETED, RuntimeStatus.FAILED


@pytest.fixture
def filled(terminal: Terminal) -> Terminal:
    """A hub with a live instance and finished ones of two functions."""
    for name, instance_id, status in (
        ("Job", "done", COMPLETED),
        ("Job", "failed", FAILED),
        ("Other", "other", COMPLETED),
        ("Job", "live", None),
    ):
        terminal.type("instances", "start", name, "--id", instance_id, "--input", "5")
        if status is not None:
            terminal.settle(instance_id, status)
    return terminal


@pytest.mark.parametrize(
    ("arguments", "event"),
    [
        (("suspend", "live", "--reason", "why"), (ExecutionSuspended, "why")),
        (("resume", "live", "--reason", "why"), (ExecutionResumed, "why")),
        (("terminate", "live", "--reason", "why"), (ExecutionTerminated, "why")),
        (("suspend", "live"), (ExecutionSuspended, None)),
    ],
)
def test_what_steers_an_instance_waits_in_its_inbox(
    filled: Terminal, arguments: tuple[str, ...], event: tuple[type, str | None]
) -> None:
    result = filled.type("instances", *arguments)
    assert (result.exit_code, "'live' is recorded" in result.output) == (0, True)
    message = filled.inbox("live")[-1]
    assert (type(message), getattr(message, "reason", None)) == event


@pytest.mark.parametrize(("option", "expected"), [((), True), (("--no-recursive",), False)])
def test_sub_orchestrations_end_with_their_parent_unless_told_otherwise(
    filled: Terminal, option: tuple[str, ...], expected: bool
) -> None:
    filled.type("instances", "terminate", "live", *option)
    message = filled.inbox("live")[-1]
    assert isinstance(message, ExecutionTerminated)
    assert message.is_recursive is expected


def test_a_failed_instance_is_rewound_and_no_other(filled: Terminal) -> None:
    assert filled.type("instances", "rewind", "failed").exit_code == 0
    refused = filled.type("instances", "rewind", "done")
    assert (refused.exit_code, refused.stderr) == (
        1,
        "Error: Instance 'done' has the status Completed, but only instances in the \"Failed\""
        " state can be rewound.\n",
    )


def test_a_start_on_a_taken_id_names_it_and_says_what_to_do(filled: Terminal) -> None:
    refused = filled.type("instances", "start", "Job", "--id", "live")
    assert (refused.exit_code, refused.stderr) == (
        1,
        "Error: An instance with ID 'live' and the status Pending already exists."
        " Terminate it first, or start with --if-exists replace.\n",
    )


def test_an_empty_id_is_refused_rather_than_drawn_anew(terminal: Terminal) -> None:
    refused = terminal.type("instances", "start", "Job", "--id", "")
    assert (refused.exit_code, "The id is empty." in refused.stderr) == (2, True)
    assert terminal.ids() == set()


def test_a_refusal_offers_only_what_the_command_has(filled: Terminal) -> None:
    refused = filled.type("instances", "restart", "live", "--same-id")
    assert refused.stderr == (
        "Error: An instance with ID 'live' and the status Pending already exists."
        " Terminate it first.\n"
    )


def test_a_start_that_would_return_another_functions_instance_says_so(filled: Terminal) -> None:
    other = ("instances", "start", "Other", "--id", "live", "--if-exists", "return")
    assert "It runs another function, so it is not returned." in filled.type(*other).stderr


def test_a_failure_is_shown_with_its_kind_and_where_it_came_from(terminal: Terminal) -> None:
    terminal.type("instances", "start", "Job", "--id", "one")
    failure = FailureDetails("'colour'", "KeyError", "File app.py, line 7\n  KeyError: 'colour'\n")
    terminal.settle("one", RuntimeStatus.FAILED, failure=failure)
    shown = terminal.type("instances", "show", "one").stdout
    assert "failure         KeyError: 'colour'\n" in shown
    assert shown.endswith("traceback\n  File app.py, line 7\n    KeyError: 'colour'\n")


@pytest.mark.parametrize(
    "words",
    [
        ("terminate", "live"),
        ("suspend", "live"),
        ("restart", "done"),
        ("raise-event", "live", "go"),
    ],
)
def test_what_a_host_is_to_do_while_none_runs_says_so(
    filled: Terminal, words: tuple[str, ...]
) -> None:
    done = filled.type("instances", *words)
    assert (done.exit_code, "No host runs the hub now" in done.stderr) == (0, True)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (r'"\ud800"', "it holds a lone surrogate"),
        ("[NaN]", "it holds NaN"),
        ("{", "is not JSON"),
        ("", "An empty text is not JSON"),
        ("[" * 300 + "]" * 300, "it nests deeper than 200"),
    ],
)
def test_an_input_that_is_no_json_is_refused_with_the_reason(
    terminal: Terminal, payload: str, reason: str
) -> None:
    result = terminal.type("instances", "start", "Job", "--id", "one", "--input", payload)
    assert (result.exit_code, reason in result.stderr) == (2, True), result.stderr
    assert terminal.ids() == set()


def test_a_start_in_a_hub_that_no_host_runs_says_so(terminal: Terminal) -> None:
    async def join(store: MemoryStore, _client: Client) -> None:
        await store.join("host")

    alone = terminal.type("instances", "start", "Job", "--id", "one")
    assert alone.output.startswith("Instance 'one' started.\n")
    assert "No host runs the hub now" in alone.stderr
    terminal.on_store(join)
    assert terminal.type("instances", "start", "Job", "--id", "two").stderr == ""


def test_an_instance_is_restarted_under_a_new_id_or_its_own(filled: Terminal) -> None:
    before = filled.ids()
    started = filled.type("instances", "restart", "done")
    (new_id,) = filled.ids() - before
    assert started.stdout == f"Instance '{new_id}' started.\n"
    assert filled.type("instances", "restart", "done", "--same-id").stdout == (
        "Instance 'done' started.\n"
    )
    blocked = filled.type("instances", "restart", "live", "--same-id")
    assert (blocked.exit_code, "already exists" in blocked.stderr) == (1, True)


@pytest.mark.parametrize("verb", ["suspend", "resume", "terminate", "rewind", "restart", "purge"])
def test_an_instance_that_is_not_there_is_named(terminal: Terminal, verb: str) -> None:
    result = terminal.type("instances", verb, "nobody")
    assert (result.exit_code, result.stderr) == (1, "Error: No instance with ID 'nobody' found.\n")


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        (("--status", "completed"), {"done", "other"}),
        (("--status", "failed", "--status", "running"), {"failed"}),
        (("--name", "Job"), {"done", "failed"}),
        (("--name", "Job", "--status", "Completed"), {"done"}),
        (("--created-before", "2999-01-01"), {"done", "failed", "other"}),
        (("--created-before", "0s"), {"done", "failed", "other"}),
        (("--created-before", "1d"), set()),
        (("--created-before", "2020-01-01T00:00:00+02:00"), set()),
    ],
)
def test_finished_instances_are_purged_by_what_they_have_in_common(
    filled: Terminal, options: tuple[str, ...], gone: set[str]
) -> None:
    result = filled.type("instances", "purge", *options, "--yes")
    plural = "" if len(gone) == 1 else "s"
    assert result.output == f"{len(gone)} instance{plural} purged.\n"
    assert filled.ids() == {"done", "failed", "other", "live"} - gone


def test_many_are_purged_only_after_a_yes(filled: Terminal) -> None:
    before = filled.ids()
    chosen = ("--name", "Job", "--status", "failed", "--created-before", "2999-01-01")
    for answer in ("", "\n", "n\n"):
        refused = filled.type("instances", "purge", *chosen, stdin=answer)
        assert refused.exit_code == 1
        assert filled.ids() == before
    assert (
        "Remove every finished instance of function Job with status Failed created before"
        " 2999-01-01T00:00:00Z with its history? [y/N]" in refused.stderr
    )
    assert filled.type("instances", "purge", *chosen, stdin="y\n").exit_code == 0
    assert filled.ids() == before - {"failed"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "Say which instance by its id"),
        (("done", "--name", "Job"), "Say which instance by its id"),
        (("--status", "running"), "terminate them first"),
        (("--status", "finished"), "is no runtime status; there are"),
        (("--created-before", "yesterday"), "is no time. Write 2026-01-31"),
        (("--created-before", "999999d"), "is as old as"),
    ],
)
def test_a_purge_that_is_unclear_purges_nothing(
    filled: Terminal, arguments: tuple[str, ...], expected: str
) -> None:
    before = filled.ids()
    result = filled.type("instances", "purge", *arguments, "--yes")
    assert (result.exit_code, expected in result.stderr) == (2, True), result.stderr
    assert filled.ids() == before


def test_one_finished_instance_is_purged_without_a_question(filled: Terminal) -> None:
    assert filled.type("instances", "purge", "done").output == "Instance 'done' is purged.\n"
    refused = filled.type("instances", "purge", "live")
    assert (refused.exit_code, "live" in filled.ids()) == (1, True)
