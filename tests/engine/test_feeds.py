"""An activity may come back with the turn that it caused: what that saves, and when it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from soloist.client import Client
from soloist.contracts.executor import (
    ActivityCall,
    ActivityResult,
    Episode,
    FedTurn,
    HistoryNeeded,
)
from soloist.core.actions import (
    Action,
    CallEntity,
    CompleteExecution,
    ContinueAsNew,
    CreateTimer,
    EpisodeResult,
    ScheduleSubOrchestration,
    ScheduleTask,
)
from soloist.core.episode import Limits
from soloist.core.events import (
    EventRaised,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSuspended,
    ExecutionTerminated,
    HistoryEvent,
    OrchestratorStarted,
    TaskCompleted,
    TaskFailed,
    TaskScheduled,
)
from soloist.core.status import RuntimeStatus
from soloist.engine import Engine, EngineSettings
from soloist.errors import WorkerLost
from tests.engine.hub import Hub
from tests.engine.scripts import Script, ScriptExecutor, chain, raised, results, started


class FeedingExecutor(ScriptExecutor):
    """Feeds a result to the script that waits for it, as a worker does.

    An activity passes two gates: the first before it ends, the second on the answer's way home.
    With the input ``large`` its result has 1000 bytes. ``lag`` is by how much the worker's idea of the time is off.
    """

    def __init__(self, scripts: dict[str, Script]) -> None:
        super().__init__(scripts)
        self.ends = asyncio.Event()
        self.arrives = asyncio.Event()
        self.ends.set()
        self.arrives.set()
        self.lag = timedelta()
        self.calls: list[ActivityCall] = []
        self.episodes = 0
        self.turns_fed = 0
        self._places: dict[int, tuple[str, int]] = {}

    async def run_episode(self, episode: Episode) -> EpisodeResult:
        """Run a turn for the host."""
        self.episodes += 1
        return await self._run(episode)

    async def run_activity(self, call: ActivityCall) -> ActivityResult:
        """Run an activity, and the turn that it causes if the call says where its script stands."""
        self.calls.append(call)
        await self.ends.wait()
        answer = await super().run_activity(call)
        if call.input == "large":
            answer = ActivityResult("x" * 1000)
        feeds = call.feeds
        if feeds is None or answer.failure is not None:
            return answer
        if self._places.get(call.generation) == (feeds.execution_id, feeds.position):
            at = feeds.at + self.lag
            events = (OrchestratorStarted(at), TaskCompleted(at, call.task_id, answer.result))
            episode = Episode(
                generation=call.generation,
                execution_id=feeds.execution_id,
                instance_id=call.instance_id,
                name=feeds.name,
                position=feeds.position,
                events=events,
                past=None,
            )
            turn = FedTurn(at, await self._run(episode))
            self.turns_fed += 1
            answer = ActivityResult(answer.result, turn=turn)
        await self.arrives.wait()
        return answer

    def forget(self, generation: int) -> None:
        """Drop a session."""
        super().forget(generation)
        self._places.pop(generation, None)

    async def _run(self, episode: Episode) -> EpisodeResult:
        place = (episode.execution_id, episode.position)
        if episode.past is None and self._places.get(episode.generation) != place:
            raise HistoryNeeded
        position = episode.position + len(episode.events)
        self._places[episode.generation] = (episode.execution_id, position)
        return await super().run_episode(episode)


def waits_beside(history: Sequence[HistoryEvent]) -> list[Action]:
    """Call ``A``, then once more with the number of events that came before; return that."""
    actions: list[Action] = [ScheduleTask(0, "A", "1")]
    done = results(history)
    if done:
        first = [type(each) for each in history].index(TaskCompleted)
        actions.append(ScheduleTask(1, "A", str(len(raised(history[:first])))))
    if len(done) == 2:
        actions.append(CompleteExecution(done[1]))
    return actions


def begins_anew(history: Sequence[HistoryEvent]) -> list[Action]:
    """Call ``A``, and begin anew without its result when an event comes; the next time, return
    its result."""
    text = started(history).input
    actions: list[Action] = [ScheduleTask(0, "A", text)]
    if text == "1" and raised(history):
        actions.append(ContinueAsNew(input="2", abandons_open_work=True))
    elif results(history):
        actions.append(CompleteExecution(results(history)[0]))
    return actions


def bears_failure(history: Sequence[HistoryEvent]) -> list[Action]:
    """Call ``A``; if that fails, return, and else call it again."""
    actions: list[Action] = [ScheduleTask(0, "A", "large")]
    if any(isinstance(event, TaskFailed) for event in history):
        actions.append(CompleteExecution("1"))
    elif results(history):
        actions.append(ScheduleTask(1, "A", "1"))
    return actions


def beside(*others: Action) -> Script:
    """Return a script that calls ``A`` beside something else, and ends with its result."""

    def script(history: Sequence[HistoryEvent]) -> list[Action]:
        actions: list[Action] = [ScheduleTask(0, "A", "1"), *others]
        done = results(history)
        return [*actions, CompleteExecution(done[0], abandons_open_work=True)] if done else actions

    return script


SCRIPTS = {
    "Chain": chain(5),
    "Beside": waits_beside,
    "Anew": begins_anew,
    "Bears": bears_failure,
}


class FeedingHub(Hub):
    """A hub whose executor feeds."""

    def __init__(self, scripts: dict[str, Script] | None = None) -> None:
        super().__init__(scripts or SCRIPTS)
        self.feeding = self.executor = FeedingExecutor(scripts or SCRIPTS)

    async def begun(self, client: Client, name: str) -> None:
        """Start an instance, and let its first activity's turn be fed but not arrive."""
        self.feeding.arrives.clear()
        await client.start(name, "one", input="1")
        await self.clock.settle()
        assert self.feeding.turns_fed == 1


