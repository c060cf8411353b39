"""Is what callers were told about one id what some order of their calls would have told them?

An instance id is a register: absent, live or ended, and changed by starts, terminations, purges and
the end of the work. Every call has an interval, from when it was made to when it was answered; the
checker looks for one point in each interval such that the register, going through the points in
order, gives every answer that was given (linearizability; the search is that of Wing and Gong).
Calls without an answer may have taken effect at any time after they were made, or never.

The register here is written from the start contract alone and shares nothing with the product.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

MAX_STEPS = 5_000_000
_SHOWN_OPERATIONS = 12


class Kind(StrEnum):
    """What was asked of the id."""

    START = "start"
    TERMINATE = "terminate"
    PURGE = "purge"
    READ = "read"
    FINISH = "finish"
    """The instance's own work ends; nobody asks and nobody answers."""


class Outcome(StrEnum):
    """What was answered."""

    STARTED = "started"
    EXISTING = "existing"
    """A start was answered with the instance that is there."""
    CONFLICT = "conflict"
    ACCEPTED = "accepted"
    """A termination was recorded."""
    PURGED = "purged"
    UNFINISHED = "unfinished"
    GONE = "gone"
    """There is an instance, and it has ended."""
    NOT_FOUND = "not found"
    SEEN = "seen"
    UNKNOWN = "unknown"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call; times are of one monotonic clock.

    ``token`` names a start, and the instance that came of it. ``seen_token`` and ``seen_ended`` are
    what an answer told of the instance that was there. ``answered_at`` is ``None`` when there was
    no answer. ``pause_ms`` is how long the work of a start pauses.
    """

    instance_id: str
    kind: Kind
    outcome: Outcome
    invoked_at: int
    answered_at: int | None
    token: str = ""
    name: str = ""
    policy: str = "fail"
    seen_token: str | None = None
    seen_ended: bool | None = None
    generation: int | None = None
    door: str = ""
    pause_ms: int = 0


class State(NamedTuple):
    """The register. ``generation`` is the highest that is known to have been drawn."""

    token: str | None = None
    name: str = ""
    is_live: bool = False
    is_ending: bool = False
    """A termination is recorded. When it is carried out is the hub's affair."""
    generation: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """``holds`` is ``None`` when the search was given up."""

    holds: bool | None
    operations: int
    steps: int
    explanation: str = ""


def step(state: State, operation: Operation) -> State | None:
    """Return the register after an operation with that answer, ``None`` if it cannot answer so."""
    match operation.kind:
        case Kind.START:
            return _start(state, operation)
        case Kind.TERMINATE:
            return _terminate(state, operation)
        case Kind.PURGE:
            return _purge(state, operation)
        case Kind.READ:
            return _read(state, operation)
        case Kind.FINISH:
            is_ours = state.is_live and state.token == operation.token
            return _ended(state) if is_ours else None


def _ended(state: State) -> State:
    return state._replace(is_live=False, is_ending=False)


def _absent(state: State) -> State:
    return State(generation=state.generation)


def _start(state: State, operation: Operation) -> State | None:
    policy, is_there = operation.policy, state.token is not None
    blocks = state.is_live and not state.is_ending and policy != "replace"
    returns = policy == "return" and blocks and state.name == operation.name
    refuses = (blocks and not returns) or (is_there and policy == "never")
    match operation.outcome:
        case Outcome.STARTED:
            rises = operation.generation is None or operation.generation > state.generation
            if returns or refuses or not rises:
                return None
            generation = operation.generation or state.generation
            return State(operation.token, operation.name, True, False, generation)
        case Outcome.EXISTING:
            return state if returns and _fits(state, operation) else None
        case Outcome.CONFLICT:
            return _observed(state, operation.seen_ended) if refuses else None
    return None


def _terminate(state: State, operation: Operation) -> State | None:
    match operation.outcome:
        case Outcome.ACCEPTED:
            return state._replace(is_ending=True) if state.is_live else None
        case Outcome.GONE:
            return _observed(state, seen_ended=True)
        case Outcome.NOT_FOUND:
            return state if state.token is None else None
    return None


def _purge(state: State, operation: Operation) -> State | None:
    match operation.outcome:
        case Outcome.PURGED:
            return None if _observed(state, seen_ended=True) is None else _absent(state)
        case Outcome.UNFINISHED:
            return _observed(state, seen_ended=False)
        case Outcome.NOT_FOUND:
            return state if state.token is None else None
    return None


def _read(state: State, operation: Operation) -> State | None:
    match operation.outcome:
        case Outcome.SEEN:
            return _observed(state, operation.seen_ended) if _fits(state, operation) else None
        case Outcome.NOT_FOUND:
            return state if state.token is None else None
    return None


def _fits(state: State, operation: Operation) -> bool:
    return operation.seen_token is None or operation.seen_token == state.token


def _observed(state: State, seen_ended: bool | None) -> State | None:
    """Return the register after somebody saw it live or ended; a termination may have been done."""
    if state.token is None:
        return None
    if seen_ended is None or seen_ended is not state.is_live:
        return state
    return _ended(state) if state.is_ending else None


_EFFECTS = {
    Kind.START: Outcome.STARTED,
    Kind.TERMINATE: Outcome.ACCEPTED,
    Kind.PURGE: Outcome.PURGED,
    Kind.FINISH: Outcome.UNKNOWN,
}


