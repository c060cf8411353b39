"""The singleton: one id, one running instance."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.examples.site import Site

APP = "singleton"


def test_of_many_starts_at_once_one_wins_and_the_others_are_told(site: Site) -> None:
    def start(_number: int) -> int:
        return site.send("POST", "/api/orchestrators/Job/one", json={"steps": 200}).status_code

    with ThreadPoolExecutor(10) as callers:
        codes = sorted(callers.map(start, range(20)))
    assert codes == [202, *[409] * 19]


def test_a_body_that_is_not_json_is_refused_in_a_sentence(site: Site) -> None:
    answer = site.send("POST", "/api/orchestrators/Job/broken", content='{"steps": ')
    assert (answer.status_code, answer.text[:20]) == (400, "The body is not JSON")


def test_an_id_that_no_url_can_hold_is_named_whole(site: Site) -> None:
    answer = site.send("POST", "/api/orchestrators/Job/a%3Fb")
    assert (answer.status_code, "'a?b'" in answer.text) == (400, True), answer.text
