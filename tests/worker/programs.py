"""Programs: random orchestrators that run the same under any classic context.

A program is a list of steps, plain data; :func:`orchestrator_of` turns it into a generator
function that keeps a log of everything its code can observe, :func:`async_orchestrator_of` into
a coroutine function that does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.durable_functions import EntityId, RetryOptions
from hypothesis import strategies as st

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
ACTIVITIES = ("Price", "Ship", "price")
CHILDREN = ("Sub", "sub")
EVENTS = ("go", "Go", "stop")
PAUSE_MILLISECONDS = 1500

Step = tuple[Any, ...]
Program = list[Step]


class Money:
    """A class that takes part in the SDK's own way of encoding objects."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    @staticmethod
    def to_json(value: Money) -> int:
        return value.amount

    @staticmethod
    def from_json(value: int) -> Money:
        return Money(value)

    def __repr__(self) -> str:
        return f"Money({self.amount})"


_values = st.sampled_from([None, 0, "x", [1], {"a": None}, "5", Money(3)])
_attempts = st.integers(1, 3)
_ids = st.sampled_from([None, "child-1"])

_atoms = st.one_of(
    st.tuples(st.just("activity"), st.sampled_from(ACTIVITIES), _values),
    st.tuples(st.just("typed"), st.sampled_from(["activity", "child", "entity", "event"])),
    st.tuples(st.just("retry"), st.sampled_from(ACTIVITIES), _values, _attempts),
    st.tuples(st.just("child"), st.sampled_from(CHILDREN), _values, _ids),
    st.tuples(st.just("child_retry"), st.sampled_from(CHILDREN), _values, _ids, _attempts),
    st.tuples(st.just("entity"), st.sampled_from(["Counter", "Box"]), _values),
    st.tuples(st.just("http"), st.sampled_from([None, "x", {"a": 1}])),
    st.tuples(st.just("timer"), st.integers(0, 3)),
    st.tuples(st.just("event"), st.sampled_from(EVENTS)),
)
_expressions = st.recursive(
    _atoms,
    lambda inner: st.tuples(st.sampled_from(["all", "any"]), st.lists(inner, max_size=3)),
    max_leaves=5,
)
_steps = st.one_of(
    st.tuples(st.just("yield"), _expressions, st.booleans()),
    st.tuples(st.just("yield"), _expressions, st.booleans()),
    st.tuples(st.just("yield"), _expressions, st.booleans()),
    st.tuples(st.just("again"), st.integers(0, 5)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("status"), _values),
    st.tuples(st.just("signal"), st.sampled_from(["Counter", "Box"]), _values),
)
_ends = st.one_of(
    st.just([]),
    st.tuples(st.tuples(st.just("raise"), st.sampled_from(["bad", ""]))).map(list),
    st.tuples(
        st.tuples(st.just("return"), st.sampled_from([None, 1, {"k": [2]}, {1}, Money(1)]))
    ).map(list),
    st.tuples(st.tuples(st.just("continue"), _values), _steps).map(list),
)
programs = st.builds(
    lambda steps, end: steps + end, st.lists(_steps, min_size=1, max_size=7), _ends
)


class Log:
    """What the code of an execution has seen. ``replaying`` differs when it is run again."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.replaying: list[bool | None] = []

    def append(self, value: Any) -> None:
        """Note something that must be the same in every replay."""
        self.seen.append(plain(value))


def plain(value: Any) -> Any:
    """Return a task's result as plain data; a winning task as its place and its result."""
    if hasattr(value, "is_completed"):
        children = value.parent.children
        return {"winner": children.index(value), "state": value.state.name} | {
            "result": plain(value.result)
        }
    if isinstance(value, Exception):
        return f"exception: {value}"
    if isinstance(value, Money):
        return repr(value)
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