def test_a_sequence_of_activities_takes_one_episode_in_all() -> None:
    async def scenario() -> None:
        hub = FeedingHub()
        async with hub.host() as (_, client):
            await client.start("Chain", "one")
            assert (await hub.finished(client, "one")).output == '"0,1,2,3,4"'
            assert hub.feeding.episodes == 1
            assert hub.feeding.turns_fed == 5

    asyncio.run(scenario())


def test_a_history_is_the_same_whether_its_code_was_fed_or_not() -> None:
    async def history(hub: Hub) -> list[HistoryEvent]:
        async with hub.host() as (_, client):
            await client.start("Chain", "one")
            await hub.finished(client, "one")
            events = await hub.history(client, "one")
        return [
            msgspec.structs.replace(event, execution_id="")
            if isinstance(event, ExecutionStarted)
            else event
            for event in events
        ]

    async def scenario() -> None:
        assert await history(FeedingHub()) == await history(Hub(SCRIPTS))

    asyncio.run(scenario())


def test_the_time_of_a_fed_turn_is_the_one_that_the_code_saw() -> None:
    async def scenario() -> None:
        hub = FeedingHub()
        hub.feeding.lag = timedelta(milliseconds=5)
        async with hub.host() as (_, client):
            await client.start("Chain", "one")
            await hub.finished(client, "one")
            second = (await hub.history(client, "one"))[3:6]
            at = hub.feeding.calls[0].feeds
            assert at is not None
            assert second[0] == OrchestratorStarted(at.at + hub.feeding.lag)
            assert second[1] == TaskCompleted(at.at + hub.feeding.lag, 0, "0")
            assert second[2].at >= second[1].at  # what it asked for is not earlier

    asyncio.run(scenario())


def test_nothing_is_fed_while_the_history_is_ahead_of_the_clock() -> None:
    async def scenario() -> None:
        hub = FeedingHub()
        hub.feeding.lag = timedelta(milliseconds=5)
        async with hub.host() as (_, client):
            await client.start("Chain", "one")
            await hub.clock.settle()
            assert [call.feeds is not None for call in hub.feeding.calls] == [True, *4 * [False]]
            assert hub.executor.replays == 0

    asyncio.run(scenario())


