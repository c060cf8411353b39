"""Whole hubs in one thread under a clock that jumps: hosts come, die and pause; callers do anything.

After every commit the laws of ``ARCHITECTURE.md`` are checked on what the store then holds; at the
end everything must have ended, and every token that an orchestration of an acknowledged start sent
to the entity stands there once. The app's code is run by the worker's own replay, so a history
that does not replay is found as well. One seed makes one course of events.

    python -m proofs.simulation --seeds 200 --first 1
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import random
import time
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from proofs import plants
from proofs.report import Finding, conclude, parser_for
from soloist.client import Client
from soloist.contracts.executor import (
    ActivityCall,
    ActivityResult,
    EntityBatch,
    EntityResult,
    Episode,
    HistoryNeeded,
    TimerCall,
)
from soloist.core.actions import EpisodeResult
from soloist.core.failures import FailureDetails
from soloist.core.instances import CommitReceipt, Hold, InstanceQuery, InstanceRecord
from soloist.core.outcomes import Outcome
from soloist.core.policy import StartPolicy
from soloist.core.state import OrchestrationState
from soloist.core.status import RuntimeStatus
from soloist.core.waits import ActivityWait, ChildWait, Seen, TimerWait, TurnWait, waits_of
from soloist.engine import Engine
from soloist.errors import HistoryCorrupt, RequestError, StoreUnavailable
from soloist.stores import MemoryState, MemoryStore
from soloist.stores.memory_state import Hub, Instance
from soloist.telemetry import configure_logging
from soloist.testing import JumpClock
from soloist.wire import ActivityDone
from soloist_worker import activities, calls, entities
from soloist_worker.app import App, load_app
from soloist_worker.sessions import SessionTable

APP = Path(__file__).parent / "simulation_app"
HUB = "Simulated"
LEASE_SECONDS = 30.0
MAX_HOSTS = 3
IDS = 4
STEPS = (
    "activities",
    "chain",
    "timer",
    "event",
    "either",
    "signal",
    "call",
    "children",
    "retry",
    "again",
    "flaw",
)
SETTLING_SECONDS = 1_200.0

_GOES_ON = 0.7
_MEDDLES = 0.5


class LawBroken(AssertionError):
    """What was seen cannot be."""


class ReplayExecutor:
    """Runs the app's functions here, by the worker's own code. ``meddle`` stands for what may
    happen while an activity runs, or while its answer is on its way."""

    def __init__(
        self,
        app: App,
        mended: set[str],
        meddle: Callable[[str], Awaitable[None]],
        counts: Counter[str],
    ) -> None:
        self._app = app
        self._sessions = SessionTable(app)
        self._mended = mended
        self._meddle = meddle
        self._counts = counts

    async def run_episode(self, episode: Episode) -> EpisodeResult:
        """See ``contracts.executor``."""
        await asyncio.sleep(0)
        answer = self._sessions.run({**msgspec.to_builtins(episode), "call": 1})
        if answer["kind"] == "history_missing":
            self._counts["histories asked for"] += 1
            raise HistoryNeeded
        return msgspec.convert(answer["result"], EpisodeResult)

    async def run_activity(self, call: ActivityCall) -> ActivityResult:
        """See ``contracts.executor``; ``Flawed`` fails until its token is mended."""
        await self._meddle(call.instance_id)
        if call.name == "Flawed" and json.loads(call.input or "") not in self._mended:
            return ActivityResult(failure=_FLAW)
        message = {**msgspec.to_builtins(call), "call": 1}
        function = activities.find(self._app, message)
        assert not isinstance(function, str), "the app has its activities"
        answer = calls.run(activities, calls.Call(function, message, self._app.codec, None))
        if call.feeds is not None and answer["failure"] is None:
            answer = self._sessions.feed(message, answer, seconds=0.0)
            self._counts["turns fed"] += "turn" in answer
            await self._meddle(call.instance_id)
        done = msgspec.convert(answer, ActivityDone)
        return ActivityResult(done.result, done.failure, done.turn)

    async def run_entity(self, batch: EntityBatch) -> EntityResult:
        """See ``contracts.executor``."""
        await asyncio.sleep(0)
        message = {**msgspec.to_builtins(batch), "call": 1}
        function = entities.find(self._app, message)
        assert not isinstance(function, str), "the app has its entity"
        return msgspec.convert(entities.run(function, message)["result"], EntityResult)

    async def run_timer(self, call: TimerCall) -> FailureDetails | None:
        """There is none."""
        raise NotImplementedError(call.function)

    def forget(self, generation: int) -> None:
        """See ``contracts.executor``."""
        self._sessions.forget(generation)


_FLAW = FailureDetails("not mended yet", "RuntimeError")


class WatchedStore:
    """A store of one process that can be paused or die, and whose commits are watched."""

    def __init__(
        self,
        store: MemoryStore,
        check: Callable[[Outcome, Instance | None], None],
        report: Callable[[str], None],
    ) -> None:
        self.is_dead = False
        self.runs = asyncio.Event()
        self.runs.set()
        self.commits_to_pause = 0
        self.stale = 0
        self._store = store
        self._check = check
        self._report = report

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if not inspect.iscoroutinefunction(verb):
            return verb

        async def watched(*args: Any, **kwargs: Any) -> Any:
            await self._alive()
            result = await verb(*args, **kwargs)
            await self._alive()
            return result

        return watched

    async def commit(self, outcome: Outcome, host_id: int | None = None) -> CommitReceipt | None:
        """Commit, and hold the result against the laws."""
        if self.commits_to_pause > 0 and not self.is_dead:
            self.commits_to_pause -= 1
            if self.commits_to_pause == 0:
                self.runs.clear()
        await self._alive()
        hub: Hub = self._store._hub
        found = hub.by_generation.get(outcome.generation)
        before = None if found is None else (found.record, tuple(found.history))
        receipt = await self._store.commit(outcome, host_id)
        if receipt is None:
            self.stale += 1
            after = hub.by_generation.get(outcome.generation)
            if found is not None and (
                after is None or (after.record, tuple(after.history)) != before
            ):
                self._report(f"a stale commit changed {found.record.instance_id}")
        else:
            self._check(outcome, found)
        await self._alive()
        return receipt

    async def _alive(self) -> None:
        await self.runs.wait()
        if self.is_dead:
            raise StoreUnavailable("The process is dead.")


class Process:
    """One host process."""

    def __init__(self, store: WatchedStore, engine: Engine, client: Client) -> None:
        self.store = store
        self.engine = engine
        self.client = client


class Simulation:
    """One course of events."""

    def __init__(self, app: App, seed: int) -> None:
        self._random = random.Random(seed)  # reproducible, not secret
        self._moments = random.Random(seed)
        self._app = app
        self._clock = JumpClock()
        self._state = MemoryState()
        self._mended: set[str] = set()
        self._processes: list[Process] = []
        self._tokens = 0
        self._accepted: dict[str, str] = {}
        self._unknown: set[str] = set()
        self._seen: dict[int, int] = {}
        self._consumed: set[int] = set()
        self._broken: list[str] = []
        self.counts: Counter[str] = Counter()

    async def run(self, events: int) -> Counter[str]:
        """Let that much happen, then let everything end, and judge."""
        await self._begin_process()
        for _ in range(events):
            await self._happen()
            # Not raised where it is seen: the engine would take it for a failure of its own.
            self._raise_what_is_broken()
        await self._settle()
        self._raise_what_is_broken()
        self._judge()
        return self.counts

    def _raise_what_is_broken(self) -> None:
        if self._broken:
            raise LawBroken("; ".join(self._broken[:3]))

    # What happens.

    async def _happen(self) -> None:
        choices: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (6, self._start),
            (10, self._let_time_pass),
            (3, self._raise_event),
            (1, self._terminate),
            (2, self._suspend_or_resume),
            (2, self._rewind),
            (1, self._purge),
            (1, self._kill),
            (5, self._pause),
            (3, self._pause_before_commit),
            (3, self._begin_process),
        ]
        (act,) = self._random.choices([c[1] for c in choices], [c[0] for c in choices])
        await act()
        await self._clock.settle()

    async def _let_time_pass(self) -> None:
        await self._clock.jump(self._random.choice([0.3, 2, 11, 45]), step_seconds=1)

    async def _begin_process(self) -> None:
        if len(self._processes) < MAX_HOSTS:
            store = WatchedStore(self._new_store(), self._check, self._broken.append)
            await store.open()
            # The watched store has every verb; what it does not define it passes on.
            executor = ReplayExecutor(self._app, self._mended, self._meddle, self.counts)
            engine = Engine(store, self._clock, executor)
            await engine.start()
            client = Client(store, self._clock, wakeups=engine)
            self._processes.append(Process(store, engine, client))
            self.counts["hosts begun"] += 1

    def _new_store(self) -> MemoryStore:
        return MemoryStore(
            self._state, task_hub=HUB, clock=self._clock, lease_seconds=LEASE_SECONDS
        )

    async def _meddle(self, instance_id: str) -> None:
        """Let the instance wait for its activity: no time, a moment in which an event may come,
        or a while."""
        seconds = self._moments.choice([0.0, 0.0, 0.0, 0.3, 5.0])
        if seconds:
            await self._clock.sleep(seconds)
            return
        if self._moments.random() < _MEDDLES:
            await self._call(lambda client: client.raise_event(instance_id, "E", "1"))
        for _ in range(self._moments.randrange(20)):
            await asyncio.sleep(0)

    async def _kill(self) -> None:
        if self._processes:
            process = self._processes.pop(self._random.randrange(len(self._processes)))
            process.store.is_dead = True
            process.store.runs.set()
            await self._bury(process)
            self.counts["hosts killed"] += 1

    async def _bury(self, process: Process) -> None:
        stopping = asyncio.create_task(process.engine.stop())
        while not stopping.done():
            self._clock.advance(0)
            await asyncio.sleep(0)
            if not stopping.done():
                await self._clock.jump(0.1, step_seconds=0.1)
        await stopping
        self.counts["stale commits refused"] += process.store.stale

    async def _pause(self) -> None:
        """Stop a process in its tracks until its leases are gone, then perhaps let it go on."""
        if not self._processes:
            return
        runs = self._random.choice(self._processes).store.runs
        if runs.is_set():
            runs.clear()
            self.counts["hosts paused"] += 1
            await self._clock.jump(self._random.choice([5, LEASE_SECONDS + 5]), step_seconds=1)
        if self._random.random() < _GOES_ON:
            runs.set()

    async def _pause_before_commit(self) -> None:
        """Let a process work on, and stop it with one of its next commits in its hands."""
        if self._processes:
            store = self._random.choice(self._processes).store
            store.commits_to_pause = self._random.randrange(1, 6)

    async def _call(self, act: Callable[[Client], Awaitable[Any]]) -> Any:
        """Do something as a caller of a process that runs; refusals and failures are answers."""
        running = [each for each in self._processes if each.store.runs.is_set()]
        if not running:
            return None
        try:
            return await act(self._random.choice(running).client)
        except (RequestError, StoreUnavailable):
            return None

    def _some_id(self) -> str:
        return f"i{self._random.randrange(IDS)}"

    async def _start(self) -> None:
        self._tokens += 1
        token, instance_id = f"t{self._tokens}", self._some_id()
        size = self._random.randrange(1, 6)
        steps = self._random.choices(STEPS, k=size)
        plan = {"steps": steps, "size": size, "token": token}
        policy = self._random.choice([StartPolicy.FAIL, StartPolicy.FAIL, StartPolicy.REPLACE])
        self._unknown.add(token)
        receipt = await self._call(
            lambda client: client.start("Work", instance_id, input=json.dumps(plan), policy=policy)
        )
        if receipt is not None:
            self._accepted[token] = instance_id
            self.counts["starts acknowledged"] += 1

    async def _raise_event(self) -> None:
        await self._call(lambda client: client.raise_event(self._some_id(), "E", "1"))

    async def _terminate(self) -> None:
        await self._call(lambda client: client.terminate(self._some_id(), "enough"))

    async def _suspend_or_resume(self) -> None:
        name = self._random.choice(["suspend", "resume"])
        await self._call(lambda client: getattr(client, name)(self._some_id()))

    async def _rewind(self) -> None:
        """Mend whatever is flawed by now and take a failure back."""
        for number in range(self._tokens + 1):
            self._mended.update(f"t{number}{'+' * laps}" for laps in range(6))
        if await self._call(lambda client: client.rewind(self._some_id())) is None:
            self.counts["rewinds tried"] += 1

    async def _purge(self) -> None:
        await self._call(lambda client: client.purge(self._some_id()))

    # What must hold.

    def _check(self, outcome: Outcome, found: Instance | None) -> None:
        """Hold an instance against the laws, right after a commit."""
        self.counts["commits checked"] += 1
        if found is None:
            self._broken.append("a commit to nothing was accepted")
            return
        name, record = found.record.instance_id, found.record
        if record.history_length != len(found.history):
            self._broken.append(f"{name}: its history has a gap")
        try:
            is_finished = OrchestrationState(found.history).is_finished
        except HistoryCorrupt as error:
            self._broken.append(f"{name}: {error}")
            return
        if record.status.is_terminal != is_finished:
            self._broken.append(f"{name} is {record.status}, its history is not")
        if self._consumed & set(outcome.consumed):
            self._broken.append(f"{name} took a message twice")
        self._consumed.update(outcome.consumed)
        self._check_waits(found)
        is_abandoned = found.owner is None and found.due_at is None and bool(found.inbox)
        if is_abandoned and not record.status.is_terminal:
            self._broken.append(f"{name} has mail and nobody will look")

    def _check_waits(self, found: Instance) -> None:
        """Law 10: it is told what a live instance waits for, and what only a host can bring about
        is not left to nobody."""
        record = found.record
        if record.status.is_terminal:
            return
        seen = Seen(
            record=record,
            history=tuple(found.history),
            inbox=tuple(found.inbox),
            hold=Hold(found.owner, found.due_at),
            hosts=(),
            now=self._clock.now(),
        )
        waits = waits_of(seen).named
        if not waits:
            self._broken.append(f"{record.instance_id} lives and waits for nothing")
        self.counts.update(f"waits for {type(each).__name__}" for each in waits)
        needs_host = any(isinstance(each, ActivityWait | TimerWait | TurnWait) for each in waits)
        if needs_host and found.owner is None and found.due_at is None:
            self._broken.append(f"{record.instance_id} waits for a host and nobody will look")
        for child in waits:
            if isinstance(child, ChildWait) and self._is_over(child.instance_id, record):
                self._broken.append(f"{record.instance_id} waits for a child that has ended")

    def _is_over(self, child_id: str, parent: InstanceRecord) -> bool:
        child = self._state.hub(HUB).instances.get(child_id)
        if child is None or child.record.status.is_terminal:
            return True
        caller = child.record.parent
        return caller is None or caller.generation != parent.generation

    async def _settle(self) -> None:
        """Let one sound host bring everything to its end."""
        for process in list(self._processes):
            self._processes.remove(process)
            process.store.is_dead = True
            process.store.runs.set()
            await self._bury(process)
        await self._begin_process()
        client = self._processes[0].client
        remaining = SETTLING_SECONDS
        while remaining > 0:
            records = (await client.list(InstanceQuery(page_size=1000))).records
            live = [each for each in records if not each.status.is_terminal]
            if not live:
                break
            for record in live:
                if record.status is RuntimeStatus.SUSPENDED:
                    await client.resume(record.instance_id)
            await self._clock.jump(10, step_seconds=1)
            remaining -= 10
        else:
            raise LawBroken(f"stuck: {[(each.instance_id, each.status) for each in live]}")
        # A dead host may still hold the entity: its lease must run out before the last signal counts.
        await self._clock.jump(LEASE_SECONDS + 5, step_seconds=1)
        await self._bury(self._processes.pop())

    def _judge(self) -> None:
        hub = self._state.hub(HUB)
        entity = hub.instances.get("@journal@one")
        lines = json.loads(entity.record.output or "[]") if entity else []
        twice = [line for line, count in Counter(lines).items() if count > 1]
        if twice:
            raise LawBroken(f"done twice: {twice}")
        for instance in hub.instances.values():
            self._judge_one(instance, set(lines))

    def _judge_one(self, instance: Instance, lines: set[str]) -> None:
        record = instance.record
        if record.instance_id.startswith("@"):
            return
        self.counts[f"ended {record.status}"] += 1
        if record.failure is not None and not _is_expected(record.failure.message):
            raise LawBroken(f"{record.instance_id} failed: {record.failure.message}")
        if record.status is not RuntimeStatus.COMPLETED:
            return
        plan = json.loads(record.input or "{}")
        if isinstance(plan, str):
            plan = json.loads(plan)
        for number, step in enumerate(plan["steps"]):
            token = f"{plan['token']}.{number}"
            if step in ("call", "signal") and token not in lines:
                raise LawBroken(f"{record.instance_id} has completed, but {token} is lost")


def _is_expected(message: str) -> bool:
    """Whether an orchestration may fail so: its flaw is not mended, or its child was ended."""
    return any(text in message for text in ("not mended", "enough"))


def simulate(app: App, seed: int, events: int) -> Counter[str]:
    """Run one seed.

    Raises:
        LawBroken: naming the seed.
    """
    try:
        return asyncio.run(Simulation(app, seed).run(events))
    except Exception as error:
        raise LawBroken(f"seed {seed}: {error}") from error


def loaded_app() -> App:
    """Load the app into this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK's, about apps without HTTP functions
        return load_app(str(APP), "function_app.py", owns_process=False)


def prove(seeds: range, events: int, plant: str | None = None) -> Finding:
    """Simulate every seed; a planted bug is put into this very process."""
    plants.apply(plant)
    app = loaded_app()
    began, counts, broken = time.monotonic(), Counter[str](), []
    for seed in seeds:
        try:
            counts += simulate(app, seed, events)
        except LawBroken as error:
            broken.append(str(error))
    return Finding(
        check="simulation",
        did={
            "seeds": len(seeds),
            **{what: counts[what] for what in ("commits checked", "hosts killed", "hosts paused")},
        },
        seed=seeds.start,
        seconds=time.monotonic() - began,
        violations=tuple(broken),
        details=tuple(f"{name:<34}{count:>9}" for name, count in sorted(counts.items())),
        plant=plant,
    )


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--events", type=int, default=150)

    def run(arguments: argparse.Namespace) -> Finding:
        configure_logging("error", as_json=False)
        seeds = range(arguments.first, arguments.first + arguments.seeds)
        return prove(seeds, arguments.events, arguments.plant)

    conclude(parser, run)


if __name__ == "__main__":
    main()
