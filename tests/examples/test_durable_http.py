"""Durable HTTP: the orchestrator gets the last response, whatever came before."""

from __future__ import annotations

from tests.examples.site import Site

APP = "durable_http"


def test_a_response_of_202_is_followed_up_until_there_is_another(site: Site) -> None:
    first = site.send("POST", "/api/reports/sales", json={"pages": 3})
    assert (first.status_code, first.headers["location"]) == (202, "/api/reports/sales/3/1")
    links = site.started("/api/order-report/sales")
    assert site.output(links) == {"name": "sales", "pages": 3, "answers_before": 2}


def test_a_refusal_is_a_response_like_any_other(site: Site) -> None:
    links = site.started("/api/order-report/secret")
    assert site.output(links) == {"refused": 403, "because": "not for you"}


def test_a_service_that_does_not_answer_can_be_caught(site: Site) -> None:
    links = site.started("/api/order-report/sales", {"service": "http://127.0.0.1:9"})
    output = site.output(links)
    assert output["unreachable"].startswith("The HTTP request POST http://127.0.0.1:9/sales failed")
