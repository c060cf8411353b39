"""Where races are held: hosts on one hub, client processes, a ledger, and a judge at the end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import msgspec

from proofs.hosts import HostProcess
from proofs.racers import GENTLE, ODD, OWN, PUT_OFF, Orders, read
from proofs.register import Kind, Operation, Outcome, check
from proofs.report import Finding
from soloist.client import Client
from soloist.contracts.clock import SystemClock
from soloist.core.events import ExecutionCompleted, ExecutionTerminated, TaskCompleted
from soloist.core.instances import InstanceQuery, InstanceRecord
from soloist.core.state import OrchestrationState
from soloist.core.status import TERMINAL_STATUSES, RuntimeStatus
from soloist.errors import HistoryCorrupt, StoreUnavailable
from soloist.stores import store_at
from soloist.webapi.health import READY_PATH

APP = Path(__file__).parent / "races_app"
TASK_HUB = "Races"
LOGS_VARIABLE = "PROOF_LOGS"
"""Names a folder for what the hosts print, for whoever looks for the cause of a violation."""

SETTLING_SECONDS = 60.0
RECOVERY_SECONDS = 45.0
GENTLE_IDS = 3
WILD_IDS = 3
MAX_CLOCK_ERROR = timedelta(seconds=5)
MAX_HOSTS_APART = timedelta(seconds=0.25)
"""So differently two hosts may know the database's time, which each measures by its answers."""

MAX_EARLY_NS = 50_000_000
FOR_EVER = 1_000_000_000

DOORS: Mapping[str, float] = {
    "management": 10,
    "singleton": 3,
    "hasty": 3,
    "library": 3,
    "child": 1,
    "cli": 0.01,
}
HTTP_DOORS: Mapping[str, float] = {"management": 10, "singleton": 3, "hasty": 3}

_LIVE = frozenset(RuntimeStatus) - TERMINAL_STATUSES
_PAGE_SIZE = 500


