"""Eternal: begun anew after every event, closed by one of its own."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.examples.site import Site

APP = "eternal"
SALES = range(1, 41)


def sell(site: Site, links: Mapping[str, str], amount: int) -> None:
    """Raise the event of one sale."""
    answer = site.raise_event(links, "sale", amount)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text


def test_many_sales_at_once_are_all_counted_and_the_history_stays_short(site: Site) -> None:
    links = site.started("/api/tills/busy")
    with ThreadPoolExecutor(8) as customers:
        list(customers.map(lambda amount: sell(site, links, amount), SALES))
    expected = {"sales": len(SALES), "total": sum(SALES)}
    site.until(links, lambda status: status["customStatus"] == expected)
    status = site.status(links, showHistory="true")
    assert status["runtimeStatus"] == "Running"
    assert len(status["historyEvents"]) < 5
    site.raise_event(links, "close", "Ada")
    assert site.output(links) == {**expected, "closed_by": "Ada"}


def test_what_comes_all_at_once_is_taken_in_the_order_of_arrival(site: Site) -> None:
    links = site.started("/api/tills/hasty")
    site.send("POST", links["suspendPostUri"])
    for amount in (5, 6, 7):
        sell(site, links, amount)
    site.raise_event(links, "close", "Bob")
    site.send("POST", links["resumePostUri"])
    assert site.output(links) == {"sales": 3, "total": 18, "closed_by": "Bob"}


def test_an_open_till_cannot_be_opened_again_and_a_closed_one_can(site: Site) -> None:
    links = site.started("/api/tills/front")
    assert site.send("POST", "/api/tills/front").status_code == httpx.codes.CONFLICT
    site.raise_event(links, "close", "Eve")
    site.ended(links)
    again = site.started("/api/tills/front")
    site.raise_event(again, "close", "Eve")
    assert site.output(again) == {"sales": 0, "total": 0, "closed_by": "Eve"}
