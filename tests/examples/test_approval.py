"""Approval: a person answers, or the time runs out."""

from __future__ import annotations

import httpx
import pytest

from tests.examples.site import Site

APP = "approval"
ENVIRONMENT = {"APPROVAL_SECONDS": "3"}
CHAIR = {"what": "chair"}


@pytest.mark.parametrize(("answer", "result"), [("yes", "chair: done"), ("no", "chair: declined")])
def test_the_answer_decides(site: Site, answer: str, result: str) -> None:
    links = site.started("/api/requests", CHAIR)
    site.until(links, lambda status: status["customStatus"] == "waiting")
    path = f"/api/requests/{links['id']}/{answer}"
    assert site.send("POST", path).status_code == httpx.codes.ACCEPTED
    assert site.output(links) == result
    assert site.status(links)["customStatus"] == "answered"
    assert site.send("POST", path).status_code == httpx.codes.GONE


def test_an_event_straight_through_its_link_is_an_answer_too(site: Site) -> None:
    links = site.started("/api/requests", CHAIR)
    assert site.raise_event(links, "answer", "yes").status_code == httpx.codes.ACCEPTED
    assert site.output(links) == "chair: done"
    assert site.raise_event(links, "Answer", "yes").status_code == httpx.codes.GONE


def test_without_an_answer_the_request_is_escalated(site: Site) -> None:
    links = site.started("/api/requests", CHAIR)
    assert site.output(links) == "chair: nobody answered"
    status = site.status(links, showHistory="true")
    assert status["customStatus"] == "escalated"
    assert "TimerFired" in [event["EventType"] for event in status["historyEvents"]]


def test_what_is_not_there_cannot_be_answered(site: Site) -> None:
    assert site.send("POST", "/api/requests/nobody/yes").status_code == httpx.codes.NOT_FOUND
    assert site.send("POST", "/api/requests/nobody/perhaps").status_code == httpx.codes.NOT_FOUND