class Arena:
    """One hub with its hosts and racers, in a folder of its own.

    When it ``is_stormy``, hosts are paused, killed or cut off: then an instance's work may be done
    again, by a host that does not know that it has lost it, even after the instance's end.
    """

    def __init__(self, folder: Path, store: str, seed: int, *, is_stormy: bool = False) -> None:
        self.folder = folder
        self.store = store
        self.seed = seed
        self.did: dict[str, int] = {}
        self.violations: list[str] = []
        self.starts: Counter[tuple[str, str]] = Counter()
        self.hosts: list[HostProcess] = []
        self.ids = (
            *(f"{GENTLE}-{number}" for number in range(GENTLE_IDS)),
            *(f"wild-{number}" for number in range(WILD_IDS)),
        )
        self._is_stormy = is_stormy
        self._put_offs = 0
        self._ledger = folder / "ledger.txt"
        self._ledger.touch()
        self._until = folder / "enough"
        self._running: list[subprocess.Popen[str]] = []
        self._answer_files: list[Path] = []
        self._began = time.monotonic()
        self._began_at = datetime.now(UTC)

    # -- hosts and racers -----------------------------------------------------------------------

    def add_host(
        self,
        *options: str,
        store: str | None = None,
        launcher: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> HostProcess:
        """Start a host on the hub; ``launcher`` starts it in unusual circumstances."""
        host = HostProcess(
            APP,
            store or self.store,
            *options,
            environment={
                "PROOF_LEDGER": str(self._ledger),
                "PYTHONFAULTHANDLER": "1",
                **(environment or {}),
            },
            launcher=launcher,
        )
        self.hosts.append(host)
        return host

    def add_hosts(self, count: int, *options: str, launcher: Sequence[str] = ()) -> None:
        """Start several hosts at once."""
        with ThreadPoolExecutor(count) as starters:
            list(starters.map(lambda _: self.add_host(*options, launcher=launcher), range(count)))

    def stop(self) -> None:
        """Stop what still runs."""
        for process in self._running:
            process.kill()
            process.communicate()
        for number, host in enumerate(self.hosts):
            if host.is_running:
                host.kill()
            if LOGS_VARIABLE in os.environ:
                path = Path(os.environ[LOGS_VARIABLE]) / f"host-{number}.log"
                path.write_text("".join(host.output))

    def send_racers(
        self,
        count: int,
        starts: int = FOR_EVER,
        *,
        callers: int = 4,
        doors: Mapping[str, float] = DOORS,
        own_share: float = 0.0,
        store: str | None = None,
        origins: Sequence[str] = (),
    ) -> None:
        """Start client processes, which share the starts."""
        for _ in range(count):
            number = len(self._answer_files)
            orders = Orders(
                name=f"r{number}",
                seed=self.seed * 1_000 + number,
                starts=starts // count,
                callers=callers,
                ids=self.ids,
                origins=tuple(origins) or tuple(host.origin for host in self.hosts),
                doors=dict(doors),
                store=store or self.store,
                app_dir=str(APP),
                task_hub=TASK_HUB,
                until=str(self._until),
                own_share=own_share,
                is_stormy=self._is_stormy,
            )
            path, answers = (self.folder / f"{orders.name}.{end}" for end in ("json", "jsonl"))
            path.write_bytes(msgspec.json.encode(orders))
            process = subprocess.Popen(
                [sys.executable, "-m", "proofs.racers", str(path), str(answers)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            self._running.append(process)
            self._answer_files.append(answers)

    def wait_for_load(self, operations: int = 100) -> None:
        """Wait until the racers are at it."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while sum(path.read_bytes().count(b"\n") for path in self._answers()) < operations:
            assert time.monotonic() < deadline, "the racers do not begin"
            time.sleep(0.1)

    def _answers(self) -> list[Path]:
        return [path for path in self._answer_files if path.exists()]

    def stop_racers(self) -> None:
        """Let the racers end what they have begun."""
        self._until.touch()
        self.wait_for_racers()
        self._until.unlink()

    def wait_for_racers(self) -> None:
        """Wait until they end; what they found odd is a violation."""
        running, self._running = self._running, []
        for process in running:
            output, _ = process.communicate()
            for line in output.splitlines():
                if line.startswith(ODD):
                    self.violations.append(line)
                elif line.startswith(PUT_OFF):
                    self._put_offs += int(line.removeprefix(PUT_OFF))
            if process.returncode != 0:
                self.violations.append(f"a racer died: {output[-2000:]}")

    def check_recovery(self, seconds: float = RECOVERY_SECONDS) -> None:
        """Hold it against every host that does not serve again by itself."""
        deadline = time.monotonic() + seconds
        for host in self.hosts:
            while not _is_ready(host):
                if not host.is_running:
                    last = "".join(host.output[-40:])
                    self.violations.append(f"a host has ended, code {host.code}: {last}")
                    break
                if time.monotonic() > deadline:
                    self.violations.append(f"a host does not serve {seconds:g} s after the storm")
                    break
                time.sleep(0.1)

    # -- the end --------------------------------------------------------------------------------

    def judge(self) -> None:
        """Let everything end, read every id once more, and judge."""
        operations = self._operations()
        operations += asyncio.run(self._settled(operations))
        self._count(operations)
        begun, ended = self._witnessed(operations)
        shared = [each for each in operations if not each.instance_id.startswith(OWN)]
        placed = [_placed(each, begun) for each in shared]
        for instance_id, verdict in check([*placed, *_ends(shared, ended)]).items():
            if not verdict.holds:
                what = "is not the work of one register" if verdict.holds is False else "undecided"
                self.violations.append(f"{instance_id} {what}: {verdict.explanation}")
        self._judge_gentle(operations, begun, ended)
        self._judge_timers(operations, begun, ended)

    def finding(self, check: str, plant: str | None = None) -> Finding:
        """Return what was found."""
        return Finding(
            check=check,
            did=self.did,
            seconds=time.monotonic() - self._began,
            violations=tuple(self.violations),
            seed=self.seed,
            plant=plant,
        )

    def describe_starts(self) -> str:
        """Return a table: how often which door gave which answer."""
        outcomes = sorted({outcome for _, outcome in self.starts})
        lines = [f"{'starts by':<14}" + "".join(f"{each:>12}" for each in outcomes)]
        for door in sorted({door for door, _ in self.starts}):
            counts = "".join(f"{self.starts[door, outcome]:>12}" for outcome in outcomes)
            lines.append(f"  {door:<12}{counts}")
        return "\n".join(lines)

    def _operations(self) -> list[Operation]:
        lines = (line for path in self._answers() for line in path.read_bytes().splitlines())
        return [msgspec.json.decode(line, type=Operation) for line in lines]

    async def _settled(self, operations: list[Operation]) -> list[Operation]:
        """Wait until nothing is live any more; return a last reading of every shared id."""
        store = store_at(self.store, task_hub=TASK_HUB, clock=SystemClock())
        await store.open()
        client = Client(store, SystemClock())
        self.violations += await _stuck(client)
        readings = []
        for instance_id in _shared_ids(operations):
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
        await self._judge_own(client, operations)
        await store.close()
        return readings

    async def _judge_own(self, client: Client, operations: list[Operation]) -> None:
        """What was accepted is there and has ended; whatever is there has one whole history."""
        query = InstanceQuery(page_size=_PAGE_SIZE)
        found: set[str] = set()
        while True:
            page = await client.list(query)
            for record in page.records:
                found.add(record.instance_id)
                complaints = await _complaints(client, record)
                complaints += self._untimely(record)
                self.violations += [f"{record.instance_id} {text}" for text in complaints]
            if page.token is None:
                break
            query = msgspec.structs.replace(query, token=page.token)
        for each in operations:
            if not each.instance_id.startswith(OWN):
                continue
            if each.outcome is Outcome.STARTED and each.instance_id not in found:
                self.violations.append(f"{each.instance_id} was accepted and is gone")
            if each.outcome not in (Outcome.STARTED, Outcome.UNKNOWN):
                self.violations.append(
                    f"{each.instance_id} is nobody else's and was {each.outcome}"
                )

    def _untimely(self, record: InstanceRecord) -> list[str]:
        """Return which of an instance's times cannot be: all is on one machine."""
        earliest, latest = self._began_at - MAX_CLOCK_ERROR, datetime.now(UTC) + MAX_CLOCK_ERROR
        follows = record.created_at <= record.updated_at + MAX_HOSTS_APART
        if not (earliest <= record.created_at and follows and record.updated_at <= latest):
            return [f"was made at {record.created_at} and changed at {record.updated_at}"]
        return []

    def _count(self, operations: list[Operation]) -> None:
        kinds = Counter(each.kind for each in operations)
        outcomes = Counter(each.outcome for each in operations if each.kind is Kind.START)
        self.did["starts"] = kinds[Kind.START]
        self.did["accepted"] = outcomes[Outcome.STARTED]
        self.did["refused"] = outcomes[Outcome.CONFLICT]
        self.did["unanswered"] = outcomes[Outcome.UNKNOWN]
        self.did["put off (503)"] = self._put_offs
        self.did["other calls"] = len(operations) - kinds[Kind.START]
        for each in operations:
            if each.kind is Kind.START:
                self.starts[each.door, each.outcome] += 1

    def _witnessed(self, operations: list[Operation]) -> tuple[dict[str, int], dict[str, int]]:
        """Read the ledger: when each start's work first began and first ended."""
        known = {each.token: each for each in operations if each.kind is Kind.START}
        begun: dict[str, int] = {}
        ended: dict[str, int] = {}
        lines = self._ledger.read_text().splitlines()
        for line in lines:
            what, token, at = line.split()
            first = begun if what == "begin" else ended
            first[token] = min(first.get(token, int(at)), int(at))
        for token in begun:
            outcome = known[token].outcome if token in known else "never asked for"
            if outcome not in (Outcome.STARTED, Outcome.UNKNOWN):
                self.violations.append(f"{token} ran and was {outcome}")
        for token, each in known.items():
            is_own = each.instance_id.startswith(OWN)
            if is_own and each.outcome is Outcome.STARTED and token not in ended:
                self.violations.append(f"{each.instance_id} was accepted and never ended")
        self.did["instances run"] = len(begun)
        if self._is_stormy:
            self.did["lines written again"] = len(lines) - len(begun) - len(ended)
        elif len(lines) != len(begun) + len(ended):
            self.violations.append("an activity was run twice")
        return begun, ended

    def _judge_timers(
        self, operations: list[Operation], begun: dict[str, int], ended: dict[str, int]
    ) -> None:
        """Between begin and end, the work of each start waits for a timer."""
        for each in operations:
            if each.kind is not Kind.START or each.token not in begun or each.token not in ended:
                continue
            waited_ns = ended[each.token] - begun[each.token]
            if waited_ns < each.pause_ms * 1_000_000 - MAX_EARLY_NS:
                self.violations.append(
                    f"{each.token}: a timer of {each.pause_ms} ms fired after {waited_ns:,} ns"
                )

    def _judge_gentle(
        self, operations: list[Operation], begun: dict[str, int], ended: dict[str, int]
    ) -> None:
        """Nothing ends or replaces these but their own end: one at a time, and each to its end."""
        for instance_id in _shared_ids(operations):
            if not instance_id.startswith(GENTLE):
                continue
            tokens = {
                each.token: each.outcome
                for each in operations
                if each.instance_id == instance_id and each.kind is Kind.START
            }
            for token, outcome in tokens.items():
                if outcome is Outcome.STARTED and token not in ended:
                    self.violations.append(f"{token} was accepted and never ended")
            turns = sorted((begun[each], each) for each in tokens if each in begun)
            for (_, token), (later, other) in pairwise(turns):
                if ended.get(token, later + 1) > later:
                    self.violations.append(f"{instance_id}: {other} began beside {token}")


def _is_ready(host: HostProcess) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{host.origin}{READY_PATH}", timeout=5).is_success
    return False


async def _stuck(client: Client) -> list[str]:
    """Wait until nothing is live any more; return what does not end."""
    deadline = time.monotonic() + SETTLING_SECONDS
    live: tuple[InstanceRecord, ...] = ()
    while time.monotonic() < deadline:
        with suppress(StoreUnavailable):
            live = (await client.list(InstanceQuery(statuses=_LIVE, page_size=20))).records
            if not live:
                return []
        await asyncio.sleep(0.2)
    return [f"stuck: {each.instance_id} is {each.status}" for each in live]


async def _complaints(client: Client, record: InstanceRecord) -> list[str]:
    """Return what is wrong with an instance that has ended."""
    history = await client.history(record)
    complaints = []
    if record.instance_id.startswith(OWN) and record.status is not RuntimeStatus.COMPLETED:
        reason = record.failure.message if record.failure else ""
        complaints.append(f"is {record.status} {reason[:300]}")
    if len(history) != record.history_length:
        complaints.append("its history has a gap")
    if sum(isinstance(event, ExecutionCompleted | ExecutionTerminated) for event in history) != 1:
        events = " ".join(type(event).__name__ for event in history)
        complaints.append(f"is {record.status} and has not one end: {events}")
    done = Counter(event.task_id for event in history if isinstance(event, TaskCompleted))
    complaints += [
        f"task {task} was done {count} times" for task, count in done.items() if count > 1
    ]
    try:
        OrchestrationState(history)
    except HistoryCorrupt as error:
        complaints.append(f"its history does not fold: {error}")
    return complaints


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


def _shared_ids(operations: Iterable[Operation]) -> list[str]:
    """Return the ids that the racers shared."""
    ids = {each.instance_id for each in operations}
    return sorted(each for each in ids if not each.startswith(OWN))
