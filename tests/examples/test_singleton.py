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
