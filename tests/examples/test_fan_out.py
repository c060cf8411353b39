"""Fan-out and fan-in: many activities at once, and one sum."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx

from tests.examples.site import Site

APP = "fan_out"
ENVIRONMENT = {"TEXTS_FOLDER": "{folder}"}


def keep(site: Site, name: str, text: bytes) -> None:
    answer = site.send("PUT", f"/api/texts/{name}", content=text)
    assert answer.status_code == httpx.codes.CREATED, answer.text


def counting(status: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the history's entries about the activities that counted one text each."""
    return [
        entry
        for entry in status["historyEvents"]
        if entry.get("FunctionName", entry.get("Name")) == "count_words"
    ]


def test_what_the_texts_come_to_is_added_up(site: Site) -> None:
    keep(site, "sum-one.txt", b"a rose is a rose")
    keep(site, "sum-two.txt", b"Is it? A rose!")
    assert site.output(site.started("/api/counts?pattern=sum-*")) == {
        "texts": 2,
        "words": 9,
        "most_common": [["a", 3], ["rose", 3], ["is", 2]],
        "by_text": {"sum-one.txt": 5, "sum-two.txt": 4},
    }


def test_all_are_under_way_before_the_first_is_back(site: Site) -> None:
    names = [f"many-{number:02}.txt" for number in range(40)]
    for number, name in enumerate(names):
        keep(site, name, b"word " * number)
    links = site.started("/api/counts?pattern=many-*")
    output = site.output(links)
    assert output["words"] == sum(range(40))
    assert list(output["by_text"].items()) == list(zip(names, range(40), strict=True))
    entries = counting(site.status(links, showHistory="true"))
    assert sorted(entry["Input"] for entry in entries) == [f'"{name}"' for name in names]
    scheduled = [datetime.fromisoformat(entry["ScheduledTime"]) for entry in entries]
    ended = [datetime.fromisoformat(entry["Timestamp"]) for entry in entries]
    assert max(scheduled) <= min(ended)


def test_one_text_that_cannot_be_read_fails_the_whole_and_is_named(site: Site) -> None:
    keep(site, "bad-one.txt", b"good")
    keep(site, "bad-two.txt", b"\xff\xfe")
    status = site.ended(site.started("/api/counts?pattern=bad-*"))
    assert status["runtimeStatus"] == "Failed"
    assert "bad-two.txt is not a text in UTF-8." in status["output"]


def test_no_texts_are_no_words(site: Site) -> None:
    assert site.output(site.started("/api/counts?pattern=none-*")) == {
        "texts": 0,
        "words": 0,
        "most_common": [],
        "by_text": {},
    }


def test_a_name_that_leads_elsewhere_is_refused(site: Site) -> None:
    answer = site.send("PUT", "/api/texts/..%2Felsewhere.txt", content=b"")
    assert answer.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND)
    assert site.send("PUT", "/api/texts/readme", content=b"").text == "Call it like 'poem.txt'."
