"""The inline constraints of ASP.NET route templates: ``{id:int:min(1)}``.

They decide whether a segment's text matches; the value handed to the function stays text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

Test = Callable[[str], bool]

_INT32: Final = (-(2**31), 2**31 - 1)
_INT64: Final = (-(2**63), 2**63 - 1)

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,40}\s*")
_DECIMAL = re.compile(r"\s*[+-]?(?:[0-9][0-9,]{0,60}(?:\.[0-9]{0,60})?|\.[0-9]{1,60})\s*")
_FLOAT = re.compile(
    r"\s*[+-]?(?:(?:[0-9][0-9,]{0,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?"
    r"|Infinity|∞|NaN)\s*",
    re.IGNORECASE,
)
_HEX = r"[0-9a-fA-F]"
_DASHED = rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_GUID = re.compile(rf"\s*(?:{_HEX}{{32}}|{_DASHED}|\{{{_DASHED}\}}|\({_DASHED}\))\s*")
_ALPHA = re.compile(r"[A-Za-z]*")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M%p", " %I:%M %p", " %I:%M:%S%p", " %I:%M:%S %p")
_DATES = ("%Y-%m-%d", "%m-%d-%Y", "%m/%d/%Y", "%Y/%m/%d", "%d %b %Y", "%b %d, %Y")


class Constraint(msgspec.Struct, frozen=True):
    """One constraint as written, and the test it stands for."""

    text: str
    admits: Test


class ConstraintError(ValueError):
    """A constraint is unknown or its arguments are wrong; the text completes a sentence."""


def make_constraint(name: str, argument: str | None) -> Constraint:
    """Return the constraint ``name`` or ``name(argument)``.

    Raises:
        ConstraintError: there is no such constraint.
    """
    text = name if argument is None else f"{name}({argument})"
    folded = name.lower()
    if argument is None and folded in _PLAIN:
        return Constraint(text, _PLAIN[folded])
    if argument is not None and folded in _WITH_ARGUMENT:
        return Constraint(text, _WITH_ARGUMENT[folded](text, argument))
    raise ConstraintError(f"the constraint '{text}' is unknown")


def _whole(low: int, high: int) -> Test:
    return lambda value: _INTEGER.fullmatch(value) is not None and low <= int(value) <= high


def _is_bool(value: str) -> bool:
    return value.strip().lower() in ("true", "false")


def _is_decimal(value: str) -> bool:
    return _DECIMAL.fullmatch(value) is not None


def _is_float(value: str) -> bool:
    return _FLOAT.fullmatch(value) is not None


def _is_datetime(value: str) -> bool:
    text = value.strip()
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return any(_parses(text, date + time) for date in _DATES for time in _TIMES)
    return True


def _parses(text: str, pattern: str) -> bool:
    try:
        datetime.strptime(text, pattern)  # noqa: DTZ007  # only whether it parses counts
    except ValueError:
        return False
    return True


def _numbers(text: str, argument: str, counts: tuple[int, ...]) -> list[int]:
    parts = argument.split(",")
    if len(parts) not in counts or not all(_INTEGER.fullmatch(part) for part in parts):
        raise ConstraintError(f"the arguments of '{text}' must be whole numbers")
    return [int(part) for part in parts]


def _length(text: str, argument: str) -> Test:
    numbers = _numbers(text, argument, (1, 2))
    low, high = numbers[0], numbers[-1]
    return lambda value: low <= len(value) <= high


def _min_length(text: str, argument: str) -> Test:
    (low,) = _numbers(text, argument, (1,))
    return lambda value: len(value) >= low


def _max_length(text: str, argument: str) -> Test:
    (high,) = _numbers(text, argument, (1,))
    return lambda value: len(value) <= high


def _min(text: str, argument: str) -> Test:
    (low,) = _numbers(text, argument, (1,))
    return _whole(low, _INT64[1])


def _max(text: str, argument: str) -> Test:
    (high,) = _numbers(text, argument, (1,))
    return _whole(_INT64[0], high)


def _range(text: str, argument: str) -> Test:
    low, high = _numbers(text, argument, (2,))
    return _whole(low, high)


def _regex(text: str, argument: str) -> Test:
    """Like ASP.NET's: anywhere in the value unless anchored, and without regard to case."""
    try:
        pattern = re.compile(argument, re.IGNORECASE)
    except re.error as error:
        raise ConstraintError(f"the pattern of '{text}' is wrong: {error}") from error
    return lambda value: pattern.search(value) is not None


_PLAIN: Final[dict[str, Test]] = {
    "int": _whole(*_INT32),
    "long": _whole(*_INT64),
    "bool": _is_bool,
    "guid": lambda value: _GUID.fullmatch(value) is not None,
    "datetime": _is_datetime,
    "decimal": _is_decimal,
    "double": _is_float,
    "float": _is_float,
    "alpha": lambda value: _ALPHA.fullmatch(value) is not None,
    "required": lambda value: bool(value),
    "file": lambda value: "." in value.rsplit("/", 1)[-1].rstrip("."),
    "nonfile": lambda value: "." not in value.rsplit("/", 1)[-1].rstrip("."),
}

_WITH_ARGUMENT: Final[dict[str, Callable[[str, str], Test]]] = {
    "length": _length,
    "minlength": _min_length,
    "maxlength": _max_length,
    "min": _min,
    "max": _max,
    "range": _range,
    "regex": _regex,
}