def test_an_event_before_the_activity_ends_has_its_own_turn_and_nothing_is_fed() -> None:
    async def scenario() -> None:
        hub = FeedingHub()
        hub.feeding.ends.clear()
        async with hub.host() as (_, client):
            await client.start("Beside", "one")
            await hub.clock.settle()
            await client.raise_event("one", "E", "7")
            await hub.clock.settle()
            hub.feeding.ends.set()
            assert (await hub.finished(client, "one")).output == "1"
            assert hub.executor.replays == 0
            assert hub.feeding.turns_fed == 1  # the second activity's
            kinds = [type(each) for each in await hub.history(client, "one")]
            assert kinds.index(EventRaised) < kinds.index(TaskCompleted)

    asyncio.run(scenario())


def test_a_fed_turn_that_an_event_overtakes_is_taken_again_after_the_event() -> None:
    async def scenario() -> None:
        hub = FeedingHub()
        async with hub.host() as (_, client):
            await hub.begun(client, "Beside")
            await client.raise_event("one", "E", "7")
            await hub.clock.settle()
            assert hub.executor.replays == 1  # the code had moved on, and was brought back
            hub.feeding.arrives.set()
            assert (await hub.finished(client, "one")).output == "1"
            kinds = [type(each) for each in await hub.history(client, "one")]
            assert kinds.index(EventRaised) < kinds.index(TaskCompleted)
            assert kinds.count(TaskCompleted) == 2
            assert kinds.count(TaskScheduled) == 2
            assert hub.executor.activity_runs == {("one", 0): 1, ("one", 1): 1}
            assert hub.executor.replays == 1

    asyncio.run(scenario())


def test_a_fed_turn_of_an_instance_that_was_suspended_is_seen_when_it_is_resumed() -> None:
    async def scenario() -> None:
        hub = FeedingHub()
        async with hub.host() as (engine, client):
            await hub.begun(client, "Beside")
            await hub.tell(engine, "one", ExecutionSuspended(hub.clock.now(), "wait"))
            hub.feeding.arrives.set()
            await hub.clock.settle()
            assert (await client.status("one")).status is RuntimeStatus.SUSPENDED
            last = (await hub.history(client, "one"))[-1]
            assert last == TaskCompleted(hub.clock.now(), 0, "1")
            assert len(hub.feeding.calls) == 1
            await hub.tell(engine, "one", ExecutionResumed(hub.clock.now()))
            assert (await hub.finished(client, "one")).status is RuntimeStatus.COMPLETED

    asyncio.run(scenario())


async def _arrive_together(hub: FeedingHub, engine: Engine, event: ExecutionTerminated) -> None:
    """Let the answer and a message reach the session at once."""
    receipt = await hub.store.deliver("one", event, engine.claimant())
    hub.feeding.arrives.set()
    engine.mail(receipt.generation)
    await hub.clock.settle()


def test_a_termination_that_waits_with_the_answer_lets_the_code_ask_for_nothing_more() -> None:
    async def scenario() -> None:
        hub = FeedingHub()
        async with hub.host() as (engine, client):
            await hub.begun(client, "Beside")
            await _arrive_together(hub, engine, ExecutionTerminated(hub.clock.now(), "enough"))
            assert (await client.status("one")).status is RuntimeStatus.TERMINATED
            *_, before, last = await hub.history(client, "one")
            assert isinstance(before, TaskCompleted)
            assert isinstance(last, ExecutionTerminated)
            assert len(hub.feeding.calls) == 1

    asyncio.run(scenario())


