"""App settings: what ``%Name%`` in a declaration stands for, and the time zone of timers."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Mapping

from soloist.errors import SettingsError

ZONE_VARIABLES = ("WEBSITE_TIME_ZONE", "TZ")
DEFAULT_ZONE = "UTC"

_REFERENCE = re.compile(r"%([^%]+)%")


class SettingMissing(LookupError):
    """A ``%Name%`` names a setting that is not set; the text completes a sentence."""

    def __init__(self, name: str) -> None:
        super().__init__(f"refers to the app setting {name!r}, which is not set")


def with_settings(text: str, environment: Mapping[str, str]) -> str:
    """Return ``text`` with every ``%Name%`` replaced by that setting.

    Raises:
        SettingMissing: one is not set.
    """
    return _REFERENCE.sub(lambda match: _setting(match[1], environment), text)


def time_zone_name(environment: Mapping[str, str]) -> str:
    """Return the IANA name of the zone in which timers are read.

    Raises:
        SettingsError: the setting is not such a name.
    """
    for variable in ZONE_VARIABLES:
        name = environment.get(variable, "").strip().removeprefix(":")
        if name:
            if not _is_zone(name):
                raise SettingsError(
                    f"The setting {variable} is {name!r}, but must be the name of a time zone in the"
                    f" IANA database, like 'America/New_York'{_why_unknown()}."
                )
            return name
    return DEFAULT_ZONE


def _setting(name: str, environment: Mapping[str, str]) -> str:
    if name in environment:
        return environment[name]
    folded = {key.lower(): value for key, value in environment.items()}
    if name.lower() in folded:
        return folded[name.lower()]
    raise SettingMissing(name)


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _why_unknown() -> str:
    if zoneinfo.available_timezones():
        return "; names that Windows uses are not known"
    return "; this machine has no such database, so install the package tzdata"
