"""The checker of starts: it believes every order there can be, and nothing else."""

from __future__ import annotations

import random
from itertools import permutations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.register import Kind, Operation, Outcome, State, check, step
from soloist.core.policy import StartDecision, StartPolicy, decide_start
from soloist.core.status import RuntimeStatus

ID = "one"
TOKENS = ("a", "b", "c")
POLICIES = [policy.value for policy in StartPolicy]
OUTCOMES = {
    Kind.START: (Outcome.STARTED, Outcome.CONFLICT, Outcome.EXISTING, Outcome.UNKNOWN),
    Kind.TERMINATE: (Outcome.ACCEPTED, Outcome.GONE, Outcome.NOT_FOUND, Outcome.UNKNOWN),
    Kind.PURGE: (Outcome.PURGED, Outcome.UNFINISHED, Outcome.NOT_FOUND, Outcome.UNKNOWN),
    Kind.READ: (Outcome.SEEN, Outcome.NOT_FOUND),
    Kind.FINISH: (Outcome.UNKNOWN,),
}


def operation(
    kind: Kind,
    outcome: Outcome,
    invoked_at: int,
    answered_at: int | None,
    *,
    token: str = "",
    policy: str = "fail",
    name: str = "Work",
    seen_token: str | None = None,
    seen_ended: bool | None = None,
    generation: int | None = None,
) -> Operation:
    return Operation(
        instance_id=ID,
        kind=kind,
        outcome=outcome,
        invoked_at=invoked_at,
        answered_at=answered_at,
        token=token,
        policy=policy,
        name=name,
        seen_token=seen_token,
        seen_ended=seen_ended,
        generation=generation,
    )


def holds(*history: Operation) -> bool | None:
    return check(history)[ID].holds


# -- the register ---------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", list(StartPolicy))
@pytest.mark.parametrize("existing", [None, *RuntimeStatus])
@pytest.mark.parametrize("is_same", [True, False])
def test_the_register_starts_as_the_product_does(
    policy: StartPolicy, existing: RuntimeStatus | None, is_same: bool
) -> None:
    state = State()
    if existing is not None:
        state = State("old", "Work" if is_same else "Other", not existing.is_terminal)
    answers = {
        StartDecision.CREATE: Outcome.STARTED,
        StartDecision.REPLACE: Outcome.STARTED,
        StartDecision.RETURN: Outcome.EXISTING,
        StartDecision.CONFLICT: Outcome.CONFLICT,
    }
    expected = answers[decide_start(policy, existing=existing, same_function=is_same)]
    possible = {
        outcome
        for outcome in (Outcome.STARTED, Outcome.EXISTING, Outcome.CONFLICT)
        if step(state, operation(Kind.START, outcome, 0, 1, token="new", policy=policy))
    }
    assert possible == {expected}


# -- the search -----------------------------------------------------------------------------------


def test_of_two_starts_at_once_one_may_be_told_started() -> None:
    assert holds(
        operation(Kind.START, Outcome.CONFLICT, 0, 10, token="a"),
        operation(Kind.START, Outcome.STARTED, 0, 10, token="b"),
    )


def test_two_starts_with_no_end_between_cannot_both_be_told_started() -> None:
    assert not holds(
        operation(Kind.START, Outcome.STARTED, 0, 10, token="a"),
        operation(Kind.START, Outcome.STARTED, 0, 10, token="b"),
    )


def test_an_end_between_two_starts_explains_both() -> None:
    starts = (
        operation(Kind.START, Outcome.STARTED, 0, 10, token="a"),
        operation(Kind.START, Outcome.STARTED, 15, 30, token="b"),
    )
    assert holds(*starts, operation(Kind.FINISH, Outcome.UNKNOWN, 20, None, token="a"))
    assert not holds(*starts, operation(Kind.FINISH, Outcome.UNKNOWN, 31, None, token="a"))


def test_a_start_cannot_be_refused_where_nothing_ever_was() -> None:
    assert not holds(operation(Kind.START, Outcome.CONFLICT, 0, 10, token="a"))


def test_an_unanswered_start_may_have_happened_or_not() -> None:
    lost = operation(Kind.START, Outcome.UNKNOWN, 0, None, token="a")
    assert holds(lost, operation(Kind.START, Outcome.STARTED, 20, 30, token="b"))
    assert holds(lost, operation(Kind.START, Outcome.CONFLICT, 20, 30, token="b"))
    assert not holds(
        lost,
        operation(Kind.READ, Outcome.SEEN, 12, 14, seen_token="a", seen_ended=False),
        operation(Kind.START, Outcome.STARTED, 20, 30, token="b"),
    )


def test_a_generation_that_does_not_rise_is_seen() -> None:
    def history(first: int, second: int) -> tuple[Operation, ...]:
        return (
            operation(Kind.START, Outcome.STARTED, 0, 1, token="a", generation=first),
            operation(Kind.START, Outcome.STARTED, 2, 3, token="b", policy="replace", generation=second),
        )  # fmt: skip

    assert holds(*history(1, 2))
    assert not holds(*history(2, 2))


def test_a_search_that_takes_too_long_is_given_up_and_says_so() -> None:
    history = [
        operation(Kind.START, Outcome.UNKNOWN, 0, None, token=str(n), policy="replace")
        for n in range(12)
    ]
    history.append(operation(Kind.READ, Outcome.SEEN, 5, 6, seen_token="nobody", seen_ended=False))
    assert check(history, max_steps=50)[ID].holds is None


# -- against every order there is -----------------------------------------------------------------


