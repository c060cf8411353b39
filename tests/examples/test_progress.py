"""Progress: a job says how far it is."""

from __future__ import annotations

import httpx

from tests.examples.site import Site

APP = "progress"


def test_a_stopped_import_says_how_far_it_is_and_goes_on_when_told(site: Site) -> None:
    links = site.started("/api/imports", {"pages": 8, "stops_at_half": True})
    status = site.until(
        links, lambda status: (status["customStatus"] or {}).get("done_percent") == 50
    )
    assert status["runtimeStatus"] == "Running"
    assert status["customStatus"]["rows"] == sum(range(11, 15))
    assert site.send("GET", f"/api/imports/{links['id']}").text == "Running, 50 %"
    site.raise_event(links, "go%20on", 1)
    assert site.output(links) == sum(range(11, 19))
    assert site.send("GET", f"/api/imports/{links['id']}").text == "Completed, 100 %"


def test_an_import_that_nobody_began_is_not_found(site: Site) -> None:
    assert site.send("GET", "/api/imports/nobody").status_code == httpx.codes.NOT_FOUND
