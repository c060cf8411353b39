"""Starting an orchestration over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from soloist.core.failures import FailureDetails
from soloist.core.status import RuntimeStatus

FULL_KEYS = ["Message", "ExceptionMessage", "ExceptionType", "StackTrace"]
CHECK_STATUS_KEYS = [
    "id",
    "statusQueryGetUri",
    "sendEventPostUri",
    "terminatePostUri",
    "purgeHistoryDeleteUri",
    "restartPostUri",
    "suspendPostUri",
    "resumePostUri",
]
LIVE = [RuntimeStatus.PENDING, RuntimeStatus.RUNNING, RuntimeStatus.SUSPENDED]
ENDED = [
    RuntimeStatus.COMPLETED,
    RuntimeStatus.FAILED,
    RuntimeStatus.TERMINATED,
    RuntimeStatus.CANCELED,
]


def test_a_start_answers_202_with_the_eight_links_in_order(hub: Any) -> None:
    answer = hub.send("POST", "orchestrators/Job/one", json={"a": 1})
    assert answer.status_code == 202
    body = answer.json()
    assert list(body) == CHECK_STATUS_KEYS
    assert body["id"] == "one"
    assert answer.headers["location"] == body["statusQueryGetUri"]
    assert answer.headers["retry-after"] == "10"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_the_links_of_a_start_lead_to_the_instance(hub: Any) -> None:
    started = hub.send("POST", "orchestrators/Job/a%20b%2B%C3%A9~%25")
    assert started.json()["id"] == "a b+é~%"
    status = hub.send_raw("GET", started.headers["location"])
    assert status.status_code == 202
    assert status.json()["instanceId"] == "a b+é~%"


def test_a_start_without_an_id_draws_32_hex_digits(hub: Any) -> None:
    for path in ("orchestrators/Job", "orchestrators/Job/"):
        drawn = hub.send("POST", path).json()["id"]
        assert len(drawn) == 32
        assert int(drawn, 16) >= 0
        assert drawn == drawn.lower()


def test_the_registered_spelling_of_a_function_is_started(hub: Any) -> None:
    hub.send("POST", "ORCHESTRATORS/jOB/one")
    assert hub.send("GET", "Instances/one").json()["name"] == "Job"


@pytest.mark.parametrize("body", ['{"a" : 1.0000000000000001}', "[1e400]", '"x"', "null", " 7 "])
def test_the_raw_text_of_the_body_is_the_input(hub: Any, body: str) -> None:
    hub.send("POST", "orchestrators/Job/one", content=body)
    assert hub.run(hub.client.status("one")).input == body


def test_an_empty_body_is_no_input(hub: Any) -> None:
    hub.send("POST", "orchestrators/Job/one")
    assert hub.run(hub.client.status("one")).input is None


def test_a_byte_order_mark_is_not_part_of_the_input(hub: Any) -> None:
    hub.send("POST", "orchestrators/Job/one", content=b"\xef\xbb\xbf5")
    assert hub.run(hub.client.status("one")).input == "5"


@pytest.mark.parametrize(
    "body",
    [b"{", b"NaN", b"-Infinity", b"[1,]", b"1 2", b" ", b'"\xff"', b'"\xed\xa0\x80"', b"\xc3",
     b"[" * 1000 + b"]" * 1000, b'{"a":' * 500 + b"1" + b"}" * 500, b"{'a':1}"],
)  # fmt: skip
def test_a_body_that_is_not_json_is_refused_before_anything_is_created(
    hub: Any, body: bytes
) -> None:
    answer = hub.send("POST", "orchestrators/Job/one", content=body)
    assert answer.status_code == 400
    assert list(answer.json()) == FULL_KEYS
    assert answer.json()["Message"].startswith("Invalid JSON content")
    assert answer.json()["Message"] == answer.json()["ExceptionMessage"]
    assert hub.send("GET", "instances/one").status_code == 404


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (rb'"\ud800"', r"\ud800 at byte 1"),
        (rb'{"a": "\uDC00"}', r"\uDC00 at byte 7"),
        (rb'"\ud83d\ude00 \ud83d and more"', r"\ud83d at byte 14"),
        (rb'"\\\ud800\u0041"', r"\ud800 at byte 3"),
    ],
)
def test_a_lone_surrogate_is_named(hub: Any, body: bytes, place: str) -> None:
    message = hub.send("POST", "orchestrators/Job/one", content=body).json()["Message"]
    why = "it holds a lone surrogate, which is not text"
    assert message == f"Invalid JSON content: {why} ({place})."


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"NaN", "NaN"),
        (b'{"NaN": [1, -Infinity]}', "-Infinity"),
        (b'["NaN", Infinity]', "Infinity"),
    ],
)
def test_a_number_that_json_does_not_know_is_named(hub: Any, body: bytes, word: str) -> None:
    message = hub.send("POST", "orchestrators/Job/one", content=body).json()["Message"]
    why = f"it holds {word}, which the JSON standard does not know"
    assert message == f"Invalid JSON content: {why}."


@pytest.mark.parametrize("body", [rb'"\ud83d\ude00"', rb'"\\ud800"'])
def test_pairs_of_surrogates_and_what_only_looks_like_one_are_text(hub: Any, body: bytes) -> None:
    assert hub.send("POST", "orchestrators/Job/one", content=body).status_code == 202
    assert b"surrogate" not in hub.send("POST", "orchestrators/Job/two", content=body[:-1]).content


@pytest.mark.parametrize("instance_id", ["%FF", "a%C3", "%20", "%20%E3%80%80"])
def test_an_id_that_nobody_could_read_is_refused(hub: Any, instance_id: str) -> None:
    answer = hub.send("POST", f"orchestrators/Job/{instance_id}")
    assert answer.status_code == 400
    assert list(answer.json()) == FULL_KEYS
    assert hub.send("GET", "instances").json() == []


def test_brackets_inside_strings_do_not_nest(hub: Any) -> None:
    body = json.dumps(["[" * 500, '\\"{[' * 300])
    assert hub.send("POST", "orchestrators/Job/one", content=body).status_code == 202


def test_an_unknown_function_is_refused_in_the_words_of_the_functions_host(hub: Any) -> None:
    answer = hub.send("POST", "orchestrators/Nope/one")
    assert answer.status_code == 400
    assert answer.json()["ExceptionMessage"] == (
        "The function 'Nope' doesn't exist, is disabled, or is not an orchestrator function."
        " Additional info: The following are the known orchestrator functions: 'Job', 'Other'."
    )


@pytest.mark.parametrize("instance_id", ["@x", "a%2Fb", "a%5Cb", "%3F", "%00", "..", "x" * 101])
def test_an_invalid_id_is_refused(hub: Any, instance_id: str) -> None:
    url = f"orchestrators/Job/{instance_id.replace('..', '%2E%2E')}"
    answer = hub.send("POST", url)
    assert answer.status_code == 400
    assert list(answer.json()) == FULL_KEYS


@pytest.mark.parametrize("status", LIVE)
def test_a_live_instance_blocks_a_start_with_its_state_in_the_answer(
    hub: Any, status: RuntimeStatus
) -> None:
    hub.start("one")
    if status is not RuntimeStatus.PENDING:
        hub.commit("one", status)
    answer = hub.send("POST", "orchestrators/Job/one")
    assert answer.status_code == 409
    text = f"An Orchestration instance with the status {status} already exists."
    assert answer.json() == {
        "Message": text,
        "ExceptionMessage": text,
        "ExceptionType": "DurableTask.Core.Exceptions.OrchestrationAlreadyExistsException",
        "StackTrace": "",
        "instanceId": "one",
        "runtimeStatus": status.value,
        "createdTime": "2026-01-01T00:00:00Z",
        "statusQueryGetUri": hub.links.status_uri(
            "http://hub.example:7071/runtime/webhooks/durabletask", "one"
        ),
    }
    assert list(answer.json())[:4] == FULL_KEYS


@pytest.mark.parametrize("status", ENDED)
def test_an_ended_instance_is_replaced(hub: Any, status: RuntimeStatus) -> None:
    hub.start("one")
    hub.commit("one", status)
    hub.clock.advance(60)
    assert hub.send("POST", "orchestrators/Job/one").status_code == 202
    report = hub.send("GET", "instances/one?showHistory=true").json()
    assert report["createdTime"] == "2026-01-01T00:01:00Z"
    assert report["runtimeStatus"] == "Pending"
    assert report["historyEvents"] == []


@pytest.mark.parametrize(
    ("policy", "existing", "expected"),
    [
        ("fail", RuntimeStatus.RUNNING, 409),
        ("FAIL", RuntimeStatus.COMPLETED, 202),
        ("replace", RuntimeStatus.RUNNING, 202),
        ("return", RuntimeStatus.RUNNING, 200),
        ("return", RuntimeStatus.COMPLETED, 202),
        ("never", RuntimeStatus.COMPLETED, 409),
    ],
)
def test_if_exists_chooses_the_policy(
    hub: Any, policy: str, existing: RuntimeStatus, expected: int
) -> None:
    hub.start("one")
    hub.commit("one", existing)
    answer = hub.send("POST", f"orchestrators/Job/one?ifExists={policy}")
    assert answer.status_code == expected
    if expected != 409:
        assert list(answer.json()) == CHECK_STATUS_KEYS


def test_return_is_a_conflict_when_another_function_holds_the_id(hub: Any) -> None:
    hub.start("one", "Other")
    assert hub.send("POST", "orchestrators/Job/one?ifExists=return").status_code == 409


def test_an_unknown_policy_is_refused(hub: Any) -> None:
    answer = hub.send("POST", "orchestrators/Job/one?ifExists=maybe")
    assert answer.status_code == 400
    assert "fail, replace, return, never" in answer.json()["Message"]
    assert hub.send("GET", "instances/one").status_code == 404


def test_the_version_of_the_query_is_kept(hub: Any) -> None:
    hub.send("POST", "orchestrators/Job/one?version=1.2%2B3")
    assert hub.run(hub.client.status("one")).version == "1.2+3"


def test_a_waiting_start_answers_with_the_output(hub: Any) -> None:
    hub.clock.on_sleep.append(hub.acommit("one", RuntimeStatus.COMPLETED, output='{"a": [1, 2]}'))
    answer = hub.send("POST", "orchestrators/Job/one?timeout=10&pollingInterval=1.5")
    assert answer.status_code == 200
    assert answer.text == '{"a":[1,2]}'


def test_a_waiting_start_answers_null_for_no_output(hub: Any) -> None:
    hub.clock.on_sleep.append(hub.acommit("one", RuntimeStatus.COMPLETED))
    answer = hub.send("POST", "orchestrators/Job/one?timeout=10")
    assert (answer.status_code, answer.text) == (200, "null")


def test_a_waiting_start_answers_200_with_the_status_of_a_failure(hub: Any) -> None:
    failure = FailureDetails("bad", "ValueError")
    hub.clock.on_sleep.append(hub.acommit("one", RuntimeStatus.FAILED, failure=failure))
    answer = hub.send("POST", "orchestrators/Job/one?timeout=10&pollingInterval=1")
    assert answer.status_code == 200
    assert answer.json()["runtimeStatus"] == "Failed"
    assert answer.json()["output"] == "Orchestrator function 'Job' failed: bad"


def test_a_waiting_start_answers_with_the_links_when_time_is_up(hub: Any) -> None:
    began_at = hub.clock.now()
    answer = hub.send("POST", "orchestrators/Job/one?timeout=2&pollingInterval=1")
    assert answer.status_code == 202
    assert list(answer.json()) == CHECK_STATUS_KEYS
    assert (hub.clock.now() - began_at).total_seconds() == pytest.approx(2)


def test_nobody_waits_longer_than_the_bound(hub: Any) -> None:
    began_at = hub.clock.now()
    assert hub.send("POST", "orchestrators/Job/one?timeout=1e300").status_code == 202
    assert (hub.clock.now() - began_at).total_seconds() == pytest.approx(230)


def test_a_start_whose_instance_is_replaced_meanwhile_still_answers_202(hub: Any) -> None:
    async def intrude() -> None:
        await hub.acommit("one", RuntimeStatus.COMPLETED, output="1")
        await hub.client.start("Job", "one")
        await hub.acommit("one", RuntimeStatus.COMPLETED, output="2")

    hub.clock.on_sleep.append(intrude())
    assert hub.send("POST", "orchestrators/Job/one?timeout=5").status_code == 202


def test_a_start_whose_instance_is_purged_meanwhile_still_answers_202(hub: Any) -> None:
    async def intrude() -> None:
        await hub.acommit("one", RuntimeStatus.COMPLETED)
        await hub.client.purge("one")

    hub.clock.on_sleep.append(intrude())
    assert hub.send("POST", "orchestrators/Job/one?timeout=5").status_code == 202


@pytest.mark.parametrize("query", ["timeout=1&pollingInterval=2", "timeout=-1", "timeout=-0.1"])
def test_impossible_times_are_refused_before_anything_is_created(hub: Any, query: str) -> None:
    answer = hub.send("POST", f"orchestrators/Job/one?{query}")
    assert answer.status_code == 400
    assert list(answer.json()) == FULL_KEYS
    assert hub.send("GET", "instances/one").status_code == 404


@pytest.mark.parametrize("query", ["pollingInterval=9", "timeout=", "timeout=%20"])
def test_without_a_time_nobody_waits(hub: Any, query: str) -> None:
    began_at = hub.clock.now()
    assert hub.send("POST", f"orchestrators/Job/one?{query}").status_code == 202
    assert hub.clock.now() == began_at


def test_a_body_beyond_the_bound_is_refused_with_413(hub: Any) -> None:
    answer = hub.send("POST", "orchestrators/Job/one", content=b'"' + b"x" * 5000 + b'"')
    assert answer.status_code == 413
    assert list(answer.json()) == FULL_KEYS
    assert "5002 bytes; the limit is 4096 bytes" in answer.json()["Message"]


def test_a_body_of_unknown_length_is_not_read_beyond_the_bound(hub: Any) -> None:
    read: list[int] = []

    async def far_too_much() -> Any:
        for chunk in range(100):
            read.append(chunk)
            yield b"x" * 1000

    answer = hub.send("POST", "orchestrators/Job/one", content=far_too_much())
    assert answer.status_code == 413
    assert "5000 bytes; the limit is 4096 bytes" in answer.json()["Message"]
    assert len(read) < 10
