"""``local.settings.json``: app settings for the machine of a developer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from soloist.errors import SettingsError
from soloist.functions.jsontext import parse_object, read_text, without_comments

FILE_NAME = "local.settings.json"

_MAX_PORT = 65535
_RUNTIME = "FUNCTIONS_WORKER_RUNTIME"


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says. ``values`` belong into the app's environment; ``port`` and ``cors``
    are the file's wishes, which a command line outranks."""

    values: tuple[tuple[str, str], ...] = ()
    port: int | None = None
    cors: tuple[str, ...] = ()
    cors_credentials: bool = False
    warnings: tuple[str, ...] = ()


def read_local_settings(app_dir: Path) -> LocalSettings:
    """Read the file; without one there are no local settings.

    Raises:
        SettingsError: it cannot be used; the text says what to change.
    """
    path = app_dir / FILE_NAME
    return parse_local_settings(read_text(path)) if path.is_file() else LocalSettings()


def parse_local_settings(text: str) -> LocalSettings:
    """Read the file's text; comments and trailing commas are let pass, as the Core Tools do.

    Raises:
        SettingsError: see :func:`read_local_settings`.
    """
    top = _folded(parse_object(without_comments(text.removeprefix("\ufeff")), FILE_NAME))
    if top.get("isencrypted") is True:
        raise SettingsError(
            f"{FILE_NAME} is encrypted (IsEncrypted is true) with a key that only the Azure"
            " Functions Core Tools have; run 'func settings decrypt' in the app's folder."
        )
    warnings: list[str] = []
    values = tuple(
        (name, value)
        for name, written in _section(top, "Values").items()
        if (value := _value_text(name, written, warnings)) is not None
    )
    runtime = dict(values).get(_RUNTIME, "python")
    if runtime.lower() != "python":
        warnings.append(
            f"{FILE_NAME}: {_RUNTIME} is {runtime!r}, but only Python apps can be hosted."
        )
    if _section(top, "ConnectionStrings"):
        warnings.append(f"{FILE_NAME}: ConnectionStrings are not used; put them under Values.")
    host = _folded(_section(top, "Host"))
    cors = _origins(host.get("cors"))
    has_credentials = _is_true("Host.CORSCredentials", host.get("corscredentials"))
    if has_credentials and "*" in cors:
        raise SettingsError(
            f"{FILE_NAME}: Host.CORS is '*' while Host.CORSCredentials is true, which would let"
            " any page act for whoever views it; list the origins instead."
        )
    return LocalSettings(
        values=values,
        port=_port(host.get("localhttpport")),
        cors=cors,
        cors_credentials=has_credentials,
        warnings=tuple(warnings),
    )


def merged(environment: Mapping[str, str], settings: LocalSettings) -> dict[str, str]:
    """Return ``environment`` with the file's values added; what is set already stays."""
    return {**dict(settings.values), **environment}


def _folded(section: Mapping[str, object]) -> dict[str, object]:
    return {name.lower(): value for name, value in section.items()}


def _section(parent: Mapping[str, object], name: str) -> dict[str, object]:
    value = parent.get(name.lower())
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(f"{FILE_NAME}: {name} must be an object, {{…}}.")
    return value


def _value_text(name: str, value: object, warnings: list[str]) -> str | None:
    if isinstance(value, str):
        if "\0" in name + value or "=" in name or not name:
            raise SettingsError(f"{FILE_NAME}: Values.{name!r} cannot be an environment variable.")
        return value
    if value is None:
        warnings.append(f"{FILE_NAME}: Values.{name} is null and is left out.")
        return None
    if isinstance(value, dict | list):
        raise SettingsError(
            f"{FILE_NAME}: Values.{name} must be text; write structured values as one string."
        )
    text = str(value).lower() if isinstance(value, bool) else str(value)
    warnings.append(f"{FILE_NAME}: Values.{name} is not text; {text!r} is used.")
    return text


def _port(value: object) -> int | None:
    if value is None:
        return None
    try:
        port = int(str(value))
    except ValueError:
        port = 0
    if isinstance(value, bool) or not 0 < port <= _MAX_PORT:
        raise SettingsError(f"{FILE_NAME}: Host.LocalHttpPort must be a number from 1 to 65535.")
    return port


def _origins(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, str):
        raise SettingsError(
            f"{FILE_NAME}: Host.CORS must be text: origins separated by commas, or '*'."
        )
    # As browsers write them: in lower case, and without a slash at the end.
    origins = (origin.strip().rstrip("/").lower() for origin in value.split(","))
    return tuple(origin for origin in origins if origin)


def _is_true(name: str, value: object) -> bool:
    if isinstance(value, bool) or value is None:
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise SettingsError(f"{FILE_NAME}: {name} must be true or false.")
