"""``host.json``: the app's settings for its host, with their overrides from the environment.

Every documented setting of ``extensions.durableTask`` is in a table below: used, accepted in
silence (it tunes machinery that Soloist does not have), or accepted with a warning (it asks for
something that is not done). Unknown settings are warned about and never stop a host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from soloist.core.ids import hub_name_objection
from soloist.core.policy import StartPolicy
from soloist.core.versions import FailureStrategy, MatchStrategy
from soloist.errors import SettingsError
from soloist.functions.appsettings import SettingMissing, with_settings
from soloist.functions.jsontext import parse_object, read_text
from soloist.functions.responses import is_header

FILE_NAME = "host.json"
DEFAULT_HUB_NAME = "TestHubName"
DEFAULT_ROUTE_PREFIX = "api"
DEFAULT_MAX_ORCHESTRATION_ACTIONS = 100_000
DEFAULT_ASYNC_REQUEST_SLEEP_SECONDS = 30.0
DEFAULT_HSTS_SECONDS = 30 * 86_400

_SITE_VARIABLE = "WEBSITE_SITE_NAME"
_OVERRIDE_PREFIX = "azurefunctionsjobhost__"
_MAX_COUNT = 2**31 - 1
_AZURE_HUB_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{2,44}")
_TIME_SPAN = re.compile(r"(?:(\d{1,8})\.)?(\d{1,2}):([0-5]?\d):([0-5]?\d)(\.\d{1,7})?")


class HostJson(msgspec.Struct, frozen=True, kw_only=True):
    """What the host uses of the file.

    ``None`` means that the file does not say. ``function_timeout_seconds`` and the bounds of
    requests are ``None`` also when the file asks for no limit. ``log_level`` is one of
    ``telemetry.LEVELS``. ``hsts`` is the value of ``Strict-Transport-Security``.
    ``hub_name_source`` is what names the hub, ``None`` where ``hub_name`` is only the default.
    """

    route_prefix: str = DEFAULT_ROUTE_PREFIX
    hub_name: str = DEFAULT_HUB_NAME
    hub_name_source: str | None = None
    default_version: str | None = None
    version_match: MatchStrategy = MatchStrategy.CURRENT_OR_OLDER
    version_failure: FailureStrategy = FailureStrategy.REJECT
    max_concurrent_activity_functions: int | None = None
    max_concurrent_orchestrator_functions: int | None = None
    max_concurrent_entity_functions: int | None = None
    max_entity_operation_batch_size: int | None = None
    max_orchestration_actions: int = DEFAULT_MAX_ORCHESTRATION_ACTIONS
    start_policy: StartPolicy = StartPolicy.FAIL
    use_forwarded_host: bool = False
    use_graceful_shutdown: bool | None = None
    function_timeout_seconds: float | None = None
    async_request_sleep_seconds: float = DEFAULT_ASYNC_REQUEST_SLEEP_SECONDS
    max_concurrent_requests: int | None = None
    max_outstanding_requests: int | None = None
    custom_headers: tuple[tuple[str, str], ...] = ()
    hsts: str | None = None
    log_level: str | None = None
    connection_name: str | None = None
    warnings: tuple[str, ...] = ()


class _Setting(msgspec.Struct, frozen=True):
    """One leaf of the settings: its value, its name as written, and where it was written."""

    value: object
    name: str
    source: str
    environment: Mapping[str, str]

    def wrong(self, expected: str) -> SettingsError:
        return SettingsError(
            f"{self.source}: {self.name} is {self.value!r}, but must be {expected}."
        )


def read_host_json(app_dir: Path, environment: Mapping[str, str]) -> HostJson:
    """Read the file and its overrides; without a file the defaults hold, and a warning says so.

    Raises:
        SettingsError: a value is wrong; the text names the setting, its place and what is
            expected.
    """
    path = app_dir / FILE_NAME
    if path.is_file():
        return parse_host_json(read_text(path), environment)
    found = parse_host_json('{"version": "2.0"}', environment)
    missing = f"{path} does not exist; the defaults are used."
    return msgspec.structs.replace(found, warnings=(missing, *found.warnings))


def parse_host_json(text: str, environment: Mapping[str, str]) -> HostJson:
    """Read the file's text; see :func:`read_host_json`."""
    fields: dict[str, Any] = {}
    warnings: list[str] = []
    settings = {
        key.lower(): _Setting(value, key, FILE_NAME, environment)
        for key, value in _leaves(parse_object(text, FILE_NAME))
    }
    for variable, value in environment.items():
        if variable.lower().startswith(_OVERRIDE_PREFIX):
            key = variable[len(_OVERRIDE_PREFIX) :].replace("__", ".")
            source = f"environment variable {variable}"
            settings[key.lower()] = _Setting(value, key, source, environment)
    fields.update(_response_headers(settings))
    for key, setting in settings.items():
        if key in _USED:
            field, parse = _USED[key]
            fields[field] = parse(setting)
        elif (warning := _remark(key, setting)) is not None:
            warnings.append(warning)
    if "version" not in settings:
        warnings.append(f'{FILE_NAME}: "version": "2.0" is missing.')
    if "hub_name" in fields:
        fields["hub_name_source"] = settings[_HUB_NAME_KEY].source
    elif (site := _site_name(environment)) is not None:
        fields.update(hub_name=site, hub_name_source=f"environment variable {_SITE_VARIABLE}")
    return HostJson(**fields, warnings=tuple(warnings))


