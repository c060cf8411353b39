"""Programs: random orchestrators that run the same under any classic context.

A program is a list of steps, plain data; :func:`orchestrator_of` turns it into a generator
function that keeps a log of everything its code can observe.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
ACTIVITIES = ("Price", "Ship", "price")
EVENTS = ("go", "Go", "stop")

Step = tuple[Any, ...]
Program = list[Step]

_values = st.sampled_from([None, 0, "x", [1], {"a": None}, "5"])

_atoms = st.one_of(
    st.tuples(st.just("activity"), st.sampled_from(ACTIVITIES), _values),
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
    st.tuples(st.just("again"), st.integers(0, 5)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("status"), _values),
)
_ends = st.one_of(
    st.just([]),
    st.tuples(st.tuples(st.just("raise"), st.sampled_from(["bad", ""]))).map(list),
    st.tuples(st.tuples(st.just("return"), st.sampled_from([None, 1, {"k": [2]}, {1}]))).map(list),
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
        self.seen.append(value)


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
        if kind == "activity":
            task = self.context.call_activity(*rest)
        elif kind == "timer":
            task = self.context.create_timer(
                self.context.current_utc_datetime + timedelta(seconds=rest[0])
            )
            self.timers.append(task)
        elif kind == "event":
            task = self.context.wait_for_external_event(rest[0])
        else:
            combine = self.context.task_all if kind == "all" else self.context.task_any
            return combine([self.build(each) for each in rest[0]])
        self.atoms.append(task)
        return task

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


def _plain(value: Any) -> Any:
    """Return a task's result as plain data; a winning task as its place and its result."""
    if hasattr(value, "is_completed"):
        children = value.parent.children
        return {"winner": children.index(value), "state": value.state.name} | {
            "result": _plain(value.result)
        }
    if isinstance(value, Exception):
        return f"exception: {value}"
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def orchestrator_of(program: Program, log: Log) -> Callable[[Any], Generator[Any, Any, Any]]:
    """Return the orchestrator function of a program, which begins ``log`` anew when it runs."""

    def orchestrator(context: Any) -> Generator[Any, Any, Any]:
        log.seen, log.replaying = [], []
        run = _Run(context, log)
        run.observe(is_fresh=True)
        log.append(context.get_input())
        for step in program:
            kind = step[0]
            if kind in ("yield", "again"):
                if kind == "again" and not run.atoms:
                    continue
                task = (
                    run.build(step[1]) if kind == "yield" else run.atoms[step[1] % len(run.atoms)]
                )
                is_fresh = not task.is_completed
                try:
                    log.append(_plain((yield task)))
                except Exception as error:
                    log.append(f"caught: {error}")
                    if kind == "yield" and not step[2]:
                        raise
                run.observe(is_fresh)
            elif kind == "cancel" and run.timers:
                timer = run.timers[step[1] % len(run.timers)]
                try:
                    timer.cancel()
                    log.append(timer.is_cancelled)
                except ValueError as error:
                    log.append(str(error))
            elif kind == "status":
                context.set_custom_status(step[1])
            elif kind == "raise":
                raise ValueError(step[1])
            elif kind == "return":
                return step[1]
            elif kind == "continue":
                context.continue_as_new(step[1])
        return list(log.seen)

    return orchestrator
