"""The counter: an entity, signalled, called, read, listed and deleted."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from soloist.webapi import BASE_PATH
from tests.examples.site import PATIENCE_SECONDS, Site

APP = "counter"


def signal(site: Site, key: str, operation: str, amount: object = None) -> None:
    answer = site.send("POST", f"/api/counters/{key}/{operation}", json=amount)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text


def read(site: Site, key: str) -> object:
    """Return a counter's state as the app tells it; ``None`` when there is no such counter."""
    answer = site.send("GET", f"/api/counters/{key}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.json()


def comes_to(site: Site, key: str, value: object) -> bool:
    """Ask until the signals so far have been run, as a caller does who cannot wait for them."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if read(site, key) == value:
            return True
    return False


def test_signals_of_many_callers_at_once_are_all_counted(site: Site) -> None:
    with ThreadPoolExecutor(8) as callers:
        list(callers.map(lambda _: signal(site, "crowd", "add", 1), range(60)))
    assert comes_to(site, "crowd", 60)


def test_the_app_and_the_management_api_tell_the_same_state(site: Site) -> None:
    signal(site, "same", "add", 7)
    assert comes_to(site, "same", 7)
    answer = site.entity("Counter", "same")
    assert (answer.status_code, answer.json()) == (httpx.codes.OK, 7)
    assert site.entity("counter", "same").json() == 7


def test_an_orchestration_is_given_the_answers_of_the_entities_that_it_calls(site: Site) -> None:
    signal(site, "apples", "add", 5)
    move = {"from": "apples", "to": "pears", "amount": 3}
    links = site.started("/api/moves", move)
    assert site.output(links) == {"moved": True, "apples": 2, "pears": 3}
    assert site.output(site.started("/api/moves", move)) == {"moved": False, "held": 2}
    assert comes_to(site, "moves", 1)
    history = site.status(links, showHistory="true")["historyEvents"]
    sent = [entry for entry in history if entry["EventType"] == "EventSent"]
    answered = [entry for entry in history if entry["EventType"] == "EventRaised"]
    assert (len(sent), len(answered)) == (4, 3)


def test_counters_are_listed_with_their_states(site: Site) -> None:
    signal(site, "listed", "add", 4)
    assert comes_to(site, "listed", 4)
    found = site.send("GET", f"{BASE_PATH}/entities/Counter", params={"fetchState": "true"}).json()
    states = {each["entityId"]["key"]: each["state"] for each in found}
    assert states["listed"] == 4
    assert {each["entityId"]["name"] for each in found} == {"counter"}


def test_a_deleted_counter_is_gone_and_can_be_begun_anew(site: Site) -> None:
    signal(site, "brief", "add", 9)
    assert comes_to(site, "brief", 9)
    signal(site, "brief", "delete")
    assert comes_to(site, "brief", None)
    assert site.entity("Counter", "brief").status_code == httpx.codes.NOT_FOUND
    signal(site, "brief", "add", 1)
    assert comes_to(site, "brief", 1)


def test_the_management_api_signals_and_deletes_too(site: Site) -> None:
    path = f"{BASE_PATH}/entities/Counter/direct"
    answer = site.send("POST", f"{path}?op=add", json=2)
    assert answer.status_code == httpx.codes.ACCEPTED
    assert comes_to(site, "direct", 2)
    assert site.send("DELETE", path).status_code == httpx.codes.ACCEPTED
    assert comes_to(site, "direct", None)


def test_an_operation_that_fails_leaves_the_others_alone(site: Site) -> None:
    signal(site, "sturdy", "add", 1)
    signal(site, "sturdy", "explode")
    signal(site, "sturdy", "add", 1)
    assert comes_to(site, "sturdy", 2)


def test_a_counter_that_nobody_spoke_to_does_not_exist(site: Site) -> None:
    answer = site.send("GET", "/api/counters/nobody")
    assert (answer.status_code, answer.text) == (404, "There is no such counter.")
