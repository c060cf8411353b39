"""Classic folders: an app of the v1 programming model."""

from __future__ import annotations

import httpx

from tests.examples.site import Site

APP = "classic_folders"


def test_functions_declared_in_folders_work_together(site: Site) -> None:
    assert site.output(site.started("/api/countdowns/3")) == {
        "spoken": ["3…", "2…", "1…"],
        "score": 3,
    }
    assert site.output(site.started("/api/countdowns/2"))["score"] == 5
    assert site.entity("score", "all").json() == 5


def test_a_route_that_does_not_fit_is_not_found(site: Site) -> None:
    answer = site.send("POST", "/api/countdowns/many")
    assert answer.status_code == httpx.codes.NOT_FOUND
