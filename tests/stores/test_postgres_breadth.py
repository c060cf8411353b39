"""Operations that touch many instances: what they need is found in a few attempts."""

from __future__ import annotations

import pytest

from soloist.core.events import (
    ExecutionCompleted,
    SubOrchestrationInstanceFailed,
)
from soloist.core.failures import FailureDetails
from soloist.core.messages import SendRequest
from soloist.core.status import RuntimeStatus
from tests.contract.world import World, present, task_of

COUNTER = "@counter@a"
FAILED = RuntimeStatus.FAILED
NO = FailureDetails("no", "ValueError")


@pytest.mark.parametrize("children", [5, 100])
async def test_a_rewind_takes_any_number_of_failed_children_along(
    postgres: World, children: int
) -> None:
    store = await postgres.opened()
    host_id = await store.join("host")
    parent = (await store.start(postgres.request(), host_id)).lease
    assert parent is not None
    names = [f"child-{number}" for number in range(children)]
    started = await store.commit(
        postgres.sends(parent, *[postgres.child(parent, n, each) for n, each in enumerate(names)]),
        host_id,
    )
    assert started is not None
    for each in started.leases:
        end = ExecutionCompleted(postgres.now(), FAILED, None, NO)
        step = postgres.step(each, events=(postgres.mark(), end), status=FAILED, failure=NO)
        assert await store.commit(step)
    asked = tuple(postgres.created(n, each) for n, each in enumerate(names))
    heard = tuple(SubOrchestrationInstanceFailed(postgres.now(), n, NO) for n in range(children))
    first = (postgres.mark(), *asked)
    assert await store.commit(postgres.step(parent, events=first))
    last = (postgres.mark(), *heard, ExecutionCompleted(postgres.now(), FAILED, None, NO))
    assert await store.commit(
        postgres.step(parent, len(first), events=last, status=FAILED, failure=NO)
    )
    await store.rewind("x", None, postgres.now(), host_id)
    for name in ("x", *names):
        assert (await present(store, name)).status is RuntimeStatus.RUNNING


@pytest.mark.parametrize("callers", [5, 100])
async def test_an_entity_is_purged_however_many_wait_for_it(postgres: World, callers: int) -> None:
    store = await postgres.opened()
    host_id = await store.join("host")
    for number in range(callers):
        lease = (await store.start(postgres.request(f"caller-{number}"), host_id)).lease
        assert lease is not None
        call = SendRequest(COUNTER, postgres.requested(caller=task_of(lease)))
        assert await store.commit(postgres.sends(lease, call))
    assert await store.purge(COUNTER) is RuntimeStatus.RUNNING
