"""The client of ``azure-functions-durable`` itself, its transport replaced by the local door."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

df = pytest.importorskip("azure.durable_functions")
func = pytest.importorskip("azure.functions")

from soloist.core.failures import FailureDetails  # noqa: E402
from soloist.core.status import RuntimeStatus  # noqa: E402
from tests.webapi.live import LiveHub  # noqa: E402

MODULE = "azure.durable_functions.models.DurableOrchestrationClient"
BASE = "inproc://"
BINDING = json.dumps(
    {
        "taskHubName": "TestHub",
        "creationUrls": {},
        "managementUrls": {"id": "INSTANCEID", "statusQueryGetUri": "http://h/INSTANCEID"},
        "rpcBaseUrl": BASE,
    }
)


def durable_client(
    hub: Any, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Awaitable[tuple[int, Any]]]
) -> Any:
    """Return a client of the SDK that speaks to ``hub`` through ``ask``."""

    async def call(method: str, url: str, data: str | None) -> list[Any]:
        sent = None if data is None else json.dumps(data)  # the stock transport dumps it again
        status, body = await ask(method, url.removeprefix(BASE), sent)
        return [status, None if body is None else json.loads(body)]

    async def post(url: str, data: Any = None, *_trace: Any, **_ids: Any) -> list[Any]:
        return await call("POST", url, data)

    async def get(url: str, *_ids: Any) -> list[Any]:
        status, body = await call("GET", url, None)
        return [status, "" if body is None else body]

    async def delete(url: str, *_ids: Any) -> list[Any]:
        return await call("DELETE", url, None)

    module = sys.modules[MODULE]
    monkeypatch.setattr(module, "post_async_request", post)
    monkeypatch.setattr(module, "get_async_request", get)
    monkeypatch.setattr(module, "delete_async_request", delete)
    return df.DurableOrchestrationClient(BINDING)


@pytest.fixture
def client(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A durable client of a hub whose outcomes are committed by hand."""
    return durable_client(hub, monkeypatch, hub.local.management)


