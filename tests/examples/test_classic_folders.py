"""Classic folders: an app of the v1 model runs as it is."""

from __future__ import annotations

import azure.durable_functions  # noqa: F401  # first here: in a v1 folder its import warns

from tests.examples.site import Site

APP = "classic_folders"


def test_a_tour_greets_every_city_in_turn(site: Site) -> None:
    greetings = site.output(site.started("/api/tours"))
    assert [each.partition("!")[0] for each in greetings] == [
        "Hello Tokyo",
        "Hello Seattle",
        "Hello London",
    ]


def test_an_entity_counts_the_visits_of_all_tours(site: Site) -> None:
    first = site.output(site.started("/api/tours", ["Oslo", "Bergen", "Oslo"]))
    assert first == ["Hello Oslo! Visit 1.", "Hello Bergen! Visit 1.", "Hello Oslo! Visit 2."]
    assert site.output(site.started("/api/tours", ["Oslo"])) == ["Hello Oslo! Visit 3."]
    assert site.send("GET", "/api/visits/Oslo").json() == 3
    assert site.send("GET", "/api/visits/Rome").json() == 0
