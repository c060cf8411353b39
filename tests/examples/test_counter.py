"""Counter: no update is lost, whoever sends it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from soloist.webapi import BASE_PATH
from tests.examples.site import PATIENCE_SECONDS, Site

APP = "counter"


def signal(site: Site, key: str, operation: str, by: int = 1) -> None:
    answer = site.send("POST", f"/api/counters/{key}/{operation}?by={by}")
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text


def until_it_says(site: Site, key: str, value: str) -> None:
    """Read a counter, as callers do, until it says so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while site.send("GET", f"/api/counters/{key}").text != value:
        assert time.monotonic() < deadline, f"{key} never was {value}"


def test_every_one_of_many_signals_counts(site: Site) -> None:
    with ThreadPoolExecutor(10) as callers:
        list(callers.map(lambda _: signal(site, "many", "add"), range(100)))
    until_it_says(site, "many", "100")
    assert site.entity("Counter", "many").json() == 100


def test_an_orchestration_moves_an_amount_and_sees_its_own_signal(site: Site) -> None:
    signal(site, "apples", "add", 5)
    until_it_says(site, "apples", "5")
    order = {"from": "apples", "to": "pears", "amount": 2}
    assert site.output(site.started("/api/transfers", order)) == {
        "moved": 2,
        "left": 3,
        "received": 2,
    }
    links = site.started("/api/transfers", {**order, "amount": 9})
    assert site.output(links) == {"moved": 0, "why": "there are only 3"}
    history = site.status(links, showHistory="true")["historyEvents"]
    assert [event["EventType"] for event in history].count("EventSent") == 1


def test_a_failed_operation_reaches_its_caller(site: Site) -> None:
    links = site.started(f"{BASE_PATH}/orchestrators/Misuse")
    assert site.output(links) == "A counter cannot fly."


def test_counters_are_listed_and_a_deleted_one_is_gone(site: Site) -> None:
    signal(site, "brief", "add", 7)
    until_it_says(site, "brief", "7")
    listed = site.send("GET", f"{BASE_PATH}/entities/counter?fetchState=true").json()
    states = {each["entityId"]["key"]: each["state"] for each in listed}
    assert states["brief"] == 7
    signal(site, "brief", "delete")
    until_it_says(site, "brief", "There is no such counter.")
    assert site.entity("Counter", "brief").status_code == httpx.codes.NOT_FOUND
    signal(site, "brief", "add", 1)
    until_it_says(site, "brief", "1")