def test_a_turn_fed_with_a_time_far_from_the_clocks_is_taken_again() -> None:
    async def scenario() -> None:
        hub = FeedingHub()
        async with hub.host() as (_, client):
            await hub.begun(client, "Beside")
            hub.clock.advance(3600)
            hub.feeding.arrives.set()
            await hub.clock.settle()
            second = (await hub.history(client, "one"))[3:5]
            assert [each.at for each in second] == 2 * [hub.clock.now()]
            assert hub.executor.replays == 1
            assert (await hub.finished(client, "one")).status is RuntimeStatus.COMPLETED

    asyncio.run(scenario())


def test_a_result_that_is_too_large_fails_though_the_code_was_fed_it() -> None:
    async def scenario() -> None:
        hub = FeedingHub()
        settings = EngineSettings(limits=Limits(max_payload_bytes=500))
        async with hub.host(settings) as (_, client):
            await client.start("Bears", "one")
            record = await hub.finished(client, "one")
            assert (record.status, record.output) == (RuntimeStatus.COMPLETED, "1")
            assert hub.feeding.turns_fed == 1
            kinds = [type(each) for each in await hub.history(client, "one")]
            assert kinds.count(TaskScheduled) == 1
            assert TaskCompleted not in kinds

    asyncio.run(scenario())


def test_a_turn_fed_to_an_execution_that_is_over_reaches_nobody() -> None:
    async def scenario() -> None:
        hub = FeedingHub()
        async with hub.host() as (_, client):
            await hub.begun(client, "Anew")
            await client.raise_event("one", "E", None)
            await hub.clock.settle()
            hub.feeding.arrives.set()
            record = await hub.finished(client, "one")
            assert (record.status, record.output) == (RuntimeStatus.COMPLETED, "2")
            assert results(await hub.history(client, "one")) == ["2"]

    asyncio.run(scenario())


def test_an_activity_that_was_lost_with_its_worker_feeds_nobody_the_next_time() -> None:
    async def scenario() -> None:
        hub = FeedingHub()
        run_activity = hub.feeding.run_activity

        async def dies_once(call: ActivityCall) -> ActivityResult:
            answer = await run_activity(call)
            if len(hub.feeding.calls) == 1:
                hub.executor.lose_everything()
                raise WorkerLost("It died.")
            return answer

        hub.executor.run_activity = dies_once  # type: ignore[method-assign]  # it dies at first
        async with hub.host() as (_, client):
            await client.start("Chain", "one")
            assert (await hub.finished(client, "one")).output == '"0,1,2,3,4"'
            offers = [call.feeds is not None for call in hub.feeding.calls]
            assert offers == [True, False, *4 * [True]]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "other",
    [
        ScheduleTask(1, "A", "2"),
        CreateTimer(1, FeedingHub().clock.now() + timedelta(hours=1)),
        ScheduleSubOrchestration(1, "Chain", "child", None),
        CallEntity(1, "@counter@one", "add", "1"),
    ],
    ids=lambda other: type(other).__name__,
)
def test_an_activity_beside_which_something_else_is_open_feeds_nobody(other: Action) -> None:
    async def scenario() -> None:
        hub = FeedingHub({"Two": beside(other), "Chain": chain(1)})
        hub.feeding.ends.clear()
        async with hub.host() as (_, client):
            await client.start("Two", "one")
            await hub.clock.settle()
            (call, *_) = hub.feeding.calls
            assert (call.task_id, call.feeds) == (0, None)

    asyncio.run(scenario())


def test_an_activity_that_is_run_again_after_a_takeover_feeds_nobody() -> None:
    async def scenario() -> None:
        hub = FeedingHub()
        hub.feeding.ends.clear()
        async with hub.host() as (_, client):
            await client.start("Chain", "one")
            await hub.clock.settle()
        async with hub.host() as (_, client):
            await hub.clock.settle()
            hub.feeding.ends.set()
            assert (await hub.finished(client, "one")).output == '"0,1,2,3,4"'
            again = [call.feeds is not None for call in hub.feeding.calls if call.task_id == 0]
            assert again == [True, False]

    asyncio.run(scenario())