_TELLING = frozenset(Outcome) - {Outcome.STARTED, Outcome.ACCEPTED, Outcome.PURGED, Outcome.UNKNOWN}


class _Point(NamedTuple):
    """Where the search stands: what was called and has no point yet, and what comes next."""

    state: State
    pending: frozenset[int]
    upcoming: int


class _Search:
    """The search for one id."""

    def __init__(self, operations: Sequence[Operation], max_steps: int) -> None:
        self._operations = sorted(
            (each for each in operations if not _is_idle(each)), key=lambda each: each.invoked_at
        )
        # What an unanswered call would have done; it need not have.
        self._acts = [
            msgspec.structs.replace(each, outcome=_EFFECTS[each.kind])
            if each.outcome is Outcome.UNKNOWN
            else each
            for each in self._operations
        ]
        self._starts = {
            each.token: index
            for index, each in enumerate(self._operations)
            if each.kind is Kind.START
        }
        self._max_steps = max_steps
        self._steps = 0
        self._deepest = _Point(State(), frozenset(), 0)

    def run(self) -> Verdict:
        """Search depth first; a point that was seen before is not gone into again."""
        stack = [_Point(State(), frozenset(), 0)]
        seen: set[_Point] = set()
        count = len(self._operations)
        while stack:
            point = self._settled(stack.pop())
            if point in seen:
                continue
            seen.add(point)
            self._steps += 1
            if point.upcoming > self._deepest.upcoming or self._steps == 1:
                self._deepest = point
            if point.upcoming == count and not any(map(self._must_happen, point.pending)):
                return Verdict(True, count, self._steps)
            if self._steps > self._max_steps:
                return Verdict(None, count, self._steps, self._explain())
            stack += self._branches(point)
        return Verdict(False, count, self._steps, self._explain())

    def _settled(self, point: _Point) -> _Point:
        """Take in what may come next, and let answers happen at once that only tell.

        One that may have its point now and leaves the register as it is can always have it now:
        whatever follows stays as free as before. (A termination is more than an answer: beside an
        earlier one it changes nothing, and may yet be needed for the next instance.)
        """
        state, upcoming = point.state, point.upcoming
        pending = set(point.pending)
        while True:
            deadline = min(map(self._deadline, pending), default=math.inf)
            while (
                upcoming < len(self._operations)
                and self._operations[upcoming].invoked_at <= deadline
            ):
                pending.add(upcoming)
                deadline = min(deadline, self._deadline(upcoming))
                upcoming += 1
            idle = {each for each in pending if self._is_done_with(state, each, pending)}
            if not idle:
                return _Point(state, frozenset(pending), upcoming)
            pending -= idle

    def _is_done_with(self, state: State, index: int, pending: set[int]) -> bool:
        operation = self._acts[index]
        if operation.kind is Kind.FINISH:
            is_over = self._starts.get(operation.token) not in pending
            return is_over and not (state.is_live and state.token == operation.token)
        return operation.outcome in _TELLING and step(state, operation) == state

    def _branches(self, point: _Point) -> Iterable[_Point]:
        """Yield what may happen next, what is to be tried first last: what has an answer goes
        before what has none, what was answered early goes before what was answered late."""
        for index in sorted(point.pending, key=self._deadline, reverse=True):
            state = step(point.state, self._acts[index])
            if state is not None:
                yield _Point(state, point.pending - {index}, point.upcoming)

    def _must_happen(self, index: int) -> bool:
        return self._operations[index].outcome is not Outcome.UNKNOWN

    def _deadline(self, index: int) -> float:
        operation = self._operations[index]
        if operation.answered_at is None or not self._must_happen(index):
            return math.inf
        return operation.answered_at

    def _explain(self) -> str:
        point = self._deepest
        lines = [f"stuck at {point.state}; what was called and fits nowhere:"]
        late = sorted(filter(self._must_happen, point.pending), key=self._deadline)
        lines += [f"  {describe(self._operations[each])}" for each in late[:_SHOWN_OPERATIONS]]
        return "\n".join(lines)


def _is_idle(operation: Operation) -> bool:
    """An unanswered question changed nothing."""
    return operation.kind is Kind.READ and operation.outcome is Outcome.UNKNOWN


def describe(operation: Operation) -> str:
    """Return an operation for people."""
    answered_at = operation.answered_at
    facts = [
        f"[{operation.invoked_at} {answered_at if answered_at is not None else '...'}]",
        f"{operation.kind}({operation.policy}) {operation.token}".replace("(fail)", ""),
        f"-> {operation.outcome}",
        f"saw {operation.seen_token}" if operation.seen_token else "",
        "" if operation.seen_ended is None else f"ended={operation.seen_ended}",
        f"generation {operation.generation}" if operation.generation else "",
        f"by {operation.door}" if operation.door else "",
    ]
    return " ".join(filter(None, facts))


def check(operations: Iterable[Operation], max_steps: int = MAX_STEPS) -> dict[str, Verdict]:
    """Judge each id by itself."""
    by_id: dict[str, list[Operation]] = {}
    for operation in operations:
        by_id.setdefault(operation.instance_id, []).append(operation)
    return {name: _Search(group, max_steps).run() for name, group in by_id.items()}
