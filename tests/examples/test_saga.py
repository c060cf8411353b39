"""The saga: all bookings or none."""

from __future__ import annotations

import pytest

from tests.examples.site import Site

APP = "saga"
ENVIRONMENT = {"BOOKINGS_FILE": "{folder}/bookings.db"}


def test_a_trip_on_which_nothing_fails_is_booked_whole(site: Site) -> None:
    links = site.started("/api/trips/rome")
    assert site.output(links) == {"trip": "on", "booked": ["hotel", "flight", "car"]}
    assert site.send("GET", "/api/trips/rome/bookings").json() == ["hotel", "flight", "car"]


@pytest.mark.parametrize(
    ("sold_out", "undone"),
    [("hotel", []), ("flight", ["hotel"]), ("car", ["flight", "hotel"])],
)
def test_what_was_booked_before_a_failure_is_undone_in_reverse(
    site: Site, sold_out: str, undone: list[str]
) -> None:
    trip = f"/api/trips/without-{sold_out}"
    links = site.started(trip, {"sold_out": sold_out})
    assert site.output(links) == {
        "trip": "off",
        "reason": f"Activity function 'book' failed:  ValueError: no {sold_out} is left",
        "undone": undone,
    }
    assert site.status(links)["customStatus"] == "undoing"
    assert site.send("GET", f"{trip}/bookings").json() == []


def test_a_trip_that_is_off_can_be_booked_again(site: Site) -> None:
    site.output(site.started("/api/trips/oslo", {"sold_out": "car"}))
    assert site.output(site.started("/api/trips/oslo"))["trip"] == "on"
    assert site.send("GET", "/api/trips/oslo/bookings").json() == ["hotel", "flight", "car"]
