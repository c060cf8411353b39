"""``kill -9`` the host, at random moments and at every commit boundary, under load.

What is shown: every start that was acknowledged completes, once; an id holds one instance at a
time; nothing is stuck; every history folds and replays without deviation.

    python -m proofs.crashes --rounds 300 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import msgspec

from proofs.hosts import HostDied, HostProcess
from soloist.client import Client
from soloist.contracts.clock import SystemClock
from soloist.core.instances import InstanceQuery, InstanceRecord
from soloist.core.state import OrchestrationState
from soloist.core.status import RuntimeStatus
from soloist.stores import store_at

APP = Path(__file__).parent / "app"
BOUNDARIES = ("commit.before", "commit.written", "commit.durable", "start.replacing")
CALLERS = 12
SHARED_IDS = 5
SETTLING_SECONDS = 120.0


class Tally(msgspec.Struct):
    """What was seen."""

    kills: Counter[str] = msgspec.field(default_factory=Counter)
    accepted: dict[str, str] = msgspec.field(default_factory=dict)
    unanswered: set[str] = msgspec.field(default_factory=set)
    refused: int = 0
    violations: list[str] = msgspec.field(default_factory=list)
    seconds: float = 0.0

    def describe(self) -> str:
        """Return the table."""
        lines = [
            f"{'kill -9 ' + ('at ' if '.' in place else '') + place:<34}{count:>8}"
            for place, count in self.kills.items()
        ]
        lines += [
            f"{'kills in all':<34}{sum(self.kills.values()):>8}",
            f"{'starts acknowledged (202)':<34}{len(self.accepted):>8}",
            f"{'starts refused (409)':<34}{self.refused:>8}",
            f"{'starts that got no answer':<34}{len(self.unanswered):>8}",
            f"{'seconds':<34}{self.seconds:>8.0f}",
            f"{'violations':<34}{len(self.violations):>8}",
            *self.violations[:20],
        ]
        return "\n".join(lines)


class Crashes:
    """One run of the proof in a folder of its own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._random = random.Random(seed)  # reproducible, not secret
        self._store = folder / "hub.db"
        self._ledger = folder / "ledger.txt"
        self._ledger.touch()
        self._tokens = 0
        self._ids: dict[str, str] = {}
        self.tally = Tally()

    def run(self, rounds: int) -> Tally:
        """Kill ``rounds`` hosts, let the last one finish, and judge."""
        began = time.monotonic()
        for number in range(rounds):
            self._round(number)
        host = self._host()
        try:
            asyncio.run(self._settle(host))
        finally:
            host.stop()
        asyncio.run(self._judge())
        self.tally.seconds = time.monotonic() - began
        return self.tally

    def _host(self, failpoint: str | None = None) -> HostProcess:
        environment = {"PROOF_LEDGER": str(self._ledger)}
        if failpoint is not None:
            environment["SOLOIST_FAILPOINT"] = failpoint
        return HostProcess(APP, self._store, "--log-level", "error", environment=environment)

    def _round(self, number: int) -> None:
        place = ("at random", *BOUNDARIES)[number % (1 + len(BOUNDARIES))]
        failpoint = None
        if place != "at random":
            depth = 3 if place == "start.replacing" else 60
            failpoint = f"{place}:{self._random.randint(1, depth)}"
        try:
            host = self._host(failpoint)
        except HostDied as death:
            if not death.was_killed:
                raise
            self.tally.kills[place] += 1
            return
        asyncio.run(self._load(host, failpoint))
        self.tally.kills[place] += 1

    async def _load(self, host: HostProcess, failpoint: str | None) -> None:
        """Start instances until the host is dead."""
        async with httpx.AsyncClient(base_url=host.management, timeout=30) as http:
            callers = [asyncio.create_task(self._call(http)) for _ in range(CALLERS)]
            if failpoint is None:
                await asyncio.sleep(self._random.uniform(0.0, 1.0))
                await asyncio.to_thread(host.kill)
            await asyncio.gather(*callers)
        code = await asyncio.to_thread(host.wait)
        if code != -signal.SIGKILL:
            self.tally.violations.append(f"the host ended by itself with code {code}")

    async def _call(self, http: httpx.AsyncClient) -> None:
        while True:
            self._tokens += 1
            token = f"t{self._tokens}"
            is_shared = self._random.random() < 0.5
            shared = f"shared-{self._random.randrange(SHARED_IDS)}"
            instance_id = shared if is_shared else f"own-{token}"
            self._ids[token] = instance_id
            try:
                answer = await http.post(
                    f"/orchestrators/Work/{instance_id}", json={"token": token}
                )
            except httpx.HTTPError:
                self.tally.unanswered.add(token)
                return
            if answer.status_code == httpx.codes.ACCEPTED:
                self.tally.accepted[token] = instance_id
            elif answer.status_code == httpx.codes.CONFLICT and is_shared:
                self.tally.refused += 1
            else:
                self.tally.violations.append(
                    f"{instance_id}: {answer.status_code} {answer.text[:200]}"
                )

    async def _settle(self, host: HostProcess) -> None:
        """Wait until nothing runs any more."""
        deadline = time.monotonic() + SETTLING_SECONDS
        live = "Pending,Running,ContinuedAsNew,Suspended"
        async with httpx.AsyncClient(base_url=host.management, timeout=30) as http:
            while time.monotonic() < deadline:
                answer = await http.get("/instances", params={"runtimeStatus": live, "top": 5})
                if not answer.json():
                    return
                await asyncio.sleep(0.1)
        self.tally.violations.append(f"stuck: {answer.json()}")

    async def _judge(self) -> None:
        store = store_at(str(self._store), task_hub="Proof", clock=SystemClock())
        await store.open()
        client = Client(store, SystemClock())
        seen: dict[str, InstanceRecord] = {}
        query = InstanceQuery(page_size=500)
        while True:
            page = await client.list(query)
            for record in page.records:
                seen[record.instance_id] = record
                await self._judge_one(client, record)
            if page.token is None:
                break
            query = msgspec.structs.replace(query, token=page.token)
        await store.close()
        self._judge_starts(seen)

    async def _judge_one(self, client: Client, record: InstanceRecord) -> None:
        history = await client.history(record)
        complaints = []
        if record.status is not RuntimeStatus.COMPLETED:
            reason = record.failure.message if record.failure else ""
            complaints.append(f"is {record.status} {reason[:300]}")
        if len(history) != record.history_length:
            complaints.append("its history has a gap")
        ends = [type(event).__name__ for event in history].count("ExecutionCompleted")
        if ends != 1:
            complaints.append(f"it ended {ends} times")
        if not OrchestrationState(history).is_finished:
            complaints.append("its history does not fold to an end")
        self.tally.violations += [f"{record.instance_id} {text}" for text in complaints]

    def _judge_starts(self, seen: dict[str, InstanceRecord]) -> None:
        lines = self._ledger.read_text().splitlines()
        self._judge_turns(lines)
        ledger = set(lines)
        for token, instance_id in self.tally.accepted.items():
            if f"ended {token}" not in ledger:
                self.tally.violations.append(f"{token} was accepted and never ended")
            if instance_id not in seen:
                self.tally.violations.append(f"{instance_id} was accepted and is gone")
        known = self.tally.accepted.keys() | self.tally.unanswered
        for line in ledger:
            if line.split()[1] not in known:
                self.tally.violations.append(f"a refused start ran all the same: {line}")

    def _judge_turns(self, lines: list[str]) -> None:
        """One instance at a time: no start of an id does anything after a later one began."""
        begun: dict[str, list[str]] = {}
        for line in lines:
            token = line.split()[1]
            turns = begun.setdefault(self._ids.get(token, token), [])
            if token in turns[:-1]:
                self.tally.violations.append(f"{line} after {turns[-1]} began")
            elif token not in turns:
                turns.append(token)


def prove(rounds: int, seed: int) -> Tally:
    """Run the proof in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return Crashes(Path(folder), seed).run(rounds)


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.rounds} rounds")
    tally = prove(arguments.rounds, arguments.seed)
    print(tally.describe())
    raise SystemExit(bool(tally.violations))


if __name__ == "__main__":
    main()
