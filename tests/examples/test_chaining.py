"""Function chaining: one activity after another, and back again."""

from __future__ import annotations

from typing import Any

import httpx

from tests.examples.site import Site

APP = "chaining"

TRIP = {"city": "Porto", "budget": 500}
TOO_DEAR = {"city": "Porto", "budget": 50}
RECEIPT = "flight and hotel in Porto for 275"


def steps(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the ended activities of a history, with how each ended."""
    return [
        (entry["FunctionName"], entry["EventType"])
        for entry in status["historyEvents"]
        if entry["EventType"].startswith("Task")
    ]


def test_every_step_is_given_the_result_of_the_one_before(site: Site) -> None:
    links = site.started("/api/trips", TRIP)
    assert site.output(links) == RECEIPT
    status = site.status(links, showHistory="true", showHistoryOutput="true")
    flight, hotel, payment = [
        entry for entry in status["historyEvents"] if entry["EventType"] == "TaskCompleted"
    ]
    assert [flight["FunctionName"], hotel["FunctionName"]] == ["book_flight", "book_hotel"]
    assert flight["Result"] == {"what": "flight", "city": "Porto", "price": 180}
    assert hotel["Result"] == {"what": "hotel", "city": "Porto", "price": 95}
    assert payment["Result"] == status["output"] == RECEIPT
    assert status["historyEvents"][0]["EventType"] == "ExecutionStarted"
    assert status["historyEvents"][-1]["OrchestrationStatus"] == "Completed"


def test_the_links_of_the_answer_lead_to_the_instance(site: Site) -> None:
    links = site.started("/api/trips", TRIP)
    assert f"/instances/{links['id']}" in links["statusQueryGetUri"]
    assert links["terminatePostUri"].startswith(site.origin)
    status = site.ended(links)
    assert (status["name"], status["instanceId"]) == ("BookTrip", links["id"])
    assert status["customStatus"] is None


def test_a_caller_who_waits_is_given_the_result_itself(site: Site) -> None:
    answer = site.send("POST", "/api/trips/now", json=TRIP)
    assert (answer.status_code, answer.text) == (httpx.codes.OK, RECEIPT)


def test_when_a_step_fails_the_earlier_ones_are_taken_back_in_reverse(site: Site) -> None:
    links = site.started("/api/trips", TOO_DEAR)
    status = site.ended(links)
    assert status["runtimeStatus"] == "Failed"
    assert "Orchestrator function 'BookTrip' failed" in status["output"]
    assert "The trip costs 275, but the budget is 50." in status["output"]
    status = site.status(links, showHistory="true", showHistoryOutput="true")
    assert steps(status) == [
        ("book_flight", "TaskCompleted"),
        ("book_hotel", "TaskCompleted"),
        ("pay", "TaskFailed"),
        ("cancel", "TaskCompleted"),
        ("cancel", "TaskCompleted"),
    ]
    cancelled = [
        entry["Result"]
        for entry in status["historyEvents"]
        if entry.get("FunctionName") == "cancel"
    ]
    assert cancelled == ["hotel in Porto cancelled", "flight in Porto cancelled"]


def test_a_caller_who_waits_for_a_failing_trip_is_told_why(site: Site) -> None:
    answer = site.send("POST", "/api/trips/now", json=TOO_DEAR)
    assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    status = answer.json()
    assert status["runtimeStatus"] == "Failed"
    assert "the budget is 50" in status["output"]


def test_an_instance_that_nobody_started_is_not_found(site: Site) -> None:
    path = "/runtime/webhooks/durabletask/instances/nobody"
    assert site.send("GET", path).status_code == httpx.codes.NOT_FOUND
