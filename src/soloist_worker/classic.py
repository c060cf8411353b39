"""The classic surface: the orchestration context of ``azure-functions-durable`` 1.x.

Everything here is spelled as that package spells it, so that an app's code cannot tell the
difference. The work is done by :mod:`soloist_worker.replay`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from datetime import date, datetime, timezone
from types import SimpleNamespace
from typing import Any, NoReturn
from uuid import NAMESPACE_OID, NAMESPACE_URL, UUID, uuid5

from soloist_worker.codec import Codec
from soloist_worker.failures import Failure
from soloist_worker.replay import Event, Session
from soloist_worker.tasks import ActivityTask, AllTask, AnyTask, EventTask, Task, TimerTask

_UUID_NAMESPACE = uuid5(NAMESPACE_OID, "9e952958-5e33-4daf-827f-2fa12937b875")
_UUID_CLOCK = "%Y-%m-%dT%H:%M:%S.%fZ"


class ClassicSurface:
    """One orchestrator function, as ``replay`` calls it."""

    def __init__(
        self, function: Callable[..., Any], name: str, codec: Codec, input_type: type | None = None
    ) -> None:
        self.name = name
        self.states = _task_states()
        self.codec = codec
        self.loads = codec.loads
        self._function = function
        self._input_type = input_type

    def begin(self, session: Session, started: Event) -> Any:
        """Call the user's function with a fresh context.

        Raises:
            TypeError: the function is ``async``.
        """
        context = DurableOrchestrationContext(session, started, self.codec, self._input_type)
        code = self._function(context)
        if inspect.iscoroutine(code) or inspect.isasyncgen(code):
            if inspect.iscoroutine(code):
                code.close()
            raise TypeError(
                f"The orchestrator function '{self.name}' is declared 'async def'. Declare it"
                " with 'def' and use 'yield' where it says 'await'."
            )
        return code

    def custom_status(self, status: Any) -> str:
        """Encode the custom status; what counts as false is none at all."""
        return self.codec.dumps(status) if status else "null"

    def task_error(self, task: ActivityTask, details: Failure) -> Exception:
        """Return the one plain exception as which every failed activity appears."""
        return Exception(activity_error_text(task.name, details))


def activity_error_text(name: str, details: Failure) -> str:
    """Return the text in the shape that apps take apart: reason, line break, details as JSON."""
    kind, message = details.get("error_type", ""), details["message"]
    # The double blank after the colon is part of the shape.
    told = f" {kind}: {message}" if kind else message
    detail = {
        "$type": "System.Exception, System.Private.CoreLib",
        "ClassName": "System.Exception",
        "Message": told,
        "Data": None,
        "InnerException": None,
        "HelpURL": None,
        "StackTraceString": details.get("stack_trace", ""),
        "Source": None,
    }
    return f"Activity function '{name}' failed: {told} \n {json.dumps(detail)}"


def input_text(stored: str | None) -> str | None:
    """Return the JSON text that ``get_input`` decodes, given the stored one.

    Clients in Python encode twice (a JSON string whose content is JSON), others once.
    """
    if stored is None:
        return None
    try:
        value = json.loads(stored)
    except ValueError:
        return json.dumps(stored)
    if value is None:
        return None
    if not isinstance(value, str):
        return stored
    try:
        json.loads(value)
    except ValueError:
        return stored
    return value


class DurableOrchestrationContext:
    """What an orchestrator function is called with."""

    def __init__(
        self, session: Session, started: Event, codec: Codec, input_type: type | None
    ) -> None:
        self._session = session
        self._codec = codec
        self._input = input_text(started.get("input"))
        self._input_type = input_type
        self._version: str | None = started.get("version")
        self._uuid_counter = 0
        self._function_context: Any = None

    # What is known.

    @property
    def instance_id(self) -> str:
        """The id of this instance."""
        return self._session.instance_id

    @property
    def parent_instance_id(self) -> str | None:
        """The id of the instance that started this one; there is none yet."""
        return None

    @property
    def version(self) -> str | None:
        """The version that the instance was started with."""
        return self._version

    @property
    def is_replaying(self) -> bool:
        """Whether the code now runs through what it has been through before."""
        return self._session.is_replaying

    @property
    def current_utc_datetime(self) -> datetime:
        """The time at which this episode began, the same in every replay."""
        return self._session.clock_at

    @property
    def will_continue_as_new(self) -> bool:
        """Whether ``continue_as_new`` was called."""
        return self._session.continues_with is not None

    @property
    def custom_status(self) -> Any:
        """The status that the code set last."""
        return self._session.custom_status

    @property
    def function_context(self) -> Any:
        """Attributes that the host adds to the context; none."""
        if self._function_context is None:
            self._function_context = SimpleNamespace()
        return self._function_context

    @property
    def histories(self) -> Any:
        """Not kept: reading the history would cost every step its length."""
        _refuse("histories")

    def get_input(self, expected_type: type | None = None) -> Any:
        """Return the instance's input, decoded."""
        if self._input is None:
            return None
        return self._codec.loads(self._input, expected_type=expected_type or self._input_type)

    def set_custom_status(self, status: Any) -> None:
        """Show a value to whoever asks for the instance's status."""
        self._session.custom_status = status
        self._session.has_set_status = True

    def new_guid(self) -> UUID:
        """Return an id that is the same in every replay."""
        return uuid5(NAMESPACE_URL, self._uuid_name(str(self._session.clock_at)))

    def new_uuid(self) -> str:
        """Return the text of an id that is the same in every replay."""
        name = self._uuid_name(self._session.clock_at.strftime(_UUID_CLOCK))
        return str(uuid5(_UUID_NAMESPACE, name))

    def _uuid_name(self, clock: str) -> str:
        number = self._uuid_counter
        self._uuid_counter = number + 1
        return f"{self._session.instance_id}_{clock}_{number}"

    # What can be asked for.

    def call_activity(
        self, name: Any, input_: Any = None, expected_type: type | None = None
    ) -> Task:
        """Call an activity, given its name or the decorated function."""
        if not isinstance(name, str):
            expected_type = expected_type or _return_type(name)
            name = _activity_name(name)
        text = self._codec.dumps(input_)
        if not name:
            raise ValueError("function_name cannot be empty")
        return ActivityTask(self._session, name, text, expected_type)

    def create_timer(self, fire_at: datetime) -> TimerTask:
        """Wait until a time; one without a zone is taken as UTC."""
        return TimerTask(self._session, _as_utc(fire_at))

    def wait_for_external_event(self, name: str, expected_type: type | None = None) -> Task:
        """Wait for an event that somebody raises under this name, letter case aside."""
        if not name:
            raise ValueError("external_event_name cannot be empty")
        return EventTask(self._session, name, expected_type)

    def task_all(self, activities: Iterable[Task]) -> Task:
        """Wait for all of the tasks; the first failure is raised."""
        return AllTask(self._session, list(activities))

    def task_any(self, activities: Iterable[Task]) -> Task:
        """Wait for the first of the tasks; the result is that task."""
        return AnyTask(self._session, list(activities))

    def continue_as_new(self, input_: Any) -> None:
        """Start over with a new input and an empty history."""
        # Encoded twice like any input that comes from Python code.
        self._session.continue_as_new(json.dumps(self._codec.dumps(input_)))

    # What is not there yet.

    def call_activity_with_retry(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported yet."""
        _refuse("call_activity_with_retry")

    def call_sub_orchestrator(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported yet."""
        _refuse("call_sub_orchestrator")

    def call_sub_orchestrator_with_retry(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported yet."""
        _refuse("call_sub_orchestrator_with_retry")

    def call_http(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported yet."""
        _refuse("call_http")

    def call_entity(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported yet."""
        _refuse("call_entity")

    def signal_entity(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported yet."""
        _refuse("signal_entity")


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(f"{name} is not supported by this version of Soloist")


def _as_utc(when: date) -> datetime:
    if not isinstance(when, date):
        raise ValueError("fireAt: Expected valid datetime object but got ", when)
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day)
    if when.tzinfo is None:
        return when.replace(tzinfo=timezone.utc)
    return when.astimezone(timezone.utc)


def _activity_name(function: Any) -> str:
    """Return the name of a decorated activity, which is the name in Python."""
    declared = getattr(function, "_function", None)
    name, trigger = getattr(declared, "_name", None), getattr(declared, "_trigger", None)
    if not isinstance(name, str) or trigger is None:
        raise ValueError(
            f"call_activity was given {function!r}, which is not a function decorated with"
            " activity_trigger. Give the decorated function, or the activity's name as a string."
        )
    if trigger.type != "activityTrigger":
        raise ValueError(
            f"call_activity was given '{name}', which has a trigger of type '{trigger.type}' but"
            " must be an activity (activityTrigger)."
        )
    return name


def _return_type(function: Any) -> type | None:
    try:
        from azure.durable_functions.models.utils.type_discovery import (
            activity_output_type,
        )
    except ImportError:  # releases before 1.5 do not look at annotations
        return None
    found: type | None = activity_output_type(function)
    return found


def _task_states() -> tuple[Any, ...]:
    """Return the SDK's own states, since user code may compare with them."""
    try:
        from azure.durable_functions.models.Task import TaskState
    except ImportError:
        return (0, 1, 2)
    return (TaskState.RUNNING, TaskState.SUCCEEDED, TaskState.FAILED)
