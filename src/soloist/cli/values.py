"""How values typed on the command line are read, and times are written."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from click.core import ParameterSource

from soloist.contracts.clock import SystemClock
from soloist.core.ids import hub_name_objection
from soloist.core.status import RuntimeStatus
from soloist.errors import InvalidRequest
from soloist.webapi.json_text import body_text

_AGE = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SHOWN_CHARACTERS = 80
_FIRST_YEAR = 1970


class Seconds(click.FloatRange):
    """A span of time in seconds, between two bounds."""

    name = "seconds"

    def __init__(self, least: float, most: float) -> None:
        super().__init__(min=least, max=most)

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Read a number; "nan" is one to Python, and within all bounds."""
        seconds: float = super().convert(value, parameter, context)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds.", parameter, context)
        return seconds


class SettableCommand(click.Command):
    """A command whose options may stand in the environment; an error in one says which variable."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options."""
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            parameter = error.param
            if parameter is not None and parameter.name is not None:
                source = ctx.get_parameter_source(parameter.name)
                if source is ParameterSource.ENVIRONMENT:
                    error.param_hint = f"'{_variable(parameter, ctx)}'"
            raise


def _variable(parameter: click.Parameter, context: click.Context) -> str:
    given = parameter.envvar
    return (
        given
        if isinstance(given, str)
        else f"{context.auto_envvar_prefix}_{parameter.name}".upper()
    )


DRAIN_SECONDS = Seconds(0, 30 * 86_400)
LEASE_SECONDS = Seconds(0.5, 3600)
PORT = click.IntRange(0, 65535)
PAYLOAD_BYTES = click.IntRange(1024, 2**30)
"""What a database takes in one field."""


def status(text: str) -> RuntimeStatus:
    """Return the runtime status of that name, in any case.

    Raises:
        click.BadParameter: there is none; the text names those there are.
    """
    for each in RuntimeStatus:
        if each.value.lower() == text.lower():
            return each
    names = ", ".join(RuntimeStatus)
    raise click.BadParameter(f"'{text}' is no runtime status; there are {names}.")


def checked_json(payload: str | None) -> str | None:
    """Return ``payload``, if it is JSON.

    Raises:
        click.BadParameter: it is not; the text says what a shell makes of quotes.
    """
    if payload is None:
        return None
    shown_payload = repr(payload[:_SHOWN_CHARACTERS])
    try:
        text = body_text(payload.encode("utf-8", "surrogatepass"), f"{shown_payload} is not JSON")
    except InvalidRequest as error:
        raise click.BadParameter(f"{error} A text needs quotes of its own: '\"text\"'.") from error
    if text is None:
        raise click.BadParameter("An empty text is not JSON. Leave the option away instead.")
    return text


def hub_name(_context: click.Context, _parameter: click.Parameter, name: str | None) -> str | None:
    """Read the name of a task hub that may have to be made: a callback of options."""
    objection = None if name is None else hub_name_objection(name)
    if objection is not None:
        raise click.BadParameter(f"The hub's name {objection}.")
    return name


def known_hub_name(
    _context: click.Context, _parameter: click.Parameter, name: str | None
) -> str | None:
    """Read the name of a task hub that must be there: a callback of options."""
    if name == "":
        raise click.BadParameter("The hub's name is empty. Leave the option away instead.")
    return name


def given_id(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """Read the id of an instance that is to be started: a callback of options."""
    if text == "":  # of a variable that is not set; the hub would draw a new id each time
        raise click.BadParameter("The id is empty. Leave the option away for a new one.")
    return text


def moment(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> datetime | None:
    """Read a time: a callback of options. Without an offset it is in UTC."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text[:_SHOWN_CHARACTERS]!r} is no time. Write 2026-01-31 or 2026-01-31T12:00:00Z."
        ) from None
    if at.year < _FIRST_YEAR:
        raise click.BadParameter(f"Times begin in {_FIRST_YEAR}, and {text} is before that.")
    return at


def moment_or_age(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> datetime | None:
    """Read a time, or an age such as ``30d``, ``12h`` or ``90s``: a callback of options."""
    age = _AGE.fullmatch(text) if text is not None else None
    if age is None:
        try:
            return moment(context, parameter, text)
        except click.BadParameter as error:
            raise click.BadParameter(f"{error.message} Or an age: 30d, 12h, 5m or 90s.") from None
    try:
        return SystemClock().now() - timedelta(**{_UNITS[age[2]]: int(age[1])})
    except OverflowError:
        raise click.BadParameter(f"Nothing is as old as {text}.") from None


def shown(at: datetime) -> str:
    """Write a time."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
