"""Tasks: what an orchestrator's code can yield and wait for.

A task that was never yielded was never asked for. The first time a task is yielded, alone or
inside a compound, it is *scheduled*: it gets its id and becomes an action, or opens a wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soloist_worker.replay import Action, Session

RUNNING = 0
SUCCEEDED = 1
FAILED = 2


class Awaiting:
    """What ``await`` asks when an ``async`` orchestrator waits for a task.

    A generator would do; but then a line of this file would stand in every traceback.
    """

    def __init__(self, task: Task) -> None:
        self._task: Task | None = task

    def __iter__(self) -> Awaiting:
        return self

    def __next__(self) -> Task:
        return self.send(None)

    def send(self, value: Any) -> Task:
        """Give out the task, then take its result."""
        task, self._task = self._task, None
        if task is None:
            raise StopIteration(value)
        return task


class Task:
    """Something that happens once. ``result`` is the value, or the exception of a failed task."""

    id: int | str | None = None
    parent: CompoundTask | None = None
    result: Any = None
    is_scheduled = False
    outcome = RUNNING
    expected_type: type | None = None

    def __init__(self, session: Session) -> None:
        self._session = session
        self._parents: list[CompoundTask | RetryTask] = []

    def __await__(self) -> Awaiting:
        return Awaiting(self)

    @property
    def is_completed(self) -> bool:
        """Whether the task has succeeded or failed."""
        return self.outcome != RUNNING

    @property
    def state(self) -> Any:
        """The outcome in the words of the SDK that the app uses."""
        return self._session.surface.states[self.outcome]

    def schedule(self) -> None:
        """Ask the host for what the task stands for, unless that was done before."""
        raise NotImplementedError

    def complete(self, outcome: int, result: Any) -> None:
        """Bring the task to its end and tell the compounds around it."""
        self.outcome = outcome
        self.result = result
        if self._parents:
            parents, self._parents = self._parents, []
            for parent in parents:
                parent.child_completed(self)


class CallTask(Task):
    """A call of an activity, of another orchestrator or of an entity.

    ``action`` is what is asked for, all but its task id.
    """

    def __init__(self, session: Session, action: Action, expected: type | None = None) -> None:
        super().__init__(session)
        self.action = action
        self.expected_type = expected

    def schedule(self) -> None:
        """Make the call."""
        if self.is_scheduled:
            return
        self.is_scheduled = True
        task_id = self.id = self._session.open_task(self)
        self._session.emit({**self.action, "task_id": task_id})

    def again(self) -> CallTask:
        """Return the same call, to be made once more."""
        return CallTask(self._session, self.action, self.expected_type)


class SignalTask(Task):
    """A signal to an entity. It is sent when it is made, and then there is nothing to wait for."""

    is_scheduled = True
    outcome = SUCCEEDED

    def __init__(self, session: Session, action: Action) -> None:
        super().__init__(session)
        session.emit({**action, "task_id": session.take_task_id()})

    def schedule(self) -> None:
        """Do nothing: it was sent."""


class TimerTask(Task):
    """A durable timer."""

    def __init__(self, session: Session, fire_at: datetime) -> None:
        super().__init__(session)
        self.fire_at = fire_at
        self.is_cancelled = False

    def schedule(self) -> None:
        """Create the timer; one that was cancelled before that is cancelled at once."""
        if self.is_scheduled:
            return
        self.is_scheduled = True
        task_id = self.id = self._session.open_task(self)
        fire_at = self.fire_at.isoformat()
        self._session.emit({"type": "CreateTimer", "task_id": task_id, "fire_at": fire_at})
        if self.is_cancelled:
            self._session.cancel_timer(task_id)

    def cancel(self) -> None:
        """Stop waiting for the timer.

        Raises:
            ValueError: it has already fired.
        """
        if self.is_completed:
            raise ValueError("Cannot cancel a completed task.")
        if self.is_cancelled:
            return
        self.is_cancelled = True
        if isinstance(self.id, int):
            self._session.cancel_timer(self.id)


class EventTask(Task):
    """A wait for an external event; its id is the event's name, as the code spells it."""

    def __init__(self, session: Session, name: str, expected: type | None) -> None:
        super().__init__(session)
        self.id: str = name
        self.expected_type = expected

    def schedule(self) -> None:
        """Open the wait."""
        if self.is_scheduled:
            return
        self.is_scheduled = True
        self._session.open_wait(self)


class RetryTask(Task):
    """A call that is made again, after a pause, as long as it fails and attempts are left.

    Every attempt and every pause has a task id of its own.
    """

    id: int = -1

    def __init__(
        self, session: Session, call: CallTask, pause: timedelta, max_attempts: int
    ) -> None:
        super().__init__(session)
        self._call = call
        self._pause = pause
        self._max_attempts = max_attempts
        self._attempts = 1

    def schedule(self) -> None:
        """Make the first attempt."""
        if not self.is_scheduled:
            self.is_scheduled = True
            self._begin(self._call)

    def child_completed(self, child: Task) -> None:
        """Go on after an attempt or a pause."""
        if isinstance(child, TimerTask):
            self._attempts += 1
            self._begin(self._call.again())
        elif child.outcome == SUCCEEDED or self._attempts >= self._max_attempts:
            self.complete(child.outcome, child.result)
        else:
            self._begin(TimerTask(self._session, self._session.clock_at + self._pause))

    def _begin(self, child: Task) -> None:
        child._parents.append(self)
        child.schedule()


class CompoundTask(Task):
    """A task made of tasks. With none it has succeeded from the start, with nothing."""

    id: int = -1

    def __init__(self, session: Session, tasks: Sequence[Task]) -> None:
        super().__init__(session)
        self.children = list(tasks)
        self._pending = set(self.children)
        if not self._pending:
            self.outcome = SUCCEEDED
        for child in self.children:
            child.parent = self
            if child.is_completed and child in self._pending:
                self.child_completed(child)
        if self.outcome == RUNNING:
            for child in self._pending:
                child._parents.append(self)

    def schedule(self) -> None:
        """Schedule the children in order, depth first."""
        for child in self.children:
            child.schedule()
        self.is_scheduled = True

    def child_completed(self, child: Task) -> None:
        """Take note that a child has ended, unless it no longer matters."""
        self._pending.discard(child)
        if self.outcome == RUNNING:
            self._decide(child)

    def _decide(self, child: Task) -> None:
        raise NotImplementedError

    def complete(self, outcome: int, result: Any) -> None:
        """End, and let go of the children that are still under way: they may live long."""
        for child in self._pending:
            if self in child._parents:
                child._parents.remove(self)
        super().complete(outcome, result)


class AllTask(CompoundTask):
    """Succeeds with all results when all have; fails with the first failure."""

    def _decide(self, child: Task) -> None:
        if child.outcome == FAILED:
            self.complete(FAILED, child.result)
        elif not self._pending:
            self.complete(SUCCEEDED, [each.result for each in self.children])


class AnyTask(CompoundTask):
    """Succeeds with the first *task* that ends, even when that one failed."""

    def _decide(self, child: Task) -> None:
        self.complete(SUCCEEDED, child)