def _leaves(section: Mapping[str, object], path: str = "") -> Iterator[tuple[str, object]]:
    for name, value in section.items():
        key = f"{path}{name}"
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{key}.")
        elif value is not None and value != {}:
            yield key, value


# How a value is read.


def _text(setting: _Setting) -> str:
    if not isinstance(setting.value, str):
        raise setting.wrong("text")
    return setting.value


def _flag(setting: _Setting) -> bool:
    if isinstance(setting.value, bool):
        return setting.value
    if isinstance(setting.value, str) and setting.value.lower() in ("true", "false"):
        return setting.value.lower() == "true"
    raise setting.wrong("true or false")


def _count(setting: _Setting) -> int:
    value = setting.value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}", value.strip(), re.ASCII):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MAX_COUNT:
        return value
    raise setting.wrong("a whole number of at least 1")


def _bound(setting: _Setting) -> int | None:
    """Read a count; -1 means no limit."""
    return None if setting.value in (-1, "-1") else _count(setting)


def _milliseconds(setting: _Setting) -> float:
    return _count(setting) / 1000


def _seconds(setting: _Setting) -> float | None:
    """Read a .NET TimeSpan; -1 means no limit."""
    return None if setting.value in (-1, "-1") else _duration(setting)


def _duration(setting: _Setting) -> float:
    match = _TIME_SPAN.fullmatch(setting.value) if isinstance(setting.value, str) else None
    if match is None:
        raise setting.wrong('a duration like "00:05:00" (hours:minutes:seconds)')
    days, hours, minutes, seconds, fraction = match.groups()
    total = ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)
    span = total + float(fraction or 0)
    if span == 0:
        raise setting.wrong("longer than nothing")
    return span


def _route_prefix(setting: _Setting) -> str:
    prefix = _text(setting).strip("/")
    if any(character in prefix for character in "{}?#%\\ "):
        raise setting.wrong('plain path segments like "api", or "" for none')
    return prefix


def _hub_name(setting: _Setting) -> str:
    try:
        name = with_settings(_text(setting), setting.environment)
    except SettingMissing as missing:
        raise SettingsError(f"{setting.source}: {setting.name} {missing}.") from missing
    objection = hub_name_objection(name)
    if objection is not None:
        raise SettingsError(f"{setting.source}: {setting.name}, {name[:120]!r}, {objection}.")
    return name


def _one_of(choices: Mapping[str, object]) -> Callable[[_Setting], object]:
    """Return the reader of a word that stands for something; letter case does not matter."""
    folded = {word.lower(): meaning for word, meaning in choices.items()}

    def read(setting: _Setting) -> object:
        word = _text(setting).strip().lower()
        if word not in folded:
            *words, last = (f'"{each}"' for each in choices)
            raise setting.wrong(f"{', '.join(words)} or {last}")
        return folded[word]

    return read


def _response_headers(settings: dict[str, _Setting]) -> dict[str, object]:
    """Take out the settings of headers that are added to every response, and read them."""
    custom = []
    for key in [key for key in settings if key.startswith(_CUSTOM_HEADERS)]:
        setting = settings.pop(key)
        name, value = setting.name[len(_CUSTOM_HEADERS) :], _text(setting)
        if not is_header(name, value):
            raise setting.wrong("the text of a header whose name has no spaces or colons")
        custom.append((name.lower(), value))
    parts = {
        key: settings.pop(f"{_HSTS}{key}", None)
        for key in ("isenabled", "maxage", "includesubdomains", "preload")
    }
    found: dict[str, object] = {"custom_headers": tuple(custom)} if custom else {}
    if _is_on(parts["isenabled"]):
        age = parts["maxage"]
        value = f"max-age={DEFAULT_HSTS_SECONDS if age is None else _days_or_duration(age)}"
        value += "; includeSubDomains" if _is_on(parts["includesubdomains"]) else ""
        found["hsts"] = value + ("; preload" if _is_on(parts["preload"]) else "")
    return found


def _is_on(setting: _Setting | None) -> bool:
    return setting is not None and _flag(setting)


def _days_or_duration(setting: _Setting) -> int:
    """Read a .NET TimeSpan in whole seconds; a number alone counts days."""
    if re.fullmatch(r"[0-9]{1,5}", str(setting.value), re.ASCII):
        return int(str(setting.value)) * 86_400
    return int(_duration(setting))


def _site_name(environment: Mapping[str, str]) -> str | None:
    """Name the hub after the app, as on Azure; what a hub name cannot hold is left out."""
    name = re.sub(r"[^A-Za-z0-9]", "", environment.get(_SITE_VARIABLE, ""))[:45]
    return name if _AZURE_HUB_NAME.fullmatch(name) else None


# What is known.

