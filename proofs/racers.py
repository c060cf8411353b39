"""A client process of the races: it starts, ends, purges and reads, and writes down every answer.

python -m proofs.racers ORDERS.json ANSWERS.jsonl
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec

from proofs.register import Kind, Operation, Outcome
from soloist.client import Client
from soloist.contracts.clock import SystemClock
from soloist.core.policy import StartDecision, StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.errors import (
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    InstanceUnfinished,
    Overloaded,
    StoreUnavailable,
)
from soloist.stores import store_at
from soloist.webapi import BASE_PATH

GENTLE = "gentle"
"""Ids that begin so are only started by the rule ``fail``, and end by themselves."""

OWN = "own"
"""Ids that begin so are started once each."""

_MOVE_ON_NANOSECONDS = 2_000_000_000

ODD = "odd:"
"""What a racer prints before an answer that it cannot explain."""

PUT_OFF = "put off:"
"""What a racer prints before the number of calls that were answered with a time to come back."""

_QUICK = ("management", "hasty", "library")
_ALREADY = "already exists"
_HTTP_SECONDS = 60.0
_CHILD_SECONDS = 60


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What one racer is to do.

    ``doors`` are the names of ways in, with their shares. ``own_share`` of the starts are of ids
    that nobody else starts. It races until ``starts`` are made or the file ``until`` is there.
    When it ``is_stormy``, no answer, or to be put off, is to be expected.
    """

    name: str
    seed: int
    starts: int
    callers: int
    ids: tuple[str, ...]
    origins: tuple[str, ...]
    doors: dict[str, float]
    store: str
    app_dir: str
    task_hub: str
    until: str
    own_share: float = 0.0
    is_stormy: bool = False


