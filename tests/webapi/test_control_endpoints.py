"""Suspending, resuming, rewinding, restarting and terminating over HTTP, on a hub that works."""

from __future__ import annotations

import pytest

from soloist.core.status import RuntimeStatus
from tests.webapi.live import LiveHub

CONTROLS = ["suspend", "resume", "terminate", "rewind"]
NO_SUCH_INSTANCE = "InstanceId does not match a valid orchestration instance."


def is_running(live: LiveHub, instance_id: str) -> bool:
    return live.status(instance_id).status is RuntimeStatus.RUNNING


def test_a_suspended_instance_takes_events_and_goes_on_when_it_is_resumed(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Wait/one")
    answer = live.send("POST", "instances/one/Suspend?reason=a+pause")
    assert (answer.status_code, answer.content) == (202, b"")
    status = live.send("GET", "instances/one")
    assert (status.status_code, status.json()["runtimeStatus"]) == (202, "Suspended")
    assert status.json()["output"] is None
    live.send("POST", "instances/one/raiseEvent/Go", json={"a": 1})
    assert live.status("one").status is RuntimeStatus.SUSPENDED
    assert live.send("POST", "instances/one/resume?reason=on").status_code == 202
    assert live.send("GET", "instances/one").json()["output"] == {"a": 1}


def test_suspending_twice_and_resuming_what_runs_change_nothing(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Wait/one")
    for operation in ("resume", "suspend", "suspend"):
        assert live.send("POST", f"instances/one/{operation}").status_code == 202
    events = live.send("GET", "instances/one?showHistory=true").json()["historyEvents"]
    assert [each["EventType"] for each in events] == ["ExecutionStarted", "ExecutionSuspended"]
    live.send("POST", "instances/one/resume")
    live.send("POST", "instances/one/resume")
    assert is_running(live, "one")


@pytest.mark.parametrize("operation", CONTROLS)
def test_nobody_unknown_can_be_controlled(live: LiveHub, operation: str) -> None:
    for instance_id in ("nobody", "a%2Fb", "@@timer@tick"):
        answer = live.send("POST", f"instances/{instance_id}/{operation}")
        assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize("operation", [*CONTROLS, "restart", "raiseEvent/Go"])
def test_an_entity_cannot_be_controlled(live: LiveHub, operation: str) -> None:
    live.send("POST", "entities/counter/a?op=add", json=1)
    answer = live.send("POST", f"instances/@counter@a/{operation}")
    assert answer.status_code == 400
    assert "'@counter@a' is an entity" in answer.json()["ExceptionMessage"]
    assert live.send("GET", "entities/counter/a").json() == 1


@pytest.mark.parametrize("operation", ["suspend", "resume"])
def test_who_has_ended_can_be_neither_paused_nor_resumed(live: LiveHub, operation: str) -> None:
    live.send("POST", "orchestrators/Echo/one")
    answer = live.send("POST", f"instances/one/{operation}")
    assert (answer.status_code, answer.content) == (410, b"")


def test_a_reason_has_a_bound(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Wait/one")
    for operation in CONTROLS:
        answer = live.send("POST", f"instances/one/{operation}?reason={'x' * 5000}")
        assert answer.status_code == 413


def test_a_failed_instance_is_rewound_and_does_again_what_failed(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Fragile/one")
    assert live.status("one").status is RuntimeStatus.FAILED
    live.worker.is_mended = True
    answer = live.send("POST", "instances/one/rewind?reason=mended")
    assert (answer.status_code, answer.content) == (202, b"")
    status = live.send("GET", "instances/one?showHistory=true").json()
    assert (status["runtimeStatus"], status["output"]) == ("Completed", "mended")
    assert [each["EventType"] for each in status["historyEvents"]] == [
        "ExecutionStarted",
        "ExecutionRewound",
        "TaskCompleted",
        "ExecutionCompleted",
    ]


def test_only_a_failed_instance_is_rewound(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Wait/one")
    answer = live.send("POST", "instances/one/rewind")
    assert answer.status_code == 412
    assert answer.json() == (
        'This orchestration has status Running, but only orchestrations in the "Failed" state can'
        " be rewound."
    )


def test_a_restart_draws_a_new_id_and_takes_the_stored_input(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Echo/one", json={"a": [1]})
    answer = live.send("POST", "instances/one/restart")
    assert answer.status_code == 202
    new_id = answer.json()["id"]
    assert len(new_id) == 32
    assert answer.headers["location"] == answer.json()["statusQueryGetUri"]
    status = live.send("GET", f"instances/{new_id}").json()
    assert (status["name"], status["output"]) == ("Echo", {"a": [1]})
    assert live.send("GET", "instances/one").status_code == 200


def test_a_restart_under_the_same_id_replaces_the_instance(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Echo/one", json=1)
    generation = live.status("one").generation
    answer = live.send("POST", "instances/one/restart?restartWithNewInstanceId=False")
    assert (answer.status_code, answer.json()["id"]) == (202, "one")
    assert live.status("one").generation > generation


def test_a_restart_beside_a_live_instance_of_the_same_id_is_refused(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Wait/one")
    answer = live.send("POST", "instances/one/restart?restartWithNewInstanceId=false")
    assert answer.status_code == 409
    body = answer.json()
    assert body["ExceptionMessage"] == (
        "A non-terminal instance with this instance ID already exists."
    )
    assert (body["instanceId"], body["runtimeStatus"]) == ("one", "Running")


def test_nobody_unknown_is_restarted(live: LiveHub) -> None:
    answer = live.send("POST", "instances/nobody/restart")
    assert (answer.status_code, answer.json()["Message"]) == (400, NO_SUCH_INSTANCE)
    status, body = live.ask("POST", "instances/nobody/restart?restartWithNewInstanceId=true")
    assert (status, body["Message"]) == (404, NO_SUCH_INSTANCE)


def test_a_restart_waits_for_the_end_when_it_is_asked_to(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Echo/one", json="x")
    answer = live.send("POST", "instances/one/restart?timeout=1")
    assert (answer.status_code, answer.json()) == (200, "x")
    count = len(live.send("GET", "instances").json())
    assert live.send("POST", "instances/one/restart?timeout=1&pollingInterval=2").status_code == 400
    assert len(live.send("GET", "instances").json()) == count


def test_a_termination_ends_the_children_unless_it_is_told_not_to(live: LiveHub) -> None:
    for instance_id, query, is_alone in (("a", "", False), ("b", "?recursive=false", True)):
        live.send("POST", f"orchestrators/Parent/{instance_id}")
        child = f"child of {live.status(instance_id).execution_id}"
        assert live.send("POST", f"instances/{instance_id}/terminate{query}").status_code == 202
        assert live.status(instance_id).status is RuntimeStatus.TERMINATED
        assert is_running(live, child) is is_alone