@st.composite
def small_histories(draw: st.DrawFn) -> list[Operation]:
    history = []
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from([*Kind, Kind.START]))
        outcome = draw(st.sampled_from(OUTCOMES[kind]))
        invoked_at = draw(st.integers(0, 8))
        length = draw(st.integers(1, 6))
        sees = kind is Kind.READ and outcome is Outcome.SEEN
        history.append(
            operation(
                kind,
                outcome,
                invoked_at * 2,
                None if outcome is Outcome.UNKNOWN else (invoked_at + length) * 2 + 1,
                token=str(number) if kind is Kind.START else "0",
                policy=draw(st.sampled_from(POLICIES)),
                name=draw(st.sampled_from(["Work", "Other"])),
                seen_token=draw(st.sampled_from("0123")) if sees else None,
                seen_ended=draw(st.booleans()) if sees else draw(st.sampled_from([None, True])),
            )
        )
    return history


def effects(history: list[Operation]) -> list[Operation]:
    acts = {
        Kind.START: Outcome.STARTED,
        Kind.TERMINATE: Outcome.ACCEPTED,
        Kind.PURGE: Outcome.PURGED,
        Kind.FINISH: Outcome.UNKNOWN,
    }
    return [
        msgspec.structs.replace(each, outcome=acts[each.kind])
        if each.outcome is Outcome.UNKNOWN
        else each
        for each in history
    ]


def holds_in_some_order(history: list[Operation]) -> bool:
    acts = effects(history)

    def explains(order: tuple[int, ...]) -> bool:
        latest = -1
        state: State | None = State()
        for index in order:
            answered_at = history[index].answered_at
            if answered_at is not None and answered_at < latest:
                return False
            latest = max(latest, history[index].invoked_at)
            assert state is not None
            state = step(state, acts[index])
            if state is None:
                return False
        return True

    must = {n for n, each in enumerate(history) if each.outcome is not Outcome.UNKNOWN}
    return any(
        explains(order)
        for size in range(len(must), len(history) + 1)
        for order in permutations(range(len(history)), size)
        if must <= set(order)
    )


def is_in_order(history: list[Operation]) -> bool:
    """The search relies on it that an instance's work ends after its start is over."""
    started = {each.token: each.answered_at for each in history if each.kind is Kind.START}
    return all(
        (over := started.get(each.token, -1)) is not None and over <= each.invoked_at
        for each in history
        if each.kind is Kind.FINISH
    )


@settings(max_examples=300, deadline=None)
@given(small_histories().filter(is_in_order))
def test_the_search_judges_as_trying_every_order_does(history: list[Operation]) -> None:
    assert holds(*history) is holds_in_some_order(history)


# -- long runs ------------------------------------------------------------------------------------


class Run:
    """A run of one register, one call after another, each seen through a wider interval."""

    def __init__(self, seed: int, jitter: int, lost: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._jitter = jitter
        self._lost = lost
        self._state = State()
        self._now = 1_000
        self._tokens = 0
        self._over: dict[str, int] = {}
        self.history: list[Operation] = []

    def go_on(self, count: int) -> None:
        for _ in range(count):
            self._now += self._random.randint(1, 10)
            kind = self._random.choices(list(Kind), (10, 1, 1, 4, 3))[0]
            if kind is Kind.FINISH:
                self._finish()
            else:
                self._call(kind)

    def _call(self, kind: Kind) -> None:
        token = self._state.token or "none"
        if kind is Kind.START:
            self._tokens += 1
            token = f"t{self._tokens}"
        draft = operation(
            kind,
            Outcome.UNKNOWN,
            self._now - self._random.randint(0, self._jitter),
            None,
            token=token,
            policy=self._random.choice(POLICIES),
            name=self._random.choice(["Work", "Other"]),
            seen_token=self._state.token if kind is Kind.READ else None,
            seen_ended=not self._state.is_live if kind is Kind.READ else None,
        )
        for outcome in OUTCOMES[kind]:
            act = msgspec.structs.replace(draft, outcome=outcome)
            after = step(self._state, act)
            if after is not None:
                break
        else:
            raise AssertionError(f"the register has no answer to {draft} at {self._state}")
        self._state = after
        is_lost = kind is not Kind.START and self._random.random() < self._lost
        answered_at = self._now + self._random.randint(1, self._jitter + 1)
        self._over[token] = max(self._over.get(token, 0), answered_at)
        self.history.append(
            draft if is_lost else msgspec.structs.replace(act, answered_at=answered_at)
        )

    def _finish(self) -> None:
        token = self._state.token
        if token is None:
            return
        self._now = max(self._now, self._over.get(token, 0)) + 1
        end = operation(Kind.FINISH, Outcome.UNKNOWN, self._now, None, token=token)
        self._state = step(self._state, end) or self._state
        self.history.append(end)


@pytest.mark.parametrize("jitter", [0, 5, 60])
@pytest.mark.parametrize("seed", range(5))
def test_a_true_run_is_believed_however_wide_its_intervals_are(seed: int, jitter: int) -> None:
    run = Run(seed, jitter, lost=0.02)
    run.go_on(600)
    verdict = check(run.history)[ID]
    assert verdict.holds, f"seed {seed}: {verdict.explanation}"


@pytest.mark.parametrize("seed", range(5))
def test_a_second_instance_in_the_middle_of_a_true_run_is_seen(seed: int) -> None:
    run = Run(seed, 20)
    run.go_on(300)
    at = run._now + 100
    both = [
        operation(Kind.START, Outcome.STARTED, at + n, at + 10 + n, token=f"x{n}") for n in (0, 1)
    ]
    assert check([*run.history, *both])[ID].holds is False
