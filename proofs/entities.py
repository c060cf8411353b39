"""Many write to one entity while its host is killed again and again.

What is shown: every operation that was acknowledged, or that an orchestration got through, stands
in the entity's state exactly once; what one sender sent one after another stands in that order;
nothing else is in there but what got no answer.

    python -m proofs.entities --signals 1000 --orchestrations 200 --kills 10 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from proofs.hosts import HostProcess
from proofs.plants import launcher
from proofs.report import Finding, conclude, parser_for

APP = Path(__file__).parent / "entities_app"
ENTITY = "/entities/Journal/one"
SENDERS = 50
CALLERS = 20
SETTLING_SECONDS = 120.0
_RETRY_SECONDS = 0.05


class Entities:
    """One run of the proof in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        plant: str | None = None,
        settling_seconds: float = SETTLING_SECONDS,
    ) -> None:
        self._seed = seed
        self._random = random.Random(seed)  # reproducible, not secret
        self._store = folder / "hub.db"
        self._plant = plant
        self._settling_seconds = settling_seconds
        self._host = self._new_host()
        self._kills = 0
        self._acknowledged: set[str] = set()
        self._unanswered: set[str] = set()
        self._completed = 0
        self._operations = 0
        self._violations: list[str] = []

    def run(self, signals: int, orchestrations: int, kills: int) -> Finding:
        """Send everything, kill the host meanwhile, let it finish, and judge."""
        began = time.monotonic()
        try:
            asyncio.run(self._run(signals, orchestrations, kills))
        finally:
            self._host.stop()
        return Finding(
            check="entities",
            did={
                "kills": self._kills,
                "signals acknowledged": len(self._acknowledged),
                "without an answer": len(self._unanswered),
                "orchestrations": self._completed,
                "operations": self._operations,
            },
            seed=self._seed,
            seconds=time.monotonic() - began,
            violations=tuple(self._violations),
            plant=self._plant,
        )

    def _new_host(self) -> HostProcess:
        return HostProcess(
            APP, self._store, *("--log-level", "error"), launcher=launcher(self._plant)
        )

    async def _run(self, signals: int, orchestrations: int, kills: int) -> None:
        async with httpx.AsyncClient(timeout=30) as http:
            killer = asyncio.create_task(self._kill(kills))
            senders = [self._send(http, n, signals // SENDERS) for n in range(SENDERS)]
            names = [f"w{number}" for number in range(orchestrations)]
            callers = [self._start(http, names[n::CALLERS]) for n in range(CALLERS)]
            await asyncio.gather(*senders, *callers)
            await killer
            places = await self._settle(http, names)
            state = (await http.get(self._host.management + ENTITY)).json()
        self._judge(state, places)

    async def _kill(self, kills: int) -> None:
        for _ in range(kills):
            await asyncio.sleep(self._random.uniform(0.2, 1.0))
            await asyncio.to_thread(self._host.kill)
            self._kills += 1
            self._host = await asyncio.to_thread(self._new_host)

    async def _post(self, http: httpx.AsyncClient, path: str, body: object) -> int | None:
        """Return the status, ``None`` when nobody answered."""
        try:
            answer = await http.post(self._host.management + path, json=body)
        except httpx.HTTPError:
            await asyncio.sleep(_RETRY_SECONDS)
            return None
        return answer.status_code

    async def _send(self, http: httpx.AsyncClient, sender: int, count: int) -> None:
        """Signal one after another until ``count`` signals were acknowledged."""
        acknowledged = 0
        for number in itertools.count():
            if acknowledged == count:
                return
            line = f"s{sender} {number}"
            status = await self._post(http, f"{ENTITY}?op=write", line)
            if status == httpx.codes.ACCEPTED:
                acknowledged += 1
                self._acknowledged.add(line)
            elif status is None:
                self._unanswered.add(line)
            else:
                self._violations.append(f"{line}: {status}")

    async def _start(self, http: httpx.AsyncClient, names: list[str]) -> None:
        for name in names:
            while await self._post(http, f"/orchestrators/Writer/{name}", None) not in (
                httpx.codes.ACCEPTED,
                httpx.codes.CONFLICT,
            ):
                pass

    async def _settle(self, http: httpx.AsyncClient, names: list[str]) -> dict[str, list[int]]:
        """Wait for every orchestration and for the last signal; return the orchestrations' places."""
        deadline = time.monotonic() + self._settling_seconds
        places: dict[str, list[int]] = {}
        while len(places) < len(names) and time.monotonic() < deadline:
            for name in names:
                if name not in places:
                    url = f"{self._host.management}/instances/{name}"
                    status = (await http.get(url)).json()
                    if status["runtimeStatus"] == "Completed":
                        places[name] = status["output"]
        if len(places) < len(names):
            self._violations.append(f"stuck: {sorted(set(names) - places.keys())}")
        await self._drain(http, deadline)
        return places

    async def _drain(self, http: httpx.AsyncClient, deadline: float) -> None:
        """Wait until the entity has taken whatever was acknowledged before this last signal."""
        await self._post(http, f"{ENTITY}?op=write", "last 0")
        while time.monotonic() < deadline:
            state = (await http.get(self._host.management + ENTITY)).json()
            if "last 0" in state:
                return
            await asyncio.sleep(_RETRY_SECONDS)
        self._violations.append("the last signal never arrived")

    def _judge(self, state: list[str], places: dict[str, list[int]]) -> None:
        self._operations = len(state)
        self._completed = len(places)
        known = self._acknowledged | self._unanswered | {"last 0"}
        for name, found in places.items():
            lines = [f"{name} {number}" for number in range(4)]
            known.update(lines)
            where = [state.index(line) for line in lines if line in state]
            if len(where) != len(lines) or where != sorted(where):
                self._violations.append(f"{name}: stands at {where}")
            elif found != [where[0] + 1, where[2] + 1, where[3] + 1]:
                self._violations.append(f"{name}: was told {found}, stands at {where}")
        self._violations += [f"{line} is lost" for line in self._acknowledged - set(state)]
        self._violations += [f"{line}: nobody sent it" for line in set(state) - known]
        self._violations += [
            f"{line} stands {count} times" for line, count in Counter(state).items() if count > 1
        ]
        latest: dict[str, int] = {}
        for line in state:
            sender, number = line.split()
            if int(number) <= latest.get(sender, -1):
                self._violations.append(f"{line} after {latest[sender]}")
            latest[sender] = int(number)


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--signals", type=int, default=1000)
    parser.add_argument("--orchestrations", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--settling-seconds", type=float, default=SETTLING_SECONDS)
    parser.add_argument("--seed", type=int, default=1)

    def run(arguments: argparse.Namespace) -> Finding:
        with tempfile.TemporaryDirectory() as folder:
            entities = Entities(
                Path(folder), arguments.seed, arguments.plant, arguments.settling_seconds
            )
            return entities.run(arguments.signals, arguments.orchestrations, arguments.kills)

    conclude(parser, run)


if __name__ == "__main__":
    main()
