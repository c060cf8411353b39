"""Any sequence of verbs gets the same answers from the reference model and from SQLite."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soloist.contracts.store import Store
from soloist.core.actions import CarriedEvent
from soloist.core.failures import FailureDetails
from soloist.core.instances import InstanceQuery, Lease, StartRequest
from soloist.core.outcomes import NextExecution
from soloist.core.policy import StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.errors import SoloistError
from tests.contract.world import World

IDS = st.sampled_from(["a", "b", "c"])
STATUSES = st.sampled_from(list(RuntimeStatus))


async def _history(store: Store, generation: int) -> Any:
    return await store.history(generation)


async def _inbox(store: Store, generation: int) -> Any:
    return await store.inbox(generation, 0)


class _Refusal(msgspec.Struct, frozen=True):
    """A domain error as a value, to be compared."""

    kind: type[SoloistError]
    text: str


class Pair:
    """Two worlds with one history: what one answers, the other must answer too."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self._worlds = [World(kind, folder) for kind in ("memory", "sqlite")]
        self._stores: list[Store] = [self._run(world.opened()) for world in self._worlds]
        self._clients: list[Store] = [self._run(world.opened()) for world in self._worlds]
        self._hosts: list[int] = []
        self._leases: list[Lease] = []
        self._executions = 0
        self.join()

    def close(self) -> None:
        for world in self._worlds:
            self._run(world.close())
        self._runner.close()

    def join(self) -> None:
        self._hosts.append(self._both(lambda store: store.join("host")))

    def leave(self, host: int) -> None:
        self._both(lambda store: store.leave(self._host(host)))

    def renew(self, host: int) -> None:
        self._both(lambda store: store.renew(self._host(host)))

    def time_passes(self, seconds: float) -> None:
        for world in self._worlds:
            world.clock.advance(seconds)

    def start(self, instance_id: str, policy: StartPolicy, name: str, host: int | None) -> None:
        request = StartRequest(
            instance_id=instance_id,
            execution_id=self._execution_id(),
            name=name,
            at=self._worlds[0].now(),
            input=f'"{self._executions}"',
            policy=policy,
        )
        receipt = self._both(lambda store: store.start(request, self._host_or_none(host)))
        if receipt is not None and receipt.lease is not None:
            self._leases.append(receipt.lease)

    def deliver(
        self, instance_id: str, terminates: bool, host: int | None, is_client: bool
    ) -> None:
        world = self._worlds[0]
        event = world.termination("r") if terminates else world.raised("e", "1")
        stores = self._clients if is_client else self._stores
        receipt = self._both(
            lambda store: store.deliver(instance_id, event, self._host_or_none(host)), stores
        )
        if receipt is not None and receipt.lease is not None:
            self._leases.append(receipt.lease)

    def lease(self, host: int, limit: int) -> None:
        grant = self._both(lambda store: store.lease(self._host(host), limit))
        self._leases.extend(grant.leases)

    def release(self, which: int) -> None:
        if lease := self._lease(which):
            self._both(lambda store: store.release(lease.record.generation, lease.epoch))

    def commit(
        self,
        which: int,
        status: RuntimeStatus,
        wait: int | None,
        events: int,
        consumes: int,
        releases: bool,
        carried: int | None,
        is_stale: bool,
    ) -> None:
        lease = self._lease(which)
        if lease is None:
            return
        world = self._worlds[0]
        current = self._run(self._stores[0].read(lease.record.instance_id)) or lease.record
        waiting = self._run(self._stores[0].inbox(lease.record.generation, 0))
        following = None
        if carried is not None:
            following = NextExecution(
                self._execution_id(), '"next"', tuple(CarriedEvent(str(n)) for n in range(carried))
            )
        outcome = world.step(
            lease,
            length=current.history_length + is_stale,
            execution_id=current.execution_id,
            status=status,
            events=(world.mark(),) * events,
            consumed=tuple(message.message_id for message in waiting[:consumes]),
            custom_status=str(which),
            output='"o"' if events else None,
            failure=FailureDetails("m", "T") if releases else None,
            due_at=None if wait is None else world.after(wait),
            releases=releases,
            next_execution=following,
        )
        if not self._both(lambda store: store.commit(outcome)) and not is_stale:
            self._leases.remove(lease)  # it is over

    def purge(self, instance_id: str) -> None:
        self._both(lambda store: store.purge(instance_id))

    def list_pages(self, size: int, statuses: frozenset[RuntimeStatus]) -> None:
        query = InstanceQuery(page_size=size, statuses=statuses)
        page = self._both(lambda store: store.query(query))
        if page.token is not None:
            following = msgspec.structs.replace(query, token=page.token)
            self._both(lambda store: store.query(following))

    def both_hold_the_same(self) -> None:
        page = self._both(lambda store: store.query(InstanceQuery()))
        for record in page.records:
            self._both(partial(_history, generation=record.generation))
            self._both(partial(_inbox, generation=record.generation))
        self._both(lambda store: store.backlog())

    def _both(
        self, verb: Callable[[Store], Awaitable[Any]], stores: list[Store] | None = None
    ) -> Any:
        answers = [self._answer(verb, store) for store in stores or self._stores]
        assert answers[0] == answers[1]
        return None if isinstance(answers[0], _Refusal) else answers[0]

    def _answer(self, verb: Callable[[Store], Awaitable[Any]], store: Store) -> Any:
        async def ask() -> Any:
            return await verb(store)

        try:
            return self._run(ask())
        except SoloistError as error:
            return _Refusal(type(error), str(error))

    def _run(self, waits: Any) -> Any:
        return self._runner.run(waits)

    def _host(self, number: int) -> int:
        return self._hosts[-1 - number % len(self._hosts)]

    def _host_or_none(self, number: int | None) -> int | None:
        return None if number is None else self._host(number)

    def _lease(self, number: int) -> Lease | None:
        return self._leases[-1 - number % len(self._leases)] if self._leases else None

    def _execution_id(self) -> str:
        self._executions += 1
        return f"e{self._executions}"


