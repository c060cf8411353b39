"""The classic surface: the orchestration context of ``azure-functions-durable`` 1.x.

Everything here is spelled as that package spells it, so that an app's code cannot tell the
difference. The work is done by :mod:`soloist_worker.replay`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from uuid import NAMESPACE_OID, NAMESPACE_URL, UUID, uuid5

from soloist_worker.codec import Codec
from soloist_worker.failures import Failure
from soloist_worker.histories import sdk_history
from soloist_worker.reasons import HTTP_ACTIVITY, error_text
from soloist_worker.replay import Action, Event, HistoryUnread, Session
from soloist_worker.tasks import (
    AllTask,
    AnyTask,
    CallTask,
    EventTask,
    RetryTask,
    SignalTask,
    Task,
    TimerTask,
)

_UUID_NAMESPACE = uuid5(NAMESPACE_OID, "9e952958-5e33-4daf-827f-2fa12937b875")
_UUID_CLOCK = "%Y-%m-%dT%H:%M:%S.%fZ"


class ClassicSurface:
    """One orchestrator function, as ``replay`` calls it."""

    def __init__(
        self, function: Callable[..., Any], name: str, codec: Codec, input_type: type | None = None
    ) -> None:
        self.name = name
        self.states = _task_states()
        self.reads_history = False
        self.codec = codec
        self.loads = codec.loads
        self._function = function
        self._input_type = input_type

    def begin(self, session: Session, started: Event) -> Any:
        """Call the user's function with a fresh context.

        Raises:
            TypeError: the function is an ``async`` generator.
        """
        context = DurableOrchestrationContext(session, started, self.codec, self._input_type)
        code = self._function(context)
        if inspect.isasyncgen(code):
            raise TypeError(
                f"The orchestrator function '{self.name}' is declared 'async def' and has a"
                " 'yield'. Use 'await' where it says 'yield', or declare it with 'def'."
            )
        return code

    def custom_status(self, status: Any) -> str:
        """Encode the custom status; what counts as false is none at all."""
        return self.codec.dumps(status) if status else "null"

    def task_error(self, task: CallTask, details: Failure) -> Exception:
        """Return the one plain exception as which every failed call appears."""
        return Exception(error_text(task.action, details))


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
        self._parent_instance_id: str | None = started.get("parent_instance_id")
        self._uuid_counter = 0
        self._function_context: Any = None
        self._histories: list[Any] | None = None

    @classmethod
    def from_json(cls, json_string: str) -> Any:
        """Return a context of the SDK itself, for whoever tests with one."""
        from azure.durable_functions import DurableOrchestrationContext as Original

        return Original.from_json(json_string)

    # What is known.

    @property
    def instance_id(self) -> str:
        """The id of this instance."""
        return self._session.instance_id

    @property
    def parent_instance_id(self) -> str | None:
        """The id of the instance that started this one as its sub-orchestration."""
        return self._parent_instance_id

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

    @current_utc_datetime.setter
    def current_utc_datetime(self, value: datetime) -> None:
        self._session.clock_at = value

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
    def histories(self) -> list[Any]:
        """All that has happened, this turn's events included, whether or not the code has seen
        them yet."""
        if self._histories is None:
            session = self._session
            if session.history is None:
                session.lacks_history = session.surface.reads_history = True
                raise HistoryUnread("The turn is run again, with the history.")
            self._histories = sdk_history(session.history, session.instance_id)
        return self._histories

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
        return self._activity("call_activity", name, input_, expected_type)

    def call_activity_with_retry(
        self,
        name: Any,
        retry_options: Any,
        input_: Any = None,
        expected_type: type | None = None,
    ) -> Task:
        """Call an activity, again and again while it fails."""
        call = self._activity("call_activity_with_retry", name, input_, expected_type)
        return self._with_retry(call, retry_options)

    def call_sub_orchestrator(
        self,
        name: Any,
        input_: Any = None,
        instance_id: str | None = None,
        version: str | None = None,
        expected_type: type | None = None,
    ) -> Task:
        """Start another orchestrator, and wait until it has ended."""
        method = "call_sub_orchestrator"
        return self._child(method, name, input_, instance_id, version, expected_type)

    def call_sub_orchestrator_with_retry(
        self,
        name: Any,
        retry_options: Any,
        input_: Any = None,
        instance_id: str | None = None,
        version: str | None = None,
        expected_type: type | None = None,
    ) -> Task:
        """Start another orchestrator, again and again while it fails."""
        method = "call_sub_orchestrator_with_retry"
        call = self._child(method, name, input_, instance_id, version, expected_type)
        return self._with_retry(call, retry_options)

    def call_http(
        self,
        method: str,
        uri: str,
        content: Any = None,
        headers: dict[str, str] | None = None,
        token_source: Any = None,
        is_raw_str: bool = False,
    ) -> Task:
        """Make an HTTP request; a string is sent as it is only with ``is_raw_str``."""
        if is_raw_str and not isinstance(content, str):
            raise TypeError(
                f"call_http was given is_raw_str but content of type {type(content).__name__};"
                " leave is_raw_str out, or give a string."
            )
        if content is not None and not is_raw_str:
            content = json.dumps(content)
        request = {"method": method, "uri": uri, "content": content, "headers": headers}
        if token_source:
            request["tokenSource"] = token_source.to_json()
        text = self._codec.dumps(request)
        action = {"type": "ScheduleTask", "name": HTTP_ACTIVITY, "input": text}
        return CallTask(self._session, action)

    def call_entity(
        self,
        entityId: Any,  # noqa: N803  # apps name it
        operationName: str,  # noqa: N803  # apps name it
        operationInput: Any = None,  # noqa: N803  # apps name it
        expected_type: type | None = None,
    ) -> Task:
        """Run an operation of an entity, and wait for its result."""
        action = self._to_entity("CallEntity", entityId, operationName, operationInput)
        return CallTask(self._session, action, expected_type)

    def signal_entity(
        self,
        entityId: Any,  # noqa: N803  # apps name it
        operationName: str,  # noqa: N803  # apps name it
        operationInput: Any = None,  # noqa: N803  # apps name it
        *,
        signal_time: datetime | None = None,
    ) -> Task:
        """Let an entity run an operation, not before ``signal_time``.

        It is sent now, whether the result is yielded or not; whoever yields it goes on at once.
        """
        action = self._to_entity("SignalEntity", entityId, operationName, operationInput)
        if signal_time is not None:
            action["due_at"] = _as_utc(signal_time).isoformat()
        return SignalTask(self._session, action)

    def _activity(self, method: str, name: Any, input_: Any, expected: type | None) -> CallTask:
        if not isinstance(name, str):
            expected = expected or _return_type(name)
            name = _function_name(method, name, "activityTrigger", "activity")
        text = self._codec.dumps(input_)
        if not name:
            raise ValueError("function_name cannot be empty")
        action = {"type": "ScheduleTask", "name": name, "input": text}
        return CallTask(self._session, action, expected)

    def _child(
        self,
        method: str,
        name: Any,
        input_: Any,
        instance_id: str | None,
        version: str | None,
        expected: type | None,
    ) -> CallTask:
        if not isinstance(name, str):
            expected = expected or _return_type(name)
            name = _function_name(method, name, "orchestrationTrigger", "orchestration")
        text = self._input_for_orchestrator(input_)
        if not name:
            raise ValueError("function_name cannot be empty")
        action = {
            "type": "ScheduleSubOrchestration",
            "name": name,
            "input": text,
            "instance_id": instance_id,
            "version": version,
        }
        return CallTask(self._session, action, expected)

    def _with_retry(self, call: CallTask, options: Any) -> Task:
        try:
            pause = timedelta(milliseconds=options.first_retry_interval_in_milliseconds)
            max_attempts = options.max_number_of_attempts
        except AttributeError:
            raise TypeError(
                f"retry_options must be a RetryOptions, not a {type(options).__name__}."
            ) from None
        return RetryTask(self._session, call, pause, max_attempts)

    def _to_entity(self, kind: str, entity_id: Any, operation: str, input_: Any) -> Action:
        if not entity_id:
            raise ValueError("entity_id cannot be empty")
        return {
            "type": kind,
            "entity_id": f"@{entity_id.name.lower()}@{entity_id.key}",
            "operation": operation,
            "input": self._codec.dumps(input_),
        }

    def _input_for_orchestrator(self, input_: Any) -> str:
        """Encoded twice, like any input that comes from Python code."""
        return json.dumps(self._codec.dumps(input_))

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
        self._session.continue_as_new(self._input_for_orchestrator(input_))


def _as_utc(when: date) -> datetime:
    if not isinstance(when, date):
        raise ValueError("fireAt: Expected valid datetime object but got ", when)
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day)
    if when.tzinfo is None:
        return when.replace(tzinfo=timezone.utc)
    return when.astimezone(timezone.utc)


def _function_name(method: str, function: Any, trigger_type: str, kind: str) -> str:
    """Return the name of a decorated function, which is the name in Python."""
    declared = getattr(function, "_function", None)
    name, trigger = getattr(declared, "_name", None), getattr(declared, "_trigger", None)
    if not isinstance(name, str) or trigger is None:
        raise ValueError(
            f"{method} was given {function!r}, which is not a function decorated with"
            f" {kind}_trigger. Give the decorated function, or its name as a string."
        )
    if trigger.type != trigger_type:
        raise ValueError(
            f"{method} was given '{name}', which has a trigger of type '{trigger.type}' but"
            f" must have an {trigger_type}."
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
