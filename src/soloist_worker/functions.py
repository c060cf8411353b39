"""Functions: one function of an app, what it is bound to and how it is called."""

from __future__ import annotations

import inspect
import os
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

RETURN = "$return"
_DURABLE_NAMES = {
    "orchestrationTrigger": "orchestration",
    "activityTrigger": "activity",
    "entityTrigger": "entity_name",
}
_HANDLES = {
    "orchestrationTrigger": (
        "orchestrator_function",
        "orchestrator",
        "orchestration_trigger",
        "df.Orchestrator.create",
    ),
    "entityTrigger": ("entity_function", "entity", "entity_trigger", "df.Entity.create"),
}
_DIRECTIONS = ("in", "out", "inout")
_TRUE = ("true", "1")

_thread_local = threading.local()


class FunctionUnusable(Exception):
    """A function is declared in a way that cannot work; the message says what to change."""


class InvocationContext:
    """What a function gets as its ``context`` parameter."""

    def __init__(self, function: Function, fencing_token: int | None) -> None:
        self.invocation_id = str(uuid4())
        self.function_name = function.name
        self.function_directory = function.folder
        self.trace_context = SimpleNamespace(
            trace_parent="", trace_state="", attributes={}, Traceparent="", Tracestate=""
        )
        self.retry_context = SimpleNamespace(retry_count=0, max_retry_count=0, exception=None)
        self.thread_local_storage = _thread_local
        self.fencing_token = fencing_token
        """In activities: a number that rises with every start of an instance."""


