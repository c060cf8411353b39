"""The promise: of any number of callers at once exactly one starts the instance."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.conftest import Served

CALLERS = 50


def race(served: Served, url: str) -> tuple[list[httpx.Response], Counter[int]]:
    """Let fifty callers with different inputs start the same id at once."""

    def call(number: int) -> httpx.Response:
        return httpx.post(f"{served.host.origin}{url}", json={"caller": number}, timeout=30)

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(call, range(CALLERS)))
    return answers, Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize(
    ("door", "instance_id"),
    [
        ("/api/orchestrators/Job/", "through-the-app"),
        ("/runtime/webhooks/durabletask/orchestrators/Job/", "through-the-api"),
    ],
)
def test_one_of_fifty_callers_wins_and_the_others_are_told_409(
    served: Served, door: str, instance_id: str
) -> None:
    url = door + instance_id
    answers, codes = race(served, url)
    assert codes == {202: 1, 409: 49}
    winner = next(n for n, answer in enumerate(answers) if answer.status_code == 202)

    stored = served.status(instance_id).json()["input"]
    assert str(winner) in str(stored)
    assert served.http.post(url, json={}).status_code == 409

    assert served.raise_event(instance_id, "go").status_code == 202
    assert served.finished(instance_id)["output"] == {"caller": winner}
    ran = served.ledger.read_text().splitlines().count(f"ran {instance_id}")
    assert ran == 1, "the orchestrator's body ran once"

    assert served.http.post(url, json={"caller": "again"}).status_code == 202
    served.raise_event(instance_id, "go")
    assert served.finished(instance_id)["output"] == {"caller": "again"}


def test_the_apps_409_has_the_documented_text(served: Served) -> None:
    url = "/api/orchestrators/Job/told"
    assert served.http.post(url).status_code == 202
    answer = served.http.post(url)
    assert (answer.status_code, answer.text) == (
        409,
        "An instance with ID 'told' already exists.",
    )
    served.raise_event("told", "go")
    served.finished("told")


def test_a_start_may_replace_return_or_use_an_id_once(served: Served) -> None:
    base = f"{served.host.management}/orchestrators/Job/chosen?ifExists="
    assert served.http.post(base + "fail", json=1).status_code == 202
    assert served.http.post(base + "fail", json=2).status_code == 409
    assert served.http.post(base + "return", json=3).status_code == 200
    assert served.http.post(base + "replace", json=4).status_code == 202
    served.raise_event("chosen", "go")
    assert served.finished("chosen")["output"] == 4
    assert served.http.post(base + "never", json=5).status_code == 409
    assert served.http.post(base + "sometimes", json=6).status_code == 400
