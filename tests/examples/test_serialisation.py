"""Serialisation: objects travel through every kind of function."""

from __future__ import annotations

import pytest

from tests.examples.site import Site

APP = "serialisation"

# The SDK says once in a process that types could be checked.
pytestmark = pytest.mark.filterwarnings("ignore:azure.functions Durable JSON codec")


def test_objects_travel_through_client_orchestrators_and_activities(site: Site) -> None:
    links = site.started("/api/baskets/ada", {"tea": "4.50", "pot": "20.00"})
    assert site.output(links) == {
        "customer": "ada",
        "total": "24.50",
        "items": 3,
        "dearest": "pot",
    }


def test_what_is_stored_is_what_the_class_writes(site: Site) -> None:
    links = site.started("/api/baskets/bob", {"tea": "4.50"})
    site.ended(links)
    status = site.status(links, showHistory="true", showHistoryOutput="true")
    (present,) = [
        event["Result"]
        for event in status["historyEvents"]
        if event.get("FunctionName") == "add_present"
    ]
    assert present == {
        "__class__": "Basket",
        "__module__": "shop",
        "__data__": {"customer": "bob", "items": ["tea at 4.50", "present at 0.00"]},
    }
