"""What the host says of itself in the errors of gRPC clients."""

from __future__ import annotations

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata

from soloist.errors import Kind
from soloist.rpc import errors
from soloist_worker import refusals
from soloist_worker.client import PassingRefusal, conflict_id_of, is_passing


def raised(*facts: tuple[str, str | bytes]) -> AioRpcError:
    return AioRpcError(StatusCode.UNKNOWN, Metadata(), Metadata(*facts), "why")


def test_host_and_worker_call_the_facts_by_the_same_names() -> None:
    assert (refusals.KIND_KEY, refusals.CONFLICT_KEY) == (errors.KIND_KEY, errors.CONFLICT_KEY)


def test_a_refused_start_says_whose_id_it_was() -> None:
    facts = ((errors.KIND_KEY, Kind.CONFLICT.value), (errors.CONFLICT_KEY, "ü".encode()))
    assert conflict_id_of(raised(*facts)) == "ü"
    assert not is_passing(raised(*facts))


@pytest.mark.parametrize("kind", [Kind.UNAVAILABLE, Kind.EXHAUSTED])
def test_a_host_that_cannot_serve_says_that_this_passes(kind: Kind) -> None:
    error = raised((errors.KIND_KEY, kind.value))
    assert is_passing(error)
    assert conflict_id_of(error) is None


class Strange(Exception):
    def trailing_metadata(self) -> int:
        return 7


@pytest.mark.parametrize("error", [raised(), Strange(), ValueError("x")])
def test_other_errors_say_nothing(error: Exception) -> None:
    assert refusals.facts_of(error) == {}
    assert conflict_id_of(error) is None
    assert not is_passing(error)


def test_a_start_that_met_a_host_without_its_store_is_passing() -> None:
    body = {"Message": "The database does not answer."}
    assert is_passing(Exception(PassingRefusal(body)))
    assert not is_passing(Exception(body))