class Racer:
    """One client process."""

    def __init__(self, orders: Orders, answers: Path) -> None:
        self._orders = orders
        self._random = random.Random(orders.seed)
        self._answers = answers.open("wb", buffering=0)
        self._count = 0
        self._put_offs = 0
        self._until = Path(orders.until)
        self._client: Client
        self._http: httpx.AsyncClient
        self._doors: dict[str, Callable[[Operation], Awaitable[Operation]]] = {
            "management": self._by_management,
            "singleton": self._by_singleton,
            "hasty": self._by_hasty,
            "library": self._by_library,
            "child": self._by_child,
            "cli": self._by_cli,
        }

    async def run(self) -> None:
        """Race until enough has been started."""
        orders = self._orders
        store = store_at(orders.store, task_hub=orders.task_hub, clock=SystemClock())
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=orders.callers)
        async with (
            contextlib.AsyncExitStack() as stack,
            httpx.AsyncClient(timeout=_HTTP_SECONDS, limits=limits) as self._http,
        ):
            if "library" in orders.doors:
                await store.open()
                stack.push_async_callback(store.close)
            self._client = Client(store, SystemClock())
            await asyncio.gather(*(self._race() for _ in range(orders.callers)))
        self._answers.close()
        print(PUT_OFF, self._put_offs)

    async def _race(self) -> None:
        while self._goes_on():
            operation = self._drawn()
            call = self._doors[operation.door] if operation.kind is Kind.START else self._steer
            try:
                answered = await call(operation)
            except (httpx.HTTPError, StoreUnavailable, Overloaded) as error:
                answered = operation
                if not self._orders.is_stormy:
                    self._odd(operation, f"{type(error).__name__} {error}")
                await asyncio.sleep(0.05)  # whoever is away is not asked at once again
            self._write_down(answered)

    def _goes_on(self) -> bool:
        return self._count < self._orders.starts and not self._until.exists()

    def _kind(self, instance_id: str) -> Kind:
        if instance_id.startswith(GENTLE):
            return self._random.choices((Kind.START, Kind.READ), (20, 1))[0]
        kinds = (Kind.START, Kind.READ, Kind.TERMINATE, Kind.PURGE)
        return self._random.choices(kinds, (20, 1, 1, 2))[0]

    def _drawn(self) -> Operation:
        """Draw what to do next."""
        is_own = self._random.random() < self._orders.own_share
        instance_id = OWN if is_own else self._shared_id()
        kind = Kind.START if is_own else self._kind(instance_id)
        token = door = ""
        if kind is Kind.START:
            self._count += 1
            token = f"{self._orders.name}-{self._count}"
            door = self._door(is_own)
        is_wild = not is_own and not instance_id.startswith(GENTLE)
        takes_policy = is_wild and door in ("management", "library", "cli")
        policies = (StartPolicy.FAIL, StartPolicy.RETURN, StartPolicy.NEVER, StartPolicy.REPLACE)
        policy = self._random.choices(policies, (8, 4, 3, 1))[0] if takes_policy else policies[0]
        return Operation(
            instance_id=f"{OWN}-{token}" if is_own else instance_id,
            kind=kind,
            outcome=Outcome.UNKNOWN,
            invoked_at=time.monotonic_ns(),
            answered_at=None,
            token=token,
            name=self._random.choice(("Work", "Work", "Other")) if is_wild else "Work",
            policy=policy.value,
            door=door,
            pause_ms=self._random.choice((0, 100, 500, 1500) if is_own else (0, 0, 5, 20)),
        )

    def _shared_id(self) -> str:
        """Draw one of the few ids. In bad weather all racers move on to others together, again and
        again: each call without an answer doubles what may have become of its id."""
        instance_id = self._random.choice(self._orders.ids)
        if not self._orders.is_stormy:
            return instance_id
        return f"{instance_id}-{time.monotonic_ns() // _MOVE_ON_NANOSECONDS}"

    def _door(self, is_own: bool) -> str:
        if is_own:
            return self._random.choice([each for each in _QUICK if each in self._orders.doors])
        doors = self._orders.doors
        return self._random.choices(list(doors), list(doors.values()))[0]

    def _input(self, operation: Operation) -> dict[str, Any]:
        draw = self._random
        order = {"token": operation.token, "pause_ms": operation.pause_ms}
        if operation.instance_id.startswith(OWN):  # long enough to be met by what goes wrong
            return {**order, "steps": draw.randint(1, 6), "rest_ms": draw.choice((0, 0, 20, 100))}
        return {**order, "steps": draw.randint(0, 2)}

    def _origin(self) -> str:
        return self._random.choice(self._orders.origins)

    def _write_down(self, operation: Operation) -> None:
        if operation.outcome is not Outcome.UNKNOWN:
            operation = _with(operation, answered_at=time.monotonic_ns())
        self._answers.write(msgspec.json.encode(operation) + b"\n")

    # -- doors ----------------------------------------------------------------------------------

    async def _by_management(self, operation: Operation) -> Operation:
        answer = await self._http.post(
            f"{self._origin()}{BASE_PATH}/orchestrators/{operation.name}/{operation.instance_id}",
            params={"ifExists": operation.policy},
            json=self._input(operation),
        )
        return self._told(operation, answer)

    async def _by_singleton(self, operation: Operation) -> Operation:
        answer = await self._by_app("singleton", operation)
        if answer.status_code == httpx.codes.CONFLICT and answer.text == "it runs":
            # It looked, and did not start: what was told is what a reader is told.
            return _with(operation, kind=Kind.READ, outcome=Outcome.SEEN, seen_ended=False)
        return self._told(operation, answer)

    async def _by_hasty(self, operation: Operation) -> Operation:
        return self._told(operation, await self._by_app("hasty", operation))

    async def _by_app(self, route: str, operation: Operation) -> httpx.Response:
        return await self._http.post(
            f"{self._origin()}/api/{route}/{operation.name}/{operation.instance_id}",
            json=self._input(operation),
        )

    async def _by_library(self, operation: Operation) -> Operation:
        try:
            receipt = await self._client.start(
                operation.name,
                operation.instance_id,
                input=msgspec.json.encode(self._input(operation)).decode(),
                policy=StartPolicy(operation.policy),
            )
        except InstanceExists as refusal:
            is_over = RuntimeStatus(refusal.status).is_terminal
            return _with(operation, outcome=Outcome.CONFLICT, seen_ended=is_over)
        record = receipt.record
        if receipt.decision is StartDecision.RETURN:
            return _with(operation, outcome=Outcome.EXISTING, seen_token=_token_in(record.input))
        return _with(operation, outcome=Outcome.STARTED, generation=record.generation)

    async def _by_child(self, operation: Operation) -> Operation:
        """Let an orchestration start it; the answer comes with that one's end, or not at all."""
        order = {
            "name": operation.name,
            "id": operation.instance_id,
            "child": self._input(operation),
        }
        answer = await self._http.post(
            f"{self._origin()}{BASE_PATH}/orchestrators/Parent/parent-{operation.token}",
            params={"timeout": _CHILD_SECONDS},
            json=order,
        )
        if answer.status_code != httpx.codes.OK:
            return self._told(operation, answer, expected=(httpx.codes.ACCEPTED,))
        is_refused = _ALREADY in answer.json()
        return _with(operation, outcome=Outcome.CONFLICT if is_refused else Outcome.STARTED)

    async def _by_cli(self, operation: Operation) -> Operation:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "soloist", "instances", "start", operation.name),
            *("--id", operation.instance_id, "--if-exists", operation.policy),
            *("--input", msgspec.json.encode(self._input(operation)).decode()),
            *("--app", self._orders.app_dir, "--store", self._orders.store),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
        if process.returncode == 0:
            is_new = output.strip().endswith("started.")
            return _with(operation, outcome=Outcome.STARTED if is_new else Outcome.EXISTING)
        if _ALREADY in output:
            return _with(operation, outcome=Outcome.CONFLICT)
        return self._odd(operation, f"{process.returncode} {output}")

    def _told(
        self, operation: Operation, answer: httpx.Response, expected: tuple[int, ...] = ()
    ) -> Operation:
        match answer.status_code:
            case code if code in expected:
                return operation
            case httpx.codes.ACCEPTED:
                return _with(operation, outcome=Outcome.STARTED)
            case httpx.codes.OK:
                return _with(operation, outcome=Outcome.EXISTING)
            case httpx.codes.CONFLICT:
                told = answer.json() if operation.door == "management" else {}
                status = told.get("runtimeStatus")
                is_over = None if status is None else RuntimeStatus(status).is_terminal
                return _with(operation, outcome=Outcome.CONFLICT, seen_ended=is_over)
        return self._put_off(operation, answer)

    def _put_off(self, operation: Operation, answer: httpx.Response) -> Operation:
        """Bad weather is answered with a reason to come back; anything else is odd."""
        codes = (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS)
        if answer.status_code in codes and "Retry-After" in answer.headers:
            self._put_offs += 1
            raise StoreUnavailable(answer.text[:200])
        return self._odd(operation, f"{answer.status_code} {answer.text[:300]}")

    def _odd(self, operation: Operation, text: str) -> Operation:
        shown = text.replace("\n", " ")
        print(f"{ODD} {operation.door or operation.kind} {operation.instance_id}: {shown}")
        return operation

    # -- everything but starts ------------------------------------------------------------------

    async def _steer(self, operation: Operation) -> Operation:
        by_library = "library" in self._orders.doors and self._random.random() < 0.3
        if by_library:
            return await self._steer_by_library(operation)
        place = f"{self._origin()}{BASE_PATH}/instances/{operation.instance_id}"
        match operation.kind:
            case Kind.TERMINATE:
                answer = await self._http.post(f"{place}/terminate", params={"reason": "raced"})
            case Kind.PURGE:
                answer = await self._http.delete(place)
            case _:
                answer = await self._http.get(place)
        return self._steered(operation, answer)

    def _steered(self, operation: Operation, answer: httpx.Response) -> Operation:
        match operation.kind, answer.status_code:
            case _, httpx.codes.NOT_FOUND:
                outcome = Outcome.NOT_FOUND
            case Kind.TERMINATE, httpx.codes.ACCEPTED:
                outcome = Outcome.ACCEPTED
            case Kind.TERMINATE, httpx.codes.GONE:
                outcome = Outcome.GONE
            case Kind.PURGE, httpx.codes.OK:
                outcome = Outcome.PURGED
            case Kind.PURGE, httpx.codes.PRECONDITION_FAILED:
                outcome = Outcome.UNFINISHED
            case Kind.READ, httpx.codes.OK | httpx.codes.ACCEPTED:
                body = answer.json()
                is_over = RuntimeStatus(body["runtimeStatus"]).is_terminal
                return _seen(operation, _token_in(body["input"]), is_over)
            case _:
                return self._put_off(operation, answer)
        return _with(operation, outcome=outcome)

    async def _steer_by_library(self, operation: Operation) -> Operation:
        operation = _with(operation, door="library")
        try:
            match operation.kind:
                case Kind.TERMINATE:
                    await self._client.terminate(operation.instance_id, "raced")
                    return _with(operation, outcome=Outcome.ACCEPTED)
                case Kind.PURGE:
                    await self._client.purge(operation.instance_id)
                    return _with(operation, outcome=Outcome.PURGED)
                case _:
                    return await read(self._client, operation)
        except InstanceNotFound:
            return _with(operation, outcome=Outcome.NOT_FOUND)
        except InstanceFinished:
            return _with(operation, outcome=Outcome.GONE)
        except InstanceUnfinished:
            return _with(operation, outcome=Outcome.UNFINISHED)


async def read(client: Client, operation: Operation) -> Operation:
    """Return a reading with its answer."""
    try:
        record = await client.status(operation.instance_id)
    except InstanceNotFound:
        return _with(operation, outcome=Outcome.NOT_FOUND)
    return _seen(operation, _token_in(record.input), record.status.is_terminal)


def _with(operation: Operation, **changes: object) -> Operation:
    changed: Operation = msgspec.structs.replace(operation, **changes)
    return changed


def _seen(operation: Operation, token: str, is_over: bool) -> Operation:
    return _with(operation, outcome=Outcome.SEEN, seen_token=token, seen_ended=is_over)


def _token_in(value: Any) -> str:
    """Return the token in an input; some clients wrap JSON once more."""
    while isinstance(value, str):
        value = msgspec.json.decode(value)
    token: str = value["token"]
    return token


def main() -> None:
    """Race as ordered."""
    orders, answers = sys.argv[1:]
    asyncio.run(
        Racer(msgspec.json.decode(Path(orders).read_bytes(), type=Orders), Path(answers)).run()
    )


if __name__ == "__main__":
    main()
