"""The catalogue: the functions of an app, checked once and looked up by name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

import msgspec

from soloist.core.ncrontab import Schedule
from soloist.core.timers import TimerTrigger
from soloist.errors import AppLoadFailed, InvalidRequest
from soloist.functions.appsettings import SettingMissing, time_zone_name, with_settings
from soloist.functions.routes import RouteTable, make_route
from soloist.wire import FunctionDescription

HTTP_TRIGGER = "httpTrigger"
ORCHESTRATION_TRIGGER = "orchestrationTrigger"
ACTIVITY_TRIGGER = "activityTrigger"
ENTITY_TRIGGER = "entityTrigger"
TIMER_TRIGGER = "timerTrigger"

_SUPPORTED_TRIGGERS = frozenset(
    {HTTP_TRIGGER, ORCHESTRATION_TRIGGER, ACTIVITY_TRIGGER, ENTITY_TRIGGER, TIMER_TRIGGER}
)
_SUPPORTED_BINDINGS = _SUPPORTED_TRIGGERS | {"http", "durableClient"}
_AUTH_LEVELS = frozenset({"anonymous", "function", "admin"})
_DEFAULT_AUTH_LEVEL = "function"
_DISABLED = re.compile(r"AzureWebJobs(?:\.|__)(.+?)(?:\.|__)Disabled", re.IGNORECASE)


class FunctionNames:
    """Functions of one kind by the names they are called by; implements
    ``client.Functions``."""

    def __init__(self, functions: Iterable[FunctionDescription]) -> None:
        """Index functions.

        Raises:
            AppLoadFailed: two have the same durable name but for case.
        """
        self._spelling: dict[str, str] = {}
        owners: dict[str, str] = {}
        aliases: dict[str, set[str]] = {}
        for function in functions:
            name = function.durable_name or function.name
            other = owners.setdefault(name.casefold(), function.name)
            if other != function.name:
                raise AppLoadFailed(
                    f"Functions '{other}' and '{function.name}' are both called '{name}'; such"
                    " names are compared without regard to case."
                )
            self._spelling[name.casefold()] = name
            if function.alias:
                aliases.setdefault(function.alias.casefold(), set()).add(name)
        self._names = tuple(self._spelling.values())
        for alias, names in aliases.items():
            if len(names) == 1:
                self._spelling.setdefault(alias, *names)

    def resolve(self, name: str) -> str | None:
        """Return the registered spelling of a name or of an unambiguous Python name."""
        return self._spelling.get(name.casefold())

    def names(self) -> Collection[str]:
        """Return every registered name."""
        return self._names


class HttpFunction(msgspec.Struct, frozen=True, kw_only=True):
    """What the HTTP face must know of a function. ``auth_level`` is lower-case."""

    name: str
    auth_level: str


class Catalogue:
    """The enabled functions of an app.

    ``http`` and ``timers`` are by the functions' names. ``warnings`` tell what was left out.
    """

    def __init__(
        self,
        functions: Iterable[FunctionDescription],
        environment: Mapping[str, str],
        *,
        route_prefix: str = "api",
        skip_unsupported: bool = False,
    ) -> None:
        """Check and index the functions of an app; ``environment`` holds the app's settings.

        Raises:
            AppLoadFailed: a function cannot be hosted, two claim one name or one route, or a
                route or a schedule is wrong. All unsupported functions are named in one error.
            SettingsError: there are timers, and the setting of their time zone is wrong.
        """
        described = tuple(functions)
        _refuse_equal_names(described)
        disabled = _disabled_names(environment)
        hosted, self.warnings = _without_unsupported(described, skip_unsupported)
        self.functions = tuple(
            each for each in hosted if not (each.disabled or each.name.casefold() in disabled)
        )
        self.orchestrators = FunctionNames(self._with_trigger(ORCHESTRATION_TRIGGER))
        self.activities = FunctionNames(self._with_trigger(ACTIVITY_TRIGGER))
        self.entities = FunctionNames(self._with_trigger(ENTITY_TRIGGER))
        self.timers = _timers(tuple(self._with_trigger(TIMER_TRIGGER)), environment)
        self.routes = RouteTable(
            make_route(each.name, route_prefix, each.route, each.methods)
            for each in self._with_trigger(HTTP_TRIGGER)
        )
        self.http = {each.name: _http_function(each) for each in self._with_trigger(HTTP_TRIGGER)}

    def _with_trigger(self, trigger: str) -> Iterable[FunctionDescription]:
        return (each for each in self.functions if each.trigger == trigger)


def _http_function(function: FunctionDescription) -> HttpFunction:
    level = (function.auth_level or _DEFAULT_AUTH_LEVEL).lower()
    if level not in _AUTH_LEVELS:
        raise AppLoadFailed(f"Function '{function.name}': the auth level '{level}' is unknown.")
    return HttpFunction(name=function.name, auth_level=level)


def _timers(
    functions: Collection[FunctionDescription], environment: Mapping[str, str]
) -> dict[str, TimerTrigger]:
    zone = time_zone_name(environment) if functions else ""
    return {
        each.name: TimerTrigger(
            schedule=_schedule(each, environment),
            zone=zone,
            runs_on_startup=each.runs_on_startup,
            # Azure keeps no record of timers that fire more than once a minute; ours costs little.
            is_monitored=each.is_monitored is not False,
        )
        for each in functions
    }


def _schedule(function: FunctionDescription, environment: Mapping[str, str]) -> str:
    if not function.schedule:
        raise AppLoadFailed(f"Function '{function.name}': its timer trigger has no schedule.")
    try:
        text = with_settings(function.schedule, environment).strip()
        Schedule.parse(text)
    except SettingMissing as missing:
        raise AppLoadFailed(
            f"Function '{function.name}': the schedule '{function.schedule}' {missing}."
        ) from missing
    except InvalidRequest as error:
        raise AppLoadFailed(f"Function '{function.name}': {error}") from error
    return text


def _refuse_equal_names(functions: Iterable[FunctionDescription]) -> None:
    seen: dict[str, str] = {}
    for function in functions:
        other = seen.setdefault(function.name.casefold(), function.name)
        if other != function.name:
            raise AppLoadFailed(
                f"Functions '{other}' and '{function.name}' differ in letter case only; rename one"
                " of them."
            )


def _disabled_names(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the functions that app settings disable: ``AzureWebJobs.<name>.Disabled``, with
    double underscores for dots where an environment variable cannot hold them."""
    names: set[str] = set()
    for variable, value in environment.items():
        match = _DISABLED.fullmatch(variable)
        if match is not None and value.strip().lower() in ("true", "1"):
            names.add(match[1].casefold())
    return frozenset(names)


def _without_unsupported(
    functions: tuple[FunctionDescription, ...], is_skipping: bool
) -> tuple[tuple[FunctionDescription, ...], tuple[str, ...]]:
    objections = {each.name: found for each in functions if (found := _objection(each))}
    if objections and not is_skipping:
        listing = "".join(f"\n  - {objection}" for objection in objections.values())
        raise AppLoadFailed(
            f"The app has functions that Soloist cannot host:{listing}\nRemove them, or let the"
            " host leave them out with --skip-unsupported."
        )
    hosted = tuple(each for each in functions if each.name not in objections)
    warnings = tuple(f"{objection}; it is left out." for objection in objections.values())
    return hosted, warnings


def _objection(function: FunctionDescription) -> str | None:
    """Return why a function cannot be hosted, ``None`` when it can."""
    types = [function.trigger, *(binding.type for binding in function.bindings)]
    unsupported = [kind for kind in dict.fromkeys(types) if kind not in _SUPPORTED_BINDINGS]
    if unsupported:
        return f"function '{function.name}' uses {', '.join(unsupported)}"
    if function.trigger not in _SUPPORTED_TRIGGERS:
        return f"function '{function.name}' is triggered by {function.trigger or 'nothing'}"
    return None
