"""What the client checks, and whom it tells of what the store did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from soloist.client import Client, EntityQuery
from soloist.core.events import (
    EntityRequested,
    ExecutionTerminated,
    HistoryEvent,
    SubOrchestrationInstanceCreated,
    TaskAddress,
)
from soloist.core.failures import FailureDetails
from soloist.core.ids import timer_id
from soloist.core.instances import InstanceQuery, Lease, StartRequest
from soloist.core.messages import StartChild
from soloist.core.outcomes import Outcome
from soloist.core.policy import StartDecision, StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.errors import (
    FunctionNotFound,
    InstanceExists,
    InstanceNotFailed,
    InstanceNotFound,
    InvalidRequest,
    PayloadTooLarge,
)
from soloist.stores import MemoryState, MemoryStore
from soloist.testing import JumpClock


class Ear:
    """Writes down what a host would be told; ``host_id`` is for whom leases are asked."""

    def __init__(self) -> None:
        self.host_id: int | None = None
        self.heard: list[tuple[str, int]] = []
        self.leases: dict[int, Lease] = {}

    def claimant(self) -> int | None:
        """Return the host."""
        return self.host_id

    def granted(self, lease: Lease) -> None:
        """Keep the lease."""
        self.leases[lease.record.generation] = lease
        self.heard.append(("granted", lease.record.generation))

    def mail(self, generation: int) -> None:
        """Write it down."""
        self.heard.append(("mail", generation))

    def replaced(self, generation: int) -> None:
        """Write it down."""
        self.heard.append(("replaced", generation))

    def work_waits(self, due_at: datetime | None = None) -> None:
        """Write it down."""
        self.heard.append(("waits", 0))

    def end_of(self, instance_id: str) -> None:
        """Nothing is held here."""


class Entities:
    """The entity functions of an app."""

    def resolve(self, name: str) -> str | None:
        """Compare without case."""
        return "Counter" if name.lower() == "counter" else None

    def names(self) -> tuple[str, ...]:
        """Return the only one."""
        return ("Counter",)


class World:
    """A store that a host has joined, and a client with an ear."""

    def __init__(self) -> None:
        self.clock = JumpClock()
        self.ear = Ear()
        self.store = MemoryStore(
            MemoryState(), task_hub="Hub", clock=self.clock, lease_seconds=3600
        )
        self.client = Client(
            self.store,
            self.clock,
            wakeups=self.ear,
            entities=Entities(),
            default_version="2.0",
            max_payload_bytes=100,
        )

    async def open(self) -> None:
        """Join the hub."""
        await self.store.open()
        self.ear.host_id = await self.store.join("test")

    def heard(self) -> list[tuple[str, int]]:
        """Return what was heard since the last time."""
        heard, self.ear.heard = self.ear.heard, []
        return heard

    async def commit(
        self, instance_id: str, status: RuntimeStatus, *events: HistoryEvent, child: str = ""
    ) -> None:
        """Bring an instance into a status, perhaps as the parent of another one."""
        record = await self.client.status(instance_id)
        address = TaskAddress(instance_id, record.generation, record.execution_id, 0)
        request = StartRequest(
            instance_id=child, execution_id="e", name="Child", at=self.clock.now(), parent=address
        )
        outcome = Outcome(
            generation=record.generation,
            execution_id=record.execution_id,
            epoch=self.ear.leases[record.generation].epoch,
            history_length=record.history_length,
            at=self.clock.now(),
            events=events,
            consumed=(),
            status=status,
            custom_status=None,
            output=None,
            failure=FailureDetails("no") if status is RuntimeStatus.FAILED else None,
            due_at=None,
            outgoing=(StartChild(request),) if child else (),
        )
        assert await self.store.commit(outcome)

    async def operate(self, instance_id: str, state: str | None) -> None:
        """Leave an entity in a state, as a host would."""
        record = await self.store.read(instance_id)
        assert record is not None
        outcome = Outcome(
            generation=record.generation,
            execution_id="",
            epoch=self.ear.leases[record.generation].epoch,
            history_length=0,
            at=self.clock.now(),
            events=(),
            consumed=(),
            status=RuntimeStatus.RUNNING,
            custom_status=None,
            output=state,
            failure=None,
            due_at=None,
        )
        assert await self.store.commit(outcome)


def run(story: Callable[[World], Awaitable[None]]) -> None:
    async def tell() -> None:
        world = World()
        await world.open()
        await story(world)

    asyncio.run(tell())


def test_a_start_that_replaces_a_parent_tells_the_holders_of_its_children() -> None:
    async def story(world: World) -> None:
        parent = (await world.client.start("Parent", "one")).record
        created = SubOrchestrationInstanceCreated(world.clock.now(), 0, "child", "Child")
        await world.commit("one", RuntimeStatus.RUNNING, created, child="child")
        child = await world.client.status("child")
        world.heard()
        again = await world.client.start("Parent", "one", policy=StartPolicy.REPLACE)
        assert again.decision is StartDecision.REPLACE
        assert world.heard() == [
            ("replaced", parent.generation),
            ("mail", child.generation),
            ("granted", again.record.generation),
        ]
        messages = await world.store.inbox(child.generation, 0)
        assert isinstance(messages[0].event, ExecutionTerminated)

    run(story)


def test_a_rewind_hands_its_leases_to_the_host() -> None:
    async def story(world: World) -> None:
        record = (await world.client.start("Any", "one")).record
        await world.commit("one", RuntimeStatus.FAILED)
        world.heard()
        await world.client.rewind("one", "mended")
        assert world.heard() == [("granted", record.generation)]
        with pytest.raises(InstanceNotFailed):
            await world.client.rewind("one")
        world.ear.host_id = None
        await world.commit("one", RuntimeStatus.FAILED)
        await world.client.rewind("one")
        assert world.heard() == [("waits", 0)]

    run(story)


def test_a_restart_takes_the_hub_s_version_and_the_stored_input() -> None:
    async def story(world: World) -> None:
        await world.client.start("Any", "one", input="[1]", version="1.0")
        other = (await world.client.restart("one")).record
        assert other.instance_id != "one"
        assert (other.name, other.version, other.input) == ("Any", "2.0", "[1]")
        with pytest.raises(InstanceExists):
            await world.client.restart("one", with_new_id=False)
        with pytest.raises(InstanceNotFound):
            await world.client.restart("nobody")

    run(story)


@pytest.mark.parametrize("verb", ["terminate", "suspend", "resume", "rewind", "restart"])
def test_what_makes_no_sense_on_an_entity_is_refused_by_name(verb: str) -> None:
    async def story(world: World) -> None:
        with pytest.raises(InvalidRequest, match=r"'@counter@a' is an entity, and an entity"):
            await getattr(world.client, verb)("@counter@a")
        with pytest.raises(InstanceNotFound):
            await getattr(world.client, verb)(timer_id("tick"))
        assert world.heard() == []

    run(story)


@pytest.mark.parametrize("verb", ["terminate", "suspend", "resume", "rewind"])
def test_reasons_have_a_bound_and_are_text(verb: str) -> None:
    async def story(world: World) -> None:
        await world.client.start("Any", "one")
        with pytest.raises(PayloadTooLarge):
            await getattr(world.client, verb)("one", "x" * 101)
        with pytest.raises(InvalidRequest, match="holds a lone surrogate, which is not text"):
            await getattr(world.client, verb)("one", "\ud800")

    run(story)


def test_names_and_versions_have_a_bound() -> None:
    async def story(world: World) -> None:
        client, long = world.client, "x" * 201
        for attempt in (
            client.start(long),
            client.start("Any", version=long),
            client.raise_event("one", long, None),
            client.raise_event("one", "", None),
            client.signal(long, "a", "add"),
            client.signal("counter", "a", long),
            client.list_entities(EntityQuery(name=long)),
            client.list(InstanceQuery(names=("a",) * 101)),
            client.list(InstanceQuery(names=("\ud800",))),
            client.purge_many(InstanceQuery(instance_id_prefix="\ud800")),
        ):
            with pytest.raises(InvalidRequest):
                await attempt

    run(story)


def test_a_bulk_purge_spares_what_took_an_id_meanwhile() -> None:
    async def story(world: World) -> None:
        await world.client.start("Any", "one")
        await world.commit("one", RuntimeStatus.COMPLETED)
        query, found = world.store.query, await world.store.query(InstanceQuery())
        await world.client.start("Any", "one")
        await world.commit("one", RuntimeStatus.COMPLETED)

        async def stale(_query: InstanceQuery) -> object:
            return found

        world.store.query = stale  # type: ignore[method-assign,assignment]
        assert await world.client.purge_many(InstanceQuery()) == 0
        world.store.query = query  # type: ignore[method-assign]
        assert await world.client.purge_many(InstanceQuery()) == 1

    run(story)


def test_a_bulk_purge_spares_what_was_rewound_and_what_starts_later() -> None:
    async def story(world: World) -> None:
        await world.client.start("Any", "one")
        await world.commit("one", RuntimeStatus.FAILED)
        await world.client.rewind("one")
        later = world.clock.now() + timedelta(days=1)
        assert await world.client.purge_many(InstanceQuery(created_to=later)) == 0
        assert (await world.client.status("one")).status is RuntimeStatus.RUNNING

    run(story)


def test_a_signal_brings_an_entity_into_being_under_its_registered_name() -> None:
    async def story(world: World) -> None:
        due_at = world.clock.now() + timedelta(hours=1)
        await world.client.signal("COUNTER", "Key", "add", "1", due_at)
        record = await world.store.read("@counter@Key")
        assert record is not None
        (message,) = await world.store.inbox(record.generation, 0)
        assert message.event == EntityRequested(world.clock.now(), "add", "1", None, due_at)
        assert world.heard() == [("mail", record.generation)]
        with pytest.raises(FunctionNotFound, match="is not an entity function"):
            await world.client.signal("other", "Key", "add")
        with pytest.raises(PayloadTooLarge):
            await world.client.signal("counter", "Key", "add", "x" * 101)

    run(story)


def test_an_entity_exists_once_it_has_a_state() -> None:
    async def story(world: World) -> None:
        await world.client.signal("counter", "a", "add")
        with pytest.raises(InstanceNotFound):
            await world.client.read_entity("counter", "a")
        await world.operate("@counter@a", "5")
        entity = await world.client.read_entity("Counter", "a")
        assert (str(entity.id), entity.state) == ("@counter@a", "5")
        page = await world.client.list_entities(EntityQuery())
        assert (page.entities, page.token) == ((entity,), None)

    run(story)


def test_pages_of_what_does_not_exist_are_passed_over() -> None:
    async def story(world: World) -> None:
        for number in range(5):
            await world.client.signal("counter", f"k{number}", "add")
        await world.operate("@counter@k3", "1")
        page = await world.client.list_entities(EntityQuery(page_size=1))
        assert [each.id.key for each in page.entities] == ["k3"]
        rest = await world.client.list_entities(EntityQuery(page_size=1, token=page.token))
        assert (rest.entities, rest.token) == ((), None)

    run(story)


def test_a_purged_entity_is_taken_from_whoever_works_for_it() -> None:
    async def story(world: World) -> None:
        await world.client.signal("counter", "a", "add")
        record = await world.store.read("@counter@a")
        assert record is not None
        world.heard()
        await world.client.purge_entity("counter", "a")
        assert world.heard() == [("replaced", record.generation)]
        assert await world.store.read("@counter@a") is None
        for again in (world.client.purge_entity("counter", "a"), world.client.purge("@counter@a")):
            with pytest.raises(InstanceNotFound):
                await again

    run(story)


def test_timers_are_nowhere_to_be_seen() -> None:
    async def story(world: World) -> None:
        event = EntityRequested(world.clock.now(), "")
        await world.store.deliver(timer_id("tick"), event, None)
        page = await world.client.list(InstanceQuery(instance_id_prefix="@"))
        assert page.records == ()
        for verb in (world.client.status, world.client.purge):
            with pytest.raises(InstanceNotFound):
                await verb(timer_id("tick"))
        assert await world.store.read(timer_id("tick")) is not None

    run(story)
