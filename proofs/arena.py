"""Where races are held: hosts on one hub, client processes, a ledger, and a judge at the end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from proofs.hosts import HostProcess
from proofs.racers import GENTLE, ODD, Orders, read
from proofs.register import Kind, Operation, Outcome, check
from soloist.client import Client
from soloist.contracts.clock import SystemClock
from soloist.core.instances import InstanceQuery
from soloist.core.status import TERMINAL_STATUSES, RuntimeStatus
from soloist.errors import StoreUnavailable
from soloist.stores import store_at

APP = Path(__file__).parent / "races_app"
TASK_HUB = "Races"
SETTLING_SECONDS = 180.0
GENTLE_IDS = 3
WILD_IDS = 3

DOORS: Mapping[str, float] = {
    "management": 10,
    "singleton": 3,
    "hasty": 3,
    "library": 3,
    "child": 1,
    "cli": 0.01,
}

_LIVE = frozenset(RuntimeStatus) - TERMINAL_STATUSES
_SHOWN_VIOLATIONS = 20


class Tally(msgspec.Struct):
    """What was seen. ``facts`` are counts worth printing, in their order."""

    facts: dict[str, int] = msgspec.field(default_factory=dict)
    starts: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    violations: list[str] = msgspec.field(default_factory=list)
    seconds: float = 0.0

    def describe(self) -> str:
        """Return the table."""
        outcomes = sorted({outcome for _, outcome in self.starts})
        doors = sorted({door for door, _ in self.starts})
        lines = []
        if doors:
            lines.append(f"{'starts by':<14}" + "".join(f"{each:>12}" for each in outcomes))
        for door in doors:
            counts = "".join(f"{self.starts[door, outcome]:>12}" for outcome in outcomes)
            lines.append(f"  {door:<12}{counts}")
        lines += [f"{name:<44}{count:>8}" for name, count in self.facts.items()]
        lines += [
            f"{'seconds':<44}{self.seconds:>8.0f}",
            f"{'violations':<44}{len(self.violations):>8}",
            *self.violations[:_SHOWN_VIOLATIONS],
        ]
        return "\n".join(lines)


class Arena:
    """One hub with its hosts and racers, in a folder of its own.

    ``is_calm`` says that no host is paused, killed or cut off, so that no work of an instance can
    come after its end.
    """

    def __init__(self, folder: Path, store: str, seed: int, *, is_calm: bool = True) -> None:
        self.folder = folder
        self.store = store
        self.seed = seed
        self.tally = Tally()
        self.hosts: list[HostProcess] = []
        self.ids = (
            *(f"{GENTLE}-{number}" for number in range(GENTLE_IDS)),
            *(f"wild-{number}" for number in range(WILD_IDS)),
        )
        self._is_calm = is_calm
        self._ledger = folder / "ledger.txt"
        self._ledger.touch()
        self._racers: list[tuple[subprocess.Popen[str], Path]] = []
        self._began = time.monotonic()

    # -- hosts and racers -----------------------------------------------------------------------

    def add_host(
        self, *options: str, store: str | None = None, launcher: Sequence[str] = ()
    ) -> HostProcess:
        """Start a host on the hub; ``launcher`` starts it in unusual circumstances."""
        host = HostProcess(
            APP,
            store or self.store,
            *("--log-level", "error", *options),
            environment={"PROOF_LEDGER": str(self._ledger)},
            launcher=launcher,
        )
        self.hosts.append(host)
        return host

    def stop(self) -> None:
        """Stop what still runs."""
        for process, _ in self._racers:
            if process.poll() is None:
                process.kill()
                process.communicate()
        for host in self.hosts:
            if host.is_running:
                host.stop()

    def send_racers(
        self,
        count: int,
        starts: int,
        *,
        callers: int = 4,
        doors: Mapping[str, float] = DOORS,
        seconds: float | None = None,
    ) -> None:
        """Start client processes, which share the starts."""
        for _ in range(count):
            number = len(self._racers)
            orders = Orders(
                name=f"r{number}",
                seed=self.seed * 1_000 + number,
                starts=starts // count,
                callers=callers,
                ids=self.ids,
                origins=tuple(host.origin for host in self.hosts),
                doors=dict(doors),
                store=self.store,
                app_dir=str(APP),
                task_hub=TASK_HUB,
                is_stormy=not self._is_calm,
                seconds=seconds,
            )
            path, answers = (self.folder / f"{orders.name}.{end}" for end in ("json", "jsonl"))
            path.write_bytes(msgspec.json.encode(orders))
            process = subprocess.Popen(
                [sys.executable, "-m", "proofs.racers", str(path), str(answers)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            self._racers.append((process, answers))

    @property
    def is_racing(self) -> bool:
        """Whether a racer still runs."""
        return any(process.poll() is None for process, _ in self._racers)

    def wait_for_racers(self) -> None:
        """Wait until all have started what they were told to; what they found odd is a violation."""
        for process, _ in self._racers:
            output, _ = process.communicate()
            odd = (line for line in output.splitlines() if line.startswith(ODD))
            self.tally.violations += odd
            if process.returncode != 0:
                self.tally.violations.append(f"a racer died: {output[-2000:]}")

    # -- the end --------------------------------------------------------------------------------

    def judge(self) -> Tally:
        """Let everything end, read every id once more, and judge."""
        operations = self._operations()
        operations += asyncio.run(self._settled())
        self._count(operations)
        begun, ended = self._witnessed(operations)
        whole = [*map(lambda each: _placed(each, begun), operations), *_ends(operations, ended)]  # noqa: C417
        for instance_id, verdict in check(whole).items():
            if not verdict.holds:
                what = "is not the work of one register" if verdict.holds is False else "undecided"
                self.tally.violations.append(f"{instance_id} {what}: {verdict.explanation}")
        self._judge_gentle(operations, begun, ended)
        self.tally.seconds = time.monotonic() - self._began
        return self.tally

    def _operations(self) -> list[Operation]:
        lines = (line for _, answers in self._racers for line in answers.read_bytes().splitlines())
        return [msgspec.json.decode(line, type=Operation) for line in lines]

    async def _settled(self) -> list[Operation]:
        """Wait until nothing is live any more; return a last reading of every id."""
        store = store_at(self.store, task_hub=TASK_HUB, clock=SystemClock())
        await store.open()
        client = Client(store, SystemClock())
        deadline = time.monotonic() + SETTLING_SECONDS
        query = InstanceQuery(statuses=_LIVE, page_size=20)
        while time.monotonic() < deadline:
            try:
                live = (await client.list(query)).records
            except StoreUnavailable:
                continue
            if not live:
                break
            await asyncio.sleep(0.2)
        else:
            self.tally.violations += [f"stuck: {each}" for each in live]
        readings = []
        for instance_id in self.ids:
            reading = Operation(
                instance_id=instance_id,
                kind=Kind.READ,
                outcome=Outcome.UNKNOWN,
                invoked_at=time.monotonic_ns(),
                answered_at=None,
                door="judge",
            )
            reading = await read(client, reading)
            readings.append(msgspec.structs.replace(reading, answered_at=time.monotonic_ns()))
        await store.close()
        return readings

    def _count(self, operations: list[Operation]) -> None:
        kinds = Counter(each.kind for each in operations)
        self.tally.facts["starts"] = kinds[Kind.START]
        for kind in (Kind.TERMINATE, Kind.PURGE, Kind.READ):
            self.tally.facts[f"{kind}s"] = kinds[kind]
        for each in operations:
            if each.kind is Kind.START:
                self.tally.starts[each.door, each.outcome] += 1

    def _witnessed(self, operations: list[Operation]) -> tuple[dict[str, int], dict[str, int]]:
        """Read the ledger: when each start's work first began and first ended."""
        known = {each.token: each for each in operations if each.kind is Kind.START}
        begun: dict[str, int] = {}
        ended: dict[str, int] = {}
        for line in self._ledger.read_text().splitlines():
            what, token, at = line.split()
            first = begun if what == "begin" else ended
            first[token] = min(first.get(token, int(at)), int(at))
        for token in begun:
            outcome = known[token].outcome if token in known else "never asked for"
            if outcome not in (Outcome.STARTED, Outcome.UNKNOWN):
                self.tally.violations.append(f"{token} ran and was {outcome}")
        self.tally.facts["begun"] = len(begun)
        self.tally.facts["ended by themselves"] = len(ended)
        return begun, ended

    def _judge_gentle(
        self, operations: list[Operation], begun: dict[str, int], ended: dict[str, int]
    ) -> None:
        """Nothing ends or replaces these but their own end: one at a time, and each to its end."""
        for instance_id in self.ids:
            if not instance_id.startswith(GENTLE):
                continue
            tokens = {
                each.token: each.outcome
                for each in operations
                if each.instance_id == instance_id and each.kind is Kind.START
            }
            for token, outcome in tokens.items():
                if outcome is Outcome.STARTED and token not in ended:
                    self.tally.violations.append(f"{token} was accepted and never ended")
            turns = sorted((begun[each], each) for each in tokens if each in begun)
            for (_, token), (later, other) in pairwise(turns):
                if ended.get(token, later + 1) > later:
                    self.tally.violations.append(f"{instance_id}: {other} began beside {token}")


def _placed(operation: Operation, begun: dict[str, int]) -> Operation:
    """What has begun was started before, whatever its caller was told or not told."""
    at = begun.get(operation.token)
    if operation.kind is not Kind.START or at is None:
        return operation
    if operation.outcome is Outcome.UNKNOWN:
        operation = msgspec.structs.replace(operation, outcome=Outcome.STARTED, answered_at=at)
    answered_at = operation.answered_at
    assert answered_at is not None, "what is known was answered"
    return msgspec.structs.replace(operation, answered_at=min(answered_at, at))


def _ends(operations: list[Operation], ended: dict[str, int]) -> list[Operation]:
    ids = {each.token: each.instance_id for each in operations if each.kind is Kind.START}
    return [
        Operation(
            instance_id=ids[token],
            kind=Kind.FINISH,
            outcome=Outcome.UNKNOWN,
            invoked_at=at,
            answered_at=None,
            token=token,
        )
        for token, at in ended.items()
        if token in ids
    ]
