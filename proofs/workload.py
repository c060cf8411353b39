"""The load that several proofs share: starts of own and of shared ids of ``proofs/app``, a ledger of
what was really done, and the judgement over both and the hub."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import httpx
import msgspec

from proofs.hosts import HostProcess
from proofs.plants import launcher
from soloist.client import Client
from soloist.contracts.clock import SystemClock
from soloist.core.instances import InstanceQuery, InstanceRecord
from soloist.core.state import OrchestrationState
from soloist.core.status import RuntimeStatus
from soloist.stores import store_at

APP = Path(__file__).parent / "app"
SHARED_IDS = 5
SETTLING_SECONDS = 120.0
HTTP_SECONDS = 30.0

_LIVE = "Pending,Running,ContinuedAsNew,Suspended"
_PASSING = (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS)


class Workload:
    """Starts by the hub in one folder, and what was answered.

    ``accepted`` got 202, ``refused`` 409, ``put_off`` 503 or 429, ``unanswered`` nothing.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        plant: str | None = None,
        settling_seconds: float = SETTLING_SECONDS,
    ) -> None:
        self.random = random.Random(seed)  # reproducible, not secret
        self.store = folder / "hub.db"
        self.accepted: dict[str, str] = {}
        self.unanswered: set[str] = set()
        self.put_off: set[str] = set()
        self.refused = 0
        self.violations: list[str] = []
        self._ledger = folder / "ledger.txt"
        self._ledger.touch()
        self._plant = plant
        self._settling_seconds = settling_seconds
        self._tokens = 0
        self._ids: dict[str, str] = {}

    def host(self, **environment: str) -> HostProcess:
        """Start a host on the hub.

        Raises:
            HostDied: it ended before it served.
        """
        return HostProcess(
            APP,
            self.store,
            *("--log-level", "error"),
            environment={"PROOF_LEDGER": str(self._ledger), **environment},
            launcher=launcher(self._plant),
        )

    async def call(self, http: httpx.AsyncClient) -> int | None:
        """Start one instance; return the status code, ``None`` when there was no answer."""
        self._tokens += 1
        token = f"t{self._tokens}"
        is_shared = self.random.random() < 0.5
        shared = f"shared-{self.random.randrange(SHARED_IDS)}"
        instance_id = shared if is_shared else f"own-{token}"
        self._ids[token] = instance_id
        try:
            answer = await http.post(f"/orchestrators/Work/{instance_id}", json={"token": token})
        except httpx.HTTPError:
            self.unanswered.add(token)
            return None
        self._note(token, instance_id, answer, is_shared)
        return answer.status_code

    def _note(self, token: str, instance_id: str, answer: httpx.Response, is_shared: bool) -> None:
        if answer.status_code == httpx.codes.ACCEPTED:
            self.accepted[token] = instance_id
        elif answer.status_code == httpx.codes.CONFLICT and is_shared:
            self.refused += 1
        elif answer.status_code in _PASSING and answer.headers.get("Retry-After"):
            self.put_off.add(token)
        else:
            self.violations.append(f"{instance_id}: {answer.status_code} {answer.text[:200]}")

    async def settle(self, host: HostProcess) -> None:
        """Wait until nothing runs any more."""
        deadline = time.monotonic() + self._settling_seconds
        live = {"runtimeStatus": _LIVE, "top": "5"}
        async with httpx.AsyncClient(base_url=host.management, timeout=HTTP_SECONDS) as http:
            while time.monotonic() < deadline:
                answer = await http.get("/instances", params=live)
                if not answer.json():
                    return
                await asyncio.sleep(0.1)
        self.violations.append(f"stuck: {answer.json()}")

    async def judge(self) -> None:
        """Hold what was acknowledged, what was done and what the hub holds against each other."""
        store = store_at(str(self.store), task_hub="Proof", clock=SystemClock())
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
        self.violations += [f"{record.instance_id} {text}" for text in complaints]

    def _judge_starts(self, seen: dict[str, InstanceRecord]) -> None:
        lines = self._ledger.read_text().splitlines()
        self._judge_turns(lines)
        ledger = set(lines)
        for token, instance_id in self.accepted.items():
            if f"ended {token}" not in ledger:
                self.violations.append(f"{token} was accepted and never ended")
            if instance_id not in seen:
                self.violations.append(f"{instance_id} was accepted and is gone")
        known = self.accepted.keys() | self.unanswered
        for line in ledger:
            if line.split()[1] not in known:
                self.violations.append(f"a refused start ran all the same: {line}")

    def _judge_turns(self, lines: list[str]) -> None:
        """One instance at a time: no start of an id does anything after a later one began."""
        begun: dict[str, list[str]] = {}
        for line in lines:
            token = line.split()[1]
            turns = begun.setdefault(self._ids.get(token, token), [])
            if token in turns[:-1]:
                self.violations.append(f"{line} after {turns[-1]} began")
            elif token not in turns:
                turns.append(token)
