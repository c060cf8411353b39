"""Blueprints: functions of several files are one app."""

from __future__ import annotations

from tests.examples.site import Site

APP = "blueprints"


def test_functions_of_all_files_work_together(site: Site) -> None:
    assert site.send("GET", "/api/cities").text == "Tokyo, Lisbon, Oslo"
    links = site.started("/api/tours/Ada")
    assert site.output(links) == ["Konnichiwa, Ada!", "Olá, Ada!", "Hei, Ada!"]