@pytest.fixture
def live_client(live: LiveHub, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A durable client of a hub that works."""
    return durable_client(live, monkeypatch, live.local.management)


def test_start_new_returns_the_id_and_doubly_encodes_the_input(hub: Any, client: Any) -> None:
    assert hub.run(client.start_new("Job", "one", {"a": 1})) == "one"
    assert hub.run(hub.client.status("one")).input == json.dumps(json.dumps({"a": 1}))
    assert len(hub.run(client.start_new("Job"))) == 32


def test_start_new_passes_the_version(hub: Any, client: Any) -> None:
    hub.run(client.start_new("Job", "one", version="1 é&2"))
    assert hub.run(hub.client.status("one")).version == "1 é&2"


def test_start_new_beside_a_running_instance_raises_a_text_that_names_the_conflict(
    hub: Any, client: Any
) -> None:
    hub.run(client.start_new("Job", "one"))
    with pytest.raises(Exception, match="already exists") as caught:
        hub.run(client.start_new("Job", "one"))
    assert caught.value.args[0]["instanceId"] == "one"
    hub.commit("one", RuntimeStatus.COMPLETED)
    assert hub.run(client.start_new("Job", "one")) == "one"


def test_start_new_of_an_unknown_function_raises_the_host_s_words(hub: Any, client: Any) -> None:
    with pytest.raises(Exception, match="The function 'Nope' doesn't exist, is disabled"):
        hub.run(client.start_new("Nope"))
    with pytest.raises(Exception, match="cannot be addressed"):
        hub.run(client.start_new("Job", "a/b"))


def test_get_status_of_nobody_is_falsy(hub: Any, client: Any) -> None:
    for instance_id in ("nobody", "a/b", "a?b"):
        status = hub.run(client.get_status(instance_id))
        assert not status
        assert status.runtime_status is None


def test_get_status_shows_everything(hub: Any, client: Any) -> None:
    hub.run(client.start_new("Job", "one", [1]))
    hub.commit("one", RuntimeStatus.COMPLETED, output='{"x": 2}', custom_status='"half"')
    status = hub.run(client.get_status("one", True, True, True))
    assert status.runtime_status is df.OrchestrationRuntimeStatus.Completed
    assert (status.name, status.output, status.custom_status) == ("Job", {"x": 2}, "half")
    assert status.input_ == "[1]"
    assert status.created_time == datetime(2026, 1, 1, tzinfo=UTC)
    assert [each["EventType"] for each in status.historyEvents] == [
        "ExecutionStarted",
        "ExecutionCompleted",
    ]


def test_get_status_understands_every_status(hub: Any, client: Any) -> None:
    for each in RuntimeStatus:
        hub.start(each.value)
        if each is not RuntimeStatus.PENDING:
            hub.commit(each.value, each, failure=FailureDetails("no"))
        assert hub.run(client.get_status(each.value)).runtime_status.value == each.value


def test_get_status_all_lists_the_first_page(hub: Any, client: Any) -> None:
    for name in ("a", "b"):
        hub.start(name)
    assert [each.instance_id for each in hub.run(client.get_status_all())] == ["a", "b"]


def test_get_status_by_filters(hub: Any, client: Any) -> None:
    for name in ("a1", "a2", "b1"):
        hub.start(name)
    hub.commit("a1", RuntimeStatus.FAILED, failure=FailureDetails("no"))
    statuses = df.OrchestrationRuntimeStatus
    found = hub.run(
        client.get_status_by(
            datetime.min,
            hub.clock.now() + timedelta(days=1),
            [statuses.Pending, statuses.Running],
            "a",
        )
    )
    assert [each.instance_id for each in found] == ["a2"]


def test_raise_event_delivers_text_of_text(hub: Any, client: Any) -> None:
    hub.start("one")
    hub.run(client.raise_event("one", "Go", {"a": 1}, "TestHub", "Storage"))
    hub.run(client.raise_event("one", "Go"))
    record = hub.run(hub.client.status("one"))
    inputs = [each.event.input for each in hub.run(hub.store.inbox(record.generation, 0))]
    assert inputs == ['"{\\"a\\": 1}"', '"null"']


def test_raise_event_for_nobody_says_so(hub: Any, client: Any) -> None:
    with pytest.raises(Exception, match="No instance with ID nobody found"):
        hub.run(client.raise_event("nobody", "Go"))
    hub.start("one")
    hub.commit("one", RuntimeStatus.COMPLETED)
    with pytest.raises(Exception, match="is gone"):
        hub.run(client.raise_event("one", "Go"))


def test_terminate_asks_and_is_content_with_what_has_ended(hub: Any, client: Any) -> None:
    hub.start("one")
    hub.run(client.terminate("one", "50% & more?"))
    record = hub.run(hub.client.status("one"))
    message = hub.run(hub.store.inbox(record.generation, 0))[0]
    assert message.event.reason == "50% & more?"
    hub.commit("one", RuntimeStatus.TERMINATED, output="50%")
    hub.run(client.terminate("one", "again"))
    with pytest.raises(Exception, match="No instance with ID 'nobody' found"):
        hub.run(client.terminate("nobody", "x"))


def test_purge_counts_what_went(hub: Any, client: Any) -> None:
    hub.start("one")
    with pytest.raises(Exception, match="unexpected status code 412"):
        hub.run(client.purge_instance_history("one"))
    hub.commit("one", RuntimeStatus.COMPLETED)
    assert hub.run(client.purge_instance_history("one")).instances_deleted == 1
    assert hub.run(client.purge_instance_history("one")).instances_deleted == 0


def test_waiting_for_completion_answers_with_the_output(hub: Any, client: Any) -> None:
    hub.start("one")
    hub.commit("one", RuntimeStatus.COMPLETED, output='{"x": 1}')
    answer = hub.run(client.wait_for_completion_or_create_check_status_response(None, "one"))
    assert (answer.status_code, json.loads(answer.get_body())) == (200, {"x": 1})


def test_waiting_for_a_failure_answers_500(hub: Any, client: Any) -> None:
    hub.start("one")
    hub.commit("one", RuntimeStatus.FAILED, failure=FailureDetails("no"))
    answer = hub.run(client.wait_for_completion_or_create_check_status_response(None, "one"))
    assert answer.status_code == 500
    assert json.loads(answer.get_body())["output"] == "Orchestrator function 'Job' failed: no"


def did(live: LiveHub, call: Any) -> Any:
    """Return what a call came to, after all that it set off has happened."""
    return live.happen(lambda: call)


def test_suspend_and_resume_hold_an_instance_and_let_it_go(live: LiveHub, live_client: Any) -> None:
    did(live, live_client.start_new("Wait", "one"))
    did(live, live_client.suspend("one", "a & b?"))
    did(live, live_client.suspend("one", "again"))
    statuses = df.OrchestrationRuntimeStatus
    status = did(live, live_client.get_status("one", show_history=True))
    assert status.runtime_status is statuses.Suspended
    assert status.historyEvents[-1]["Reason"] == "a & b?"
    did(live, live_client.raise_event("one", "Go", 1))
    did(live, live_client.resume("one", "on"))
    assert did(live, live_client.get_status("one")).runtime_status is statuses.Completed
    for method in (live_client.suspend, live_client.resume):
        did(live, method("one", "late"))
        with pytest.raises(Exception, match="No instance with ID 'nobody' found"):
            did(live, method("nobody", "x"))


def test_rewind_takes_a_reason_raw_and_lets_the_instance_try_again(
    live: LiveHub, live_client: Any
) -> None:
    did(live, live_client.start_new("Fragile", "one"))
    live.worker.is_mended = True
    reason = "50% & more = ?é+"
    did(live, live_client.rewind("one", reason, "TestHub", "Storage"))
    status = did(live, live_client.get_status("one", show_history=True))
    assert status.output == "mended"
    assert [each["Reason"] for each in status.historyEvents if "Reason" in each] == [reason]


def test_rewind_of_what_has_not_failed_raises_the_host_s_words(
    live: LiveHub, live_client: Any
) -> None:
    did(live, live_client.start_new("Echo", "one"))
    with pytest.raises(Exception, match=r'only orchestrations in the "Failed" state'):
        did(live, live_client.rewind("one", "x"))
    with pytest.raises(Exception, match="No instance with ID nobody found"):
        did(live, live_client.rewind("nobody", "x"))


def test_restart_returns_the_id_as_the_sdk_promises(live: LiveHub, live_client: Any) -> None:
    did(live, live_client.start_new("Echo", "one", {"a": 1}))
    new_id = did(live, live_client.restart("one"))
    assert len(new_id) == 32
    assert did(live, live_client.get_status(new_id)).output == '{"a": 1}'
    assert did(live, live_client.restart("one", restart_with_new_instance_id=False)) == "one"
    with pytest.raises(Exception, match="nobody"):
        did(live, live_client.restart("nobody"))
    did(live, live_client.start_new("Wait", "two"))
    with pytest.raises(Exception, match="409"):
        did(live, live_client.restart("two", restart_with_new_instance_id=False))


def test_entities_are_signalled_and_read(live: LiveHub, live_client: Any) -> None:
    entity = df.EntityId("Counter", "a 50%+&é")
    missing = did(live, live_client.read_entity_state(entity))
    assert (missing.entity_exists, missing.entity_state) == (False, None)
    did(live, live_client.signal_entity(entity, "a = b & c?", {"x": [1]}))
    found = did(live, live_client.read_entity_state(entity))
    # The client encodes twice; the worker of a real app decodes as often.
    assert (found.entity_exists, found.entity_state) == (True, '{"x": [1]}')
    did(live, live_client.signal_entity(entity, "set", 0, "TestHub", "Storage"))
    assert did(live, live_client.read_entity_state(entity)).entity_state == ""
    did(live, live_client.signal_entity(entity, "delete"))
    assert not did(live, live_client.read_entity_state(entity)).entity_exists
    with pytest.raises(Exception, match="400"):
        did(live, live_client.signal_entity(df.EntityId("nobody", "a"), "add"))


def test_purge_by_filters_counts_what_went(live: LiveHub, live_client: Any) -> None:
    for instance_id in ("a", "b"):
        did(live, live_client.start_new("Echo", instance_id))
    did(live, live_client.start_new("Wait", "c"))
    by = live_client.purge_instance_history_by
    statuses = df.OrchestrationRuntimeStatus
    tomorrow = live.clock.now() + timedelta(days=1)
    assert did(live, by(datetime.min, tomorrow, [statuses.Running])).instances_deleted == 0
    assert did(live, by(tomorrow)).instances_deleted == 0
    assert did(live, by(datetime.min)).instances_deleted == 2
    assert did(live, by(datetime.min, None, [statuses.Completed])).instances_deleted == 0


def test_a_listing_holds_more_than_a_page(live: LiveHub, live_client: Any) -> None:
    for number in range(250):
        live.run(live.client.start("Wait", f"i{number}"))
    assert len(did(live, live_client.get_status_all())) == 250
    assert len(did(live, live_client.get_status_by(instance_id_prefix="i1"))) == 111


def test_a_listing_that_is_cut_off_says_so(
    live: LiveHub, live_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soloist.webapi.operations.MAX_LOCAL_LISTING", 150)
    for number in range(250):
        live.run(live.client.start("Wait", f"i{number}"))
    with structlog.testing.capture_logs() as logs:
        assert len(did(live, live_client.get_status_all())) == 150
    assert [each["log_level"] for each in logs] == ["warning"]


def test_links_and_payloads_are_made_without_a_call(live_client: Any) -> None:
    request = func.HttpRequest("POST", "https://public.example/api/x", body=b"")
    answer = live_client.create_check_status_response(request, "one")
    assert (answer.status_code, answer.headers["Retry-After"]) == (202, "10")
    links = live_client.get_client_response_links(request, "one")
    assert links == {"id": "one", "statusQueryGetUri": "https://public.example/one"}
    assert live_client.create_http_management_payload("one") == {
        "id": "one",
        "statusQueryGetUri": "http://h/one",
    }


def test_no_method_of_the_client_is_left_out_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    names = [name for name in vars(df.DurableOrchestrationClient) if not name.startswith("_")]
    assert len(names) > 10
    assert [name for name in names if f"client.{name}" not in text] == []
