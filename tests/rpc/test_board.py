"""The board: which functions it says are waited for that no worker knows."""

from __future__ import annotations

import asyncio

from durabletask.internal import orchestrator_service_pb2 as pb

from soloist.core.work import LackedFunction, Lacks, WorkKind
from soloist.rpc.board import Board, BoardLimits
from soloist.rpc.streams import Stream

JOB = (WorkKind.ORCHESTRATION, "Job", None)
LACKS_JOB = Lacks(workers=0, functions=(LackedFunction(*JOB),))


def stream(*names: str) -> Stream:
    """A worker that takes orchestrators of these names and nothing else."""
    filters = pb.WorkItemFilters(orchestrations=[pb.OrchestrationFilter(name=n) for n in names])
    return Stream(pb.GetWorkItemsRequest(workItemFilters=filters), "here")


async def test_a_function_is_lacked_while_an_instance_waits_for_it() -> None:
    board = Board(BoardLimits(missed_seconds=-1.0))
    assert board.lacks() == Lacks(workers=0)
    waiter = board.absence(*JOB)
    assert waiter is not None
    assert board.lacks() == LACKS_JOB
    waiter.cancel()
    await board_settles(waiter)
    assert board.lacks() == Lacks(workers=0)


async def test_an_instance_that_is_given_back_for_a_moment_still_waits() -> None:
    board = Board()
    waiter = board.absence(*JOB)
    assert waiter is not None
    waiter.cancel()
    await board_settles(waiter)
    assert board.lacks() == LACKS_JOB


async def test_it_is_lacked_no_more_once_a_worker_knows_it_and_again_when_that_has_gone() -> None:
    board = Board()
    assert board.absence(*JOB) is not None
    other, knows = stream("Other"), stream("Other", "Job")
    board.join(other)
    assert board.lacks() == Lacks(workers=1, functions=LACKS_JOB.functions)
    board.join(knows)
    assert board.absence(*JOB) is None
    assert board.lacks() == Lacks(workers=2)
    board.leave(knows)
    assert board.absence(*JOB) is not None
    assert board.lacks() == Lacks(workers=1, functions=LACKS_JOB.functions)


async def board_settles(waiter: asyncio.Future[None]) -> None:
    """Let the callbacks of a cancelled future run."""
    await asyncio.wait([waiter])
