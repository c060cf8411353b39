"""A full disk, failing writes, failing syncs and power cuts under a real host and real load.

What is shown: while nothing can be written, a start is answered 503 with Retry-After; once the
disk works again the same host goes on by itself; nothing that was acknowledged is lost, whether
the fault was waited out, the host killed under it, or the power cut; nothing that was refused runs;
nothing is half done.

    python -m proofs.disk --rounds 10 --seed 1
    python -m proofs.disk --rounds 1 --plant ack-before-commit
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx

from proofs.faults import ALWAYS, FailingDisk, can_limit_files, limit_files, missing
from proofs.hosts import HostDied, HostProcess
from proofs.report import Finding, conclude, parser_for
from proofs.workload import Workload
from soloist.errors import SoloistError

CALLERS = 12
REFUSALS = 30
"""How many starts must be put off before a fault is over."""

ACCEPTED_AGAIN = 10
"""How many starts must be accepted before the host counts as having gone on."""

PATIENCE_SECONDS = 30.0
SETTLING_SECONDS = 60.0
HTTP_SECONDS = 15.0
SINGLE_FAILURES = 5
MAX_SYNCS_TO_LIVE = 60
POWER_SECONDS = 3.0
MAX_ROOM_BYTES = 65_536
SMALLEST_FILE_BYTES = 4_096

_PUT_OFF_SECONDS = 0.02
_LOOK_SECONDS = 0.01


class DidNotGoOn(Exception):
    """The host is of no use any more; the round is over."""


class Disk:
    """One run of the proof in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        plant: str | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._load = Workload(folder, seed, plant, SETTLING_SECONDS)
        self._seed = seed
        self._plant = plant
        self._left_out: list[str] = []
        self._disk: FailingDisk | None = None
        reason = missing()
        if reason is None:
            self._disk = FailingDisk(folder)
        else:
            self._left_out.append(reason)
        if not can_limit_files():
            self._left_out.append("files that may not grow: they need Linux")
        self._faults: Counter[str] = Counter()
        self._at_stake = 0
        self._is_loading = False

    def run(self, rounds: int) -> Finding:
        """Let ``rounds`` hosts live through every fault and die, the last one finish, and judge."""
        began = time.monotonic()
        load = self._load
        try:
            for number in range(rounds):
                self._round(cuts_power=number % 2 == 0)
            self._finish()
        except (HostDied, SoloistError) as error:
            load.violations.append(f"no host can begin any more: {str(error).strip()}")
        return Finding(
            check="disk",
            did={
                "faults": sum(self._faults.values()),
                "writes at stake in power cuts": self._at_stake,
                "starts acknowledged": len(load.accepted),
                "put off (503)": len(load.put_off),
                "without an answer": len(load.unanswered),
            },
            seed=self._seed,
            seconds=time.monotonic() - began,
            violations=tuple(load.violations),
            left_out=tuple(self._left_out),
            details=tuple(f"{name:<34}{count:>8}" for name, count in self._faults.items()),
            plant=self._plant,
        )

    def _host(self) -> HostProcess:
        return self._load.host(**({} if self._disk is None else self._disk.environment))

    def _round(self, *, cuts_power: bool) -> None:
        host = self._host()
        try:
            asyncio.run(self._live_through(host, cuts_power))
        finally:
            if host.is_running:
                host.kill()
        disk = self._disk
        if disk is not None and cuts_power:
            self._at_stake += disk.cut_power(self._load.store, self._load.random)
        if disk is not None:
            disk.mend()

    async def _live_through(self, host: HostProcess, cuts_power: bool) -> None:
        self._is_loading = True
        async with httpx.AsyncClient(base_url=host.management, timeout=HTTP_SECONDS) as http:
            callers = [asyncio.create_task(self._keep_calling(http)) for _ in range(CALLERS)]
            try:
                await self._bear(host)
                await self._die(host, cuts_power)
            except DidNotGoOn as error:
                self._load.violations.append(str(error))
                await asyncio.to_thread(host.kill)
            finally:
                self._is_loading = False
                await asyncio.gather(*callers)

    async def _bear(self, host: HostProcess) -> None:
        """Let one fault after another come and go."""
        await self._wait_for_starts("at the beginning", host)
        if can_limit_files():
            await self._fault(
                "a limit on the size of files",
                host,
                lambda: limit_files(host.pid, SMALLEST_FILE_BYTES),
            )
        disk = self._disk
        if disk is None:
            return
        await asyncio.to_thread(self._empty_log)
        room = self._load.random.randrange(MAX_ROOM_BYTES)
        await self._fault("a full disk", host, lambda: disk.begin("room", room))
        await self._fault("writes that fail", host, lambda: disk.begin("failing_writes", ALWAYS))
        for _ in range(SINGLE_FAILURES):
            await self._one_failing_sync(host, disk)
        await self._fault("syncs that fail", host, lambda: disk.begin("failing_syncs", ALWAYS))

    async def _fault(
        self, name: str, host: HostProcess, begin: Callable[[], Callable[[], object]]
    ) -> None:
        """Let a fault last until enough starts were put off, and the host go on."""
        put_off = len(self._load.put_off)
        end = begin()
        is_felt = await self._until(lambda: len(self._load.put_off) >= put_off + REFUSALS)
        end()
        self._faults[name] += 1
        if not is_felt:
            count = len(self._load.put_off) - put_off
            raise DidNotGoOn(
                f"{name}: {count} starts were put off in {self._patience_seconds:.0f} s"
            )
        await self._wait_for_starts(f"after {name}", host)

    async def _one_failing_sync(self, host: HostProcess, disk: FailingDisk) -> None:
        """Let one sync fail, and what it should have written be lost."""
        failed = disk.get("syncs_failed")
        disk.keep_undo()
        await asyncio.sleep(self._load.random.uniform(0, 0.05))
        disk.put("failing_syncs", 1)
        if not await self._until(lambda: disk.get("syncs_failed") > failed):
            raise DidNotGoOn("nothing was synced")
        self._faults["one sync that fails"] += 1
        await self._wait_for_starts("after one sync that failed", host)
        disk.mend()

    async def _die(self, host: HostProcess, cuts_power: bool) -> None:
        """End the host: by a power cut, or by kill -9 while no sync succeeds."""
        disk = self._disk
        if disk is None:
            name = "kill -9"
        elif cuts_power:
            name = "power cuts"
            disk.keep_undo()
            disk.die_at_sync(self._load.random.randint(1, MAX_SYNCS_TO_LIVE))
            await self._until(lambda: not host.is_running, POWER_SECONDS)
        else:
            name = "kill -9 while syncs fail"
            put_off = len(self._load.put_off)
            disk.put("failing_syncs", ALWAYS)
            await self._until(lambda: len(self._load.put_off) >= put_off + REFUSALS)
        self._faults[name] += 1
        await asyncio.to_thread(host.kill)

    def _empty_log(self) -> None:
        """Let the log begin anew, so that the next write needs room."""
        with closing(sqlite3.connect(self._load.store, timeout=PATIENCE_SECONDS)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def _wait_for_starts(self, when: str, host: HostProcess) -> None:
        accepted = len(self._load.accepted)
        if await self._until(lambda: len(self._load.accepted) >= accepted + ACCEPTED_AGAIN):
            return
        state = "goes on" if host.is_running else "has ended"
        count = len(self._load.accepted) - accepted
        raise DidNotGoOn(
            f"{when}: the host {state}, {count} starts were accepted in {self._patience_seconds:.0f} s"
        )

    async def _keep_calling(self, http: httpx.AsyncClient) -> None:
        while self._is_loading:
            status = await self._load.call(http)
            if status == httpx.codes.SERVICE_UNAVAILABLE:
                await asyncio.sleep(_PUT_OFF_SECONDS)
            elif status is None:
                await asyncio.sleep(_LOOK_SECONDS)

    async def _until(
        self, holds: Callable[[], bool], patience_seconds: float | None = None
    ) -> bool:
        """Wait for something, at most so long; return whether it came about."""
        deadline = time.monotonic() + (patience_seconds or self._patience_seconds)
        while not holds():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    def _finish(self) -> None:
        host = self._host()
        try:
            asyncio.run(self._load.settle(host))
        finally:
            host.stop()
        asyncio.run(self._load.judge())


def prove(
    rounds: int, seed: int, plant: str | None = None, patience_seconds: float = PATIENCE_SECONDS
) -> Finding:
    """Run the proof in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return Disk(Path(folder), seed, plant, patience_seconds).run(rounds)


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience-seconds", type=float, default=PATIENCE_SECONDS)

    def run(arguments: argparse.Namespace) -> Finding:
        return prove(arguments.rounds, arguments.seed, arguments.plant, arguments.patience_seconds)

    conclude(parser, run)


if __name__ == "__main__":
    main()