class Out:
    """An output binding's parameter."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, value: Any) -> None:
        """Give the output its value."""
        self._value = value

    def get(self) -> Any:
        """Return the value given last."""
        return self._value


class Function:
    """One function of the app. ``call`` is what the app registered, wrappers included."""

    def __init__(self, declared: Any, folder: str) -> None:
        trigger = declared.get_trigger()
        self.name: str = declared.get_function_name()
        self.folder = folder
        self.call: Callable[..., Any] = declared.get_user_function()
        self.trigger: str = trigger.type
        self.trigger_name: str = trigger.name
        self.bindings = [
            {"type": each.type, "name": each.name, "direction": _direction(each)}
            for each in declared.get_bindings()
        ]
        self.durable_name = _durable_name(trigger, self.name)
        python_name: str = getattr(declared, "_name", None) or self.call.__name__
        self.alias = python_name if self.durable_name not in (None, python_name) else None
        self.route: str | None = getattr(trigger, "route", None)
        self.methods = [_word(each).upper() for each in getattr(trigger, "methods", None) or ()]
        level = getattr(trigger, "auth_level", None)
        self.auth_level = None if level is None else _word(level).lower()
        self.schedule: str | None = getattr(trigger, "schedule", None)
        self.runs_on_startup = bool(getattr(trigger, "run_on_startup", None))
        self.is_monitored: bool | None = getattr(trigger, "use_monitor", None)
        self.is_disabled = _is_disabled(self.name)
        self.is_async = inspect.iscoroutinefunction(self.call)
        self.client_names = self._names("durableClient")
        self.out_names = [
            each["name"]
            for each in self.bindings
            if each["direction"] != "in" and each["name"] != RETURN
        ]
        self.wants_context = False
        self.context_name = "context"

    def _names(self, kind: str) -> list[str]:
        return [each["name"] for each in self.bindings if each["type"] == kind]

    @property
    def is_durable(self) -> bool:
        """Whether the durable SDK has a part in it."""
        return self.durable_name is not None or bool(self.client_names)

    def describe(self) -> dict[str, Any]:
        """Return the ``FunctionDescription`` for the host."""
        return {
            "name": self.name,
            "trigger": self.trigger,
            "bindings": self.bindings,
            "durable_name": self.durable_name,
            "alias": self.alias,
            "route": self.route,
            "methods": self.methods,
            "auth_level": self.auth_level,
            "disabled": self.is_disabled,
            "schedule": self.schedule,
            "runs_on_startup": self.runs_on_startup,
            "is_monitored": self.is_monitored,
        }

    def arguments(
        self, value: Any, client_binding: str | None, fencing_token: int | None = None
    ) -> dict[str, Any]:
        """Return the keyword arguments of one invocation.

        Raises:
            RuntimeError: a durable client is wanted before the host has said how to reach it.
        """
        arguments = {self.trigger_name: value}
        for name in self.client_names:
            if client_binding is None:
                raise RuntimeError(
                    f"The function '{self.name}' takes a durable client, which the host has not"
                    " described yet."
                )
            arguments[name] = client_binding
        for name in self.out_names:
            arguments[name] = Out()
        if self.wants_context:
            context = InvocationContext(self, fencing_token)
            _thread_local.invocation_id = context.invocation_id
            arguments[self.context_name] = context
        return arguments


def read_function(declared: Any, folder: str, *, is_modern: bool = False) -> Function:
    """Return a function that the app declared. A modern SDK's handles are functions like others;
    of an older one's only the user's function in them is called.

    Raises:
        FunctionUnusable: its parameters do not fit its bindings.
    """
    function = Function(declared, folder)
    if function.trigger in _HANDLES and not is_modern:
        _check_handle(function)
        return function
    _fit_parameters(function)
    return function


def _check_handle(function: Function) -> None:
    """Refuse what could only fail, or do nothing, once it is called."""
    attribute, noun, decorator, maker = _HANDLES[function.trigger]
    user_function = getattr(function.call, attribute, None)
    if user_function is None:
        raise FunctionUnusable(
            f"The {noun} function '{function.name}' was not declared through"
            f" azure-functions-durable 1.x; decorate it with {decorator}, or in a function.json"
            f" app make it with {maker}."
        )
    others = [each["type"] for each in function.bindings if each["name"] != function.trigger_name]
    if others:
        raise FunctionUnusable(
            f"The {noun} function '{function.name}' has more bindings than its trigger:"
            f" {_listing(others)}. It can be given nothing but its context."
        )
    if noun == "entity" and _is_unfinished(user_function):
        raise FunctionUnusable(
            f"The entity function '{function.name}' is declared 'async def' or uses 'yield', and"
            " would never run. Make it a plain function."
        )


def _is_unfinished(call: Callable[..., Any]) -> bool:
    """Whether calling it only begins something that somebody else must carry on."""
    return (
        inspect.iscoroutinefunction(call)
        or inspect.isgeneratorfunction(call)
        or inspect.isasyncgenfunction(call)
    )


def _fit_parameters(function: Function) -> None:
    """Hold the parameters against the bindings, as Azure's worker does when it loads."""
    parameters = _parameters(function.call)
    bound = {each["name"] for each in function.bindings} - {RETURN}
    named = {
        name: each
        for name, each in parameters.items()
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }
    for name, parameter in named.items():
        if name in bound:
            continue
        if name == "context" or _is_context(parameter.annotation):
            function.wants_context = True
            function.context_name = name
            continue
        raise FunctionUnusable(
            f"The function '{function.name}' has a parameter '{name}' that no binding fills."
            f" Its bindings are named: {_listing(bound)}."
        )
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for name in sorted(bound - named.keys()):
        if not takes_all:
            raise FunctionUnusable(
                f"The function '{function.name}' has a binding named '{name}' but no parameter"
                f" of that name. Its parameters are: {_listing(named)}."
            )


def _parameters(call: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    if sys.version_info >= (3, 14):
        # Annotations may name what exists for type checkers only.
        import annotationlib

        signature = inspect.signature(call, annotation_format=annotationlib.Format.FORWARDREF)
    else:
        signature = inspect.signature(call)
    return dict(signature.parameters)


def _is_context(annotation: Any) -> bool:
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return str(name).rpartition(".")[2] == "Context"


def _listing(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)) or "(none)"


def _direction(binding: Any) -> str:
    direction = binding.direction
    return _DIRECTIONS[direction] if isinstance(direction, int) else str(direction).lower()


def _durable_name(trigger: Any, name: str) -> str | None:
    attribute = _DURABLE_NAMES.get(trigger.type)
    if attribute is None:
        return None
    explicit: str | None = getattr(trigger, attribute, None)
    return explicit or name


def _word(value: Any) -> str:
    return str(getattr(value, "value", value))


def _is_disabled(name: str) -> bool:
    """Whether an app setting switches the function off."""
    wanted = {
        f"azurewebjobs.{name}.disabled".lower(),
        f"azurewebjobs__{name}__disabled".lower(),
    }
    return any(
        value.strip().lower() in _TRUE for key, value in os.environ.items() if key.lower() in wanted
    )