def verb(verb_name: str, /, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(verb_name), st.fixed_dictionaries(arguments))


HOSTS = st.sampled_from([0, 0, 0, 0, 1])  # mostly the newest
MAYBE_HOSTS = st.one_of(HOSTS, st.none())
COMMIT = verb(
    "commit",
    which=st.sampled_from([0, 0, 1, 2, 3]),
    status=st.sampled_from([RuntimeStatus.RUNNING] * 8 + list(RuntimeStatus)),
    wait=st.sampled_from([None, None, -20, -1, 0, 1, 15, 60]),
    events=st.integers(0, 2),
    consumes=st.integers(0, 2),
    releases=st.sampled_from([False, False, True]),
    carried=st.sampled_from([None, None, 0, 1, 2]),
    is_stale=st.sampled_from([False, False, False, True]),
)
START = verb(
    "start",
    instance_id=IDS,
    policy=st.sampled_from(list(StartPolicy)),
    name=st.sampled_from(["f", "f", "g"]),
    host=MAYBE_HOSTS,
)
DELIVER = verb(
    "deliver",
    instance_id=IDS,
    terminates=st.sampled_from([False, False, False, True]),
    host=MAYBE_HOSTS,
    is_client=st.booleans(),
)
LEASE = verb("lease", host=HOSTS, limit=st.integers(0, 3))
SELDOM = [
    verb("join"),
    verb("leave", host=HOSTS),
    verb("renew", host=HOSTS),
    verb("time_passes", seconds=st.sampled_from([0.000001, 1.0, 14.0, 29.999999, 30.0])),
    verb("time_passes", seconds=st.sampled_from([0.000001, 1.0])),
    verb("release", which=st.sampled_from([0, 0, 1, 2])),
    verb("release", which=st.sampled_from([0, 0, 1, 2])),
    verb("purge", instance_id=IDS),
    verb("list_pages", size=st.integers(1, 2), statuses=st.frozensets(STATUSES, max_size=2)),
]
# Not one_of, which would count each kind once.
VERBS = st.sampled_from([START, COMMIT, COMMIT, DELIVER, LEASE] * 4 + SELDOM).flatmap(lambda it: it)


@settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(VERBS, min_size=40, max_size=80))
def test_any_sequence_of_verbs_gets_the_same_answers(verbs: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(Path(folder))
        try:
            for name, arguments in verbs:
                getattr(pair, name)(**arguments)
                pair.both_hold_the_same()
        finally:
            pair.close()
