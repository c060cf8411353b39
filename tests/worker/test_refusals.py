"""Which errors are a durable client's own, and what is told of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from azure.durable_functions import DurableOrchestrationClient
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata

from soloist.errors import Kind
from soloist.rpc import errors
from soloist_worker import refusals
from soloist_worker.refusals import Answer, refusal_of

BINDING = json.dumps(
    {"taskHubName": "Hub", "creationUrls": {}, "managementUrls": {}, "rpcBaseUrl": "inproc://"}
)
FAULT = {"Message": "why", "ExceptionMessage": "why", "ExceptionType": "X", "StackTrace": ""}

Call = Callable[[Any], Awaitable[Any]]


# gRPC, as clients of 2.x speak it.


def raised(*facts: tuple[str, str | bytes]) -> AioRpcError:
    return AioRpcError(StatusCode.UNKNOWN, Metadata(), Metadata(*facts), "why")


def test_host_and_worker_call_the_facts_by_the_same_names() -> None:
    assert (refusals.KIND_KEY, refusals.CONFLICT_KEY) == (errors.KIND_KEY, errors.CONFLICT_KEY)


def test_a_refused_start_says_whose_id_it_was() -> None:
    facts = ((errors.KIND_KEY, Kind.CONFLICT.value), (errors.CONFLICT_KEY, "ü".encode()))
    text = "An instance with ID 'ü' already exists."
    assert refusal_of(raised(*facts)) == {"status": 409, "text": text}


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Kind.INVALID, 400),
        (Kind.TOO_LARGE, 413),
        (Kind.NOT_FOUND, 404),
        (Kind.CONFLICT, 409),
        (Kind.GONE, 410),
        (Kind.PRECONDITION, 412),
        (Kind.EXHAUSTED, 503),
        (Kind.UNAVAILABLE, 503),
    ],
)
def test_every_kind_that_is_not_the_hosts_fault_has_its_status(kind: Kind, status: int) -> None:
    assert refusal_of(raised((errors.KIND_KEY, kind.value))) == {"status": status, "text": "why"}


def test_a_fault_of_the_host_is_no_refusal() -> None:
    assert refusal_of(raised((errors.KIND_KEY, Kind.INTERNAL.value))) is None


class Strange(Exception):
    def trailing_metadata(self) -> int:
        return 7


@pytest.mark.parametrize("error", [raised(), Strange(), ValueError("x")])
def test_other_errors_say_nothing(error: Exception) -> None:
    assert refusals.facts_of(error) == {}
    assert refusal_of(error) is None


# The client of 1.x.


async def ask(call: Call, status: int, body: Any, instance_id: str | None = None) -> Any:
    """Let the SDK's client be given an answer."""
    client = DurableOrchestrationClient(BINDING)
    answer = Answer((status, body))
    answer.instance_id = instance_id

    async def answered(*_: Any, **__: Any) -> Answer:
        return answer

    client._post_async_request = answered
    client._get_async_request = answered
    client._delete_async_request = answered
    return await call(client)


def error_of(call: Call, status: int, body: Any, instance_id: str | None = None) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # of whatever kind the SDK raises
        asyncio.run(ask(call, status, body, instance_id))
    return caught.value


def start(client: Any) -> Any:
    return client.start_new("Job", "one", 1)


def test_a_start_on_a_taken_id_is_told_in_the_documented_words() -> None:
    refusal = refusal_of(error_of(start, 409, FAULT, "one"))
    assert refusal == {"status": 409, "text": "An instance with ID 'one' already exists."}


@pytest.mark.parametrize("status", [400, 413])
def test_a_refused_start_is_told_in_the_hosts_words(status: int) -> None:
    assert refusal_of(error_of(start, status, FAULT)) == {"status": status, "text": "why"}


def test_the_app_sees_what_the_sdk_promises() -> None:
    error = error_of(start, 400, FAULT)
    assert (type(error), error.args) == (Exception, ("why",))
    assert error_of(start, 413, FAULT).args == (FAULT,)


@pytest.mark.parametrize(
    ("call", "status", "body", "text"),
    [
        (lambda client: client.terminate("x", "y"), 404, None, "No instance with ID 'x' found."),
        (lambda client: client.terminate("x", "y"), 400, FAULT, "why"),
        (lambda client: client.raise_event("x", "e"), 404, None, "No instance with ID x found."),
        (lambda client: client.raise_event("x", "e", 1), 413, FAULT, "why"),
        (
            lambda client: client.raise_event("x", "e"),
            410,
            None,
            "Instance with ID x is gone: either completed or failed",
        ),
        (lambda client: client.rewind("x", "y"), 412, "Not failed.", "Not failed."),
        (lambda client: client.purge_instance_history("x"), 412, "It runs.", "It runs."),
        (lambda client: client.restart("x", False), 409, FAULT, "why"),
        (lambda client: client.get_status_all(), 400, FAULT, "why"),
    ],
)
def test_so_is_every_other_refusal_that_the_sdk_raises(
    call: Call, status: int, body: Any, text: str
) -> None:
    assert refusal_of(error_of(call, status, body)) == {"status": status, "text": text}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("call", [start, lambda client: client.get_status("x")])
def test_a_host_that_cannot_serve_is_a_503(call: Call, status: int) -> None:
    assert refusal_of(error_of(call, status, FAULT)) == {"status": 503, "text": "why"}


def test_a_host_that_broke_has_refused_nothing() -> None:
    assert refusal_of(error_of(start, 500, FAULT)) is None


async def wrapped(client: Any) -> None:
    try:
        await start(client)
    except Exception as error:
        raise RuntimeError("of my own") from error


async def raised_again(client: Any) -> None:
    try:
        await start(client)
    except Exception as error:
        raise error  # what is tried here


async def raised_anew(client: Any) -> None:
    try:
        await start(client)
    except Exception as error:
        raise Exception(*error.args) from None  # what is tried here


def test_an_error_of_the_apps_own_is_the_apps() -> None:
    assert refusal_of(error_of(wrapped, 400, FAULT)) is None
    assert refusal_of(error_of(raised_anew, 400, FAULT)) is None
    assert refusal_of(Exception("never raised")) is None


def test_a_refusal_stays_one_on_its_way_through_the_app() -> None:
    assert refusal_of(error_of(raised_again, 400, FAULT)) == {"status": 400, "text": "why"}
