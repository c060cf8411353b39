"""Versions: which instances a host may run, as host.json's ``versionMatchStrategy`` says.

Learn, "Orchestration versioning in Durable Functions". An instance keeps the version that it was
started with; a host has the app's ``defaultVersion``.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import zip_longest

import msgspec


class MatchStrategy(StrEnum):
    """Which versions a host runs."""

    NONE = "None"
    STRICT = "Strict"
    CURRENT_OR_OLDER = "CurrentOrOlder"


class FailureStrategy(StrEnum):
    """What becomes of an instance that does not match."""

    REJECT = "Reject"
    """It waits for a host of a fitting version."""
    FAIL = "Fail"


class VersionRule(msgspec.Struct, frozen=True, kw_only=True):
    """The version of an app and how instances are held against it."""

    version: str | None = None
    match: MatchStrategy = MatchStrategy.CURRENT_OR_OLDER
    failure: FailureStrategy = FailureStrategy.REJECT

    def admits(self, instance_version: str | None) -> bool:
        """Whether an instance of this version may be run here."""
        match self.match:
            case MatchStrategy.NONE:
                return True
            case MatchStrategy.STRICT:
                return compare_versions(instance_version, self.version) == 0
            case MatchStrategy.CURRENT_OR_OLDER:
                return compare_versions(instance_version, self.version) <= 0


def compare_versions(one: str | None, other: str | None) -> int:
    """Return a number below, at or above zero: whether ``one`` is older than ``other``.

    No version is older than any. Dotted numbers are compared part by part, anything else as text
    without case.
    """
    one, other = one or "", other or ""
    if not one or not other:
        return bool(one) - bool(other)
    numbers, other_numbers = _numbers(one), _numbers(other)
    if numbers is not None and other_numbers is not None:
        for mine, theirs in zip_longest(numbers, other_numbers, fillvalue=0):
            if mine != theirs:
                return -1 if mine < theirs else 1
        return 0
    folded, other_folded = one.casefold(), other.casefold()
    return (folded > other_folded) - (folded < other_folded)


def _numbers(version: str) -> tuple[int, ...] | None:
    parts = version.strip().split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return tuple(int(part) for part in parts)