_DURABLE: Final = "extensions.durabletask."
_HUB_NAME_KEY: Final = f"{_DURABLE}hubname"
_CUSTOM_HEADERS: Final = "extensions.http.customheaders."
_HSTS: Final = "extensions.http.hsts."

_POLICIES: Final = {"NonRunningStates": StartPolicy.FAIL, "AnyState": StartPolicy.REPLACE}
_LOG_LEVELS: Final = {
    "Trace": "debug",
    "Debug": "debug",
    "Information": "info",
    "Warning": "warning",
    "Error": "error",
    "Critical": "error",
    "None": "error",
}

_USED: Final[dict[str, tuple[str, Callable[[_Setting], object]]]] = {
    "extensions.http.routeprefix": ("route_prefix", _route_prefix),
    "functiontimeout": ("function_timeout_seconds", _seconds),
    "logging.loglevel.default": ("log_level", _one_of(_LOG_LEVELS)),
    "extensions.http.maxconcurrentrequests": ("max_concurrent_requests", _bound),
    "extensions.http.maxoutstandingrequests": ("max_outstanding_requests", _bound),
    _HUB_NAME_KEY: ("hub_name", _hub_name),
    f"{_DURABLE}defaultversion": ("default_version", _text),
    f"{_DURABLE}maxconcurrentactivityfunctions": ("max_concurrent_activity_functions", _count),
    f"{_DURABLE}maxconcurrentorchestratorfunctions": (
        "max_concurrent_orchestrator_functions",
        _count,
    ),
    f"{_DURABLE}maxconcurrententityfunctions": ("max_concurrent_entity_functions", _count),
    f"{_DURABLE}maxorchestrationactions": ("max_orchestration_actions", _count),
    f"{_DURABLE}overridableexistinginstancestates": ("start_policy", _one_of(_POLICIES)),
    f"{_DURABLE}versionmatchstrategy": (
        "version_match",
        _one_of({each.value: each for each in MatchStrategy}),
    ),
    f"{_DURABLE}versionfailurestrategy": (
        "version_failure",
        _one_of({each.value: each for each in FailureStrategy}),
    ),
    f"{_DURABLE}maxentityoperationbatchsize": ("max_entity_operation_batch_size", _count),
    f"{_DURABLE}httpsettings.defaultasyncrequestsleeptimemilliseconds": (
        "async_request_sleep_seconds",
        _milliseconds,
    ),
    f"{_DURABLE}httpsettings.useforwardedhost": ("use_forwarded_host", _flag),
    f"{_DURABLE}usegracefulshutdown": ("use_graceful_shutdown", _flag),
    f"{_DURABLE}storageprovider.connectionname": ("connection_name", _text),
    f"{_DURABLE}storageprovider.connectionstringname": ("connection_name", _text),
}

_SILENT: Final = (
    "aggregator.",
    "concurrency.",
    "extensionbundle.",
    "healthmonitor.",
    "logging.",
    "manageddependency.",
    "retry.",
    "singleton.",
    "telemetrymode",
    "watchdirectories",
    "watchfiles",
    "extensions.http.",
    f"{_DURABLE}storageprovider.",
    f"{_DURABLE}extendedsession",
    f"{_DURABLE}entitymessagereorderwindowinminutes",
    f"{_DURABLE}rollbackentityoperationsonexceptions",
    f"{_DURABLE}throwstatusexceptionsonraiseevent",
    f"{_DURABLE}storeinputsinorchestrationhistory",
    f"{_DURABLE}maxgrpcmessagesizeinbytes",
    f"{_DURABLE}grpchttpclienttimeout",
    f"{_DURABLE}useapplease",
    f"{_DURABLE}localrpcendpointenabled",  # nothing listens for gRPC, whatever it says
)
"""Beginnings of settings that are accepted without a word."""

_WITHOUT_EFFECT: Final = {
    f"{_DURABLE}storageprovider.type": "Soloist's own store is used",
    f"{_DURABLE}tracing.": "tracing is set up by Soloist's own settings",
    f"{_DURABLE}notifications.": "Event Grid notifications are not sent",
    f"{_DURABLE}customlifecyclenotificationhelpertype": "Event Grid notifications are not sent",
    f"{_DURABLE}logreplayevents": "replays are not logged",
}
"""Beginnings of settings that ask for something which is not done, and what is so instead."""


def _remark(key: str, setting: _Setting) -> str | None:
    """Return what to tell the operator about a setting that is not used."""
    if key == "version":
        is_known = setting.value == "2.0"
        return None if is_known else f'{setting.source}: version should be "2.0".'
    for beginning, instead in _WITHOUT_EFFECT.items():
        if key.startswith(beginning):
            return f"{setting.source}: {setting.name} has no effect: {instead}."
    if key.startswith("extensions.") and not key.startswith((_DURABLE, "extensions.http.")):
        return None  # other extensions' settings; their functions are refused, not their settings
    if key.startswith(_SILENT):
        return None
    if key in ("extensions", "extensions.http", _DURABLE.rstrip("."), "logging"):
        raise setting.wrong("an object, {…}")
    return f"{setting.source}: {setting.name} is not a known setting; it has no effect."
