"""Async code: orchestrators that await."""

from __future__ import annotations

from tests.examples.site import Site

APP = "async_code"


def test_an_async_orchestrator_awaits_activities_and_events(site: Site) -> None:
    links = site.started("/api/orders", {"items": ["tea", "cake"]})
    site.until(links, lambda status: status["customStatus"] == {"to_pay": 10})
    site.raise_event(links, "payment", 12)
    assert site.output(links) == {
        "served": ["a tea and a spoon", "a cake and a spoon"],
        "change": 2,
    }


def test_an_awaited_deadline_ends_the_wait(site: Site) -> None:
    links = site.started("/api/orders", {"items": ["tea"], "patience_seconds": 0.2})
    assert site.output(links) == {"left": "unpaid", "paid": None}


def test_a_failure_is_raised_where_it_is_awaited(site: Site) -> None:
    links = site.started("/api/orders", {"items": ["tea", "soup"]})
    assert site.output(links) == {
        "refused": "Activity function 'price' failed:  LookupError: no soup on the card"
    }
