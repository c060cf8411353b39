"""Retries: calls that fail are made again, and who has tried enough can go on without."""

from __future__ import annotations

import pytest

from tests.examples.site import Site

APP = "retries"
BOTH = pytest.mark.parametrize("function", ["QuoteByActivity", "QuoteByChild"])


@BOTH
def test_a_call_that_fails_twice_succeeds_the_third_time(site: Site, function: str) -> None:
    links = site.started(f"/api/quotes/{function}", {"failures": 2, "attempts": 3})
    assert site.output(links) == {"price": 42, "attempts": 3}


@BOTH
def test_a_call_that_succeeds_is_made_once(site: Site, function: str) -> None:
    links = site.started(f"/api/quotes/{function}", {"failures": 0, "attempts": 3})
    assert site.output(links) == {"price": 42, "attempts": 1}


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (
            "QuoteByActivity",
            "Activity function 'ask' failed:  TimeoutError: no answer at attempt 2",
        ),
        (
            "QuoteByChild",
            "Orchestrator function 'AskPolitely' failed: Activity function 'ask' failed:"
            "  TimeoutError: no answer at attempt 2",
        ),
    ],
)
def test_the_last_failure_can_be_caught_when_the_attempts_are_used_up(
    site: Site, function: str, reason: str
) -> None:
    links = site.started(f"/api/quotes/{function}", {"failures": 9, "attempts": 2})
    assert site.output(links) == {"price": 40, "guessed_because": reason}


def test_every_attempt_and_every_pause_stands_in_the_history(site: Site) -> None:
    links = site.started("/api/quotes/QuoteByActivity", {"failures": 2, "attempts": 3})
    site.output(links)
    events = site.status(links, showHistory="true")["historyEvents"]
    found = [each["EventType"] for each in events]
    assert [found.count(each) for each in ("TaskFailed", "TimerFired", "TaskCompleted")] == [
        2,
        2,
        1,
    ]