class _Run:
    """One execution of a program: what it made and what it saw."""

    def __init__(self, context: Any, log: Log) -> None:
        self.context = context
        self.log = log
        self.atoms: list[Any] = []
        self.timers: list[Any] = []

    def build(self, expression: Any) -> Any:
        """Return the task that an expression describes."""
        kind, *rest = expression
        if kind in ("all", "any"):
            combine = self.context.task_all if kind == "all" else self.context.task_any
            return combine([self.build(each) for each in rest[0]])
        task = self._atom(kind, rest)
        self.atoms.append(task)
        if kind == "timer":
            self.timers.append(task)
        return task

    def _typed(self, kind: str) -> Any:
        """Return a task that says of which class its result should be."""
        context = self.context
        if kind == "activity":
            return context.call_activity("Price", None, expected_type=Money)
        if kind == "child":
            return context.call_sub_orchestrator("Sub", expected_type=Money)
        if kind == "entity":
            return context.call_entity(EntityId("Box", "Key"), "get", expected_type=Money)
        return context.wait_for_external_event("go", expected_type=Money)

    def _atom(self, kind: str, rest: list[Any]) -> Any:
        context = self.context
        if kind == "typed":
            return self._typed(*rest)
        if kind == "activity":
            return context.call_activity(*rest)
        if kind == "retry":
            return context.call_activity_with_retry(rest[0], _options(rest[2]), rest[1])
        if kind == "child":
            name, value, instance_id = rest
            return context.call_sub_orchestrator(name, value, instance_id, version=instance_id)
        if kind == "child_retry":
            name, value, instance_id, attempts = rest
            options = _options(attempts)
            return context.call_sub_orchestrator_with_retry(name, options, value, instance_id)
        if kind == "entity":
            return context.call_entity(EntityId(rest[0], "Key"), "add", rest[1])
        if kind == "http":
            return context.call_http("GET", "http://127.0.0.1/", rest[0], {"X-One": "1"})
        if kind == "timer":
            return context.create_timer(context.current_utc_datetime + timedelta(seconds=rest[0]))
        return context.wait_for_external_event(rest[0])

    def observe(self, is_fresh: bool) -> None:
        """Note what the context says now.

        After a yield of a task that was already complete the SDK tells whether *that task* was
        completed in the past, not whether the code now runs again; this is left out.
        """
        context = self.context
        self.log.replaying.append(context.is_replaying if is_fresh else None)
        self.log.append(str(context.current_utc_datetime))
        self.log.append([str(context.new_guid()), context.new_uuid()])
        self.log.append([context.will_continue_as_new, context.custom_status])

    def cancel(self, number: int) -> None:
        """Cancel one of the timers made so far."""
        if not self.timers:
            return
        timer = self.timers[number % len(self.timers)]
        try:
            timer.cancel()
            self.log.append(timer.is_cancelled)
        except ValueError as error:
            self.log.append(str(error))

    def do(self, step: Step) -> None:
        """Take a step that does not wait."""
        kind, *rest = step
        if kind == "cancel":
            self.cancel(*rest)
        elif kind == "status":
            self.context.set_custom_status(*rest)
        elif kind == "signal":
            self.context.signal_entity(EntityId(rest[0], "Key"), "add", rest[1])
        elif kind == "continue":
            self.context.continue_as_new(*rest)
        elif kind == "raise":
            raise ValueError(*rest)


def _options(attempts: int) -> Any:
    return RetryOptions(PAUSE_MILLISECONDS, attempts)


def orchestrator_of(program: Program, log: Log) -> Callable[[Any], Generator[Any, Any, Any]]:
    """Return the orchestrator function of a program, which begins ``log`` anew when it runs."""

    def orchestrator(context: Any) -> Generator[Any, Any, Any]:
        log.seen, log.replaying = [], []
        run = _Run(context, log)
        run.observe(is_fresh=True)
        log.append([context.instance_id, context.parent_instance_id, context.version])
        log.append(context.get_input())
        for step in program:
            kind = step[0]
            if kind == "return":
                return step[1]
            if kind not in ("yield", "again"):
                run.do(step)
                continue
            if kind == "again" and not run.atoms:
                continue
            task = run.build(step[1]) if kind == "yield" else run.atoms[step[1] % len(run.atoms)]
            is_fresh = not task.is_completed
            try:
                log.append((yield task))
            except Exception as error:
                log.append(f"caught: {error}")
                if kind == "yield" and not step[2]:
                    raise
            run.observe(is_fresh)
        return list(log.seen)

    return orchestrator


def async_orchestrator_of(program: Program, log: Log) -> Callable[[Any], Coroutine[Any, Any, Any]]:
    """Return the same as a coroutine function, which awaits where the other yields."""
    function = orchestrator_of(program, log)

    async def orchestrator(context: Any) -> Any:
        code = function(context)
        try:
            task = code.send(None)
            while True:
                try:
                    value = await task
                except Exception as error:
                    task = code.throw(error)
                else:
                    task = code.send(value)
        except StopIteration as stop:
            return stop.value

    return orchestrator
