"""``soloist keys``: the secrets that open the app's functions and the management API."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar, Unpack

import click
import msgspec

from soloist.cli.hub import hub_options, opened_store, reports_errors
from soloist.cli.instances import Hub
from soloist.contracts.clock import SystemClock
from soloist.contracts.store import Store
from soloist.core.instances import AccessKey
from soloist.errors import InvalidRequest
from soloist.functions.cabinet import DEFAULT_REFRESH_SECONDS
from soloist.functions.keys import (
    DURABLE_KEY_NAME,
    LASTING_KEYS,
    MAX_VALUE_LENGTH,
    SYSTEM,
    KeyRing,
    checked_name,
    checked_scope,
    checked_value,
    new_key_value,
)

P = ParamSpec("P")
R = TypeVar("R")

MAX_KEYS = 1_000
"""Every call compares the keys that may open its door, so there is an end to them."""

_STANDARD_INPUT = "-"
_SCOPE_WIDTH = 24


def _scope(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    try:
        return checked_scope(text)
    except InvalidRequest as error:
        raise click.BadParameter(str(error)) from error


def _key_arguments(command: Callable[P, R]) -> Callable[P, R]:
    return click.argument("scope", callback=_scope)(click.argument("name")(command))


@click.group()
def keys() -> None:
    """List, set, rotate and remove the hub's access keys.

    SCOPE says what a key opens: master everything, host every function, function:NAME that one
    function, system the webhook that the key is named after. A running host takes up changes
    within seconds.
    """


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@hub_options
@reports_errors
def list_keys(as_json: bool, **hub: Unpack[Hub]) -> None:
    """Print every key with its value. They are made at the first start that enforces keys."""
    found = asyncio.run(_all_keys(**hub))
    if not found:
        text = "The hub has no keys yet: no host has enforced them (see 'start --keys')."
        click.echo(text, err=as_json)
    for key in sorted(found, key=lambda key: (key.scope, key.name)):
        if as_json:
            click.echo(msgspec.json.encode(key))
        else:
            click.echo(f"{key.scope:<{_SCOPE_WIDTH}} {key.name:<{_SCOPE_WIDTH}} {key.value}")


@keys.command("set")
@_key_arguments
@click.argument("value", required=False)
@hub_options
@reports_errors
def set_key(scope: str, name: str, value: str | None, **hub: Unpack[Hub]) -> None:
    """Make a key, or give one that is there another VALUE.

    Without VALUE one is drawn and printed; with '-' it is read from standard input, where neither
    the shell's history nor the list of processes shows it.
    """
    name = checked_name(scope, name)
    is_drawn = value is None
    if value == _STANDARD_INPUT:
        value = sys.stdin.readline(MAX_VALUE_LENGTH + 2).rstrip("\r\n")
    chosen = new_key_value() if value is None else checked_value(value)
    made = asyncio.run(_put(scope, name, chosen, must_exist=False, **hub))
    _tell_changed(made, "is set")
    if is_drawn:
        click.echo(made.value)


@keys.command("rotate")
@_key_arguments
@hub_options
@reports_errors
def rotate_key(scope: str, name: str, **hub: Unpack[Hub]) -> None:
    """Draw a new value for a key and print it; the old one opens nothing any more."""
    made = asyncio.run(_put(scope, name, new_key_value(), must_exist=True, **hub))
    _tell_changed(made, "is rotated")
    click.echo(made.value)


@keys.command("remove")
@_key_arguments
@hub_options
@reports_errors
def remove_key(scope: str, name: str, **hub: Unpack[Hub]) -> None:
    """Remove a key for good. The three that every hub has can only be rotated."""

    async def work() -> AccessKey:
        async with opened_store(**hub) as store:
            key = await _found(store, scope, name)
            if (key.scope, key.name) in LASTING_KEYS:
                raise InvalidRequest(
                    f"Every hub has a {_named(key)}; it cannot be removed. To make its value"
                    f" worthless: soloist keys rotate {key.scope} {key.name}"
                )
            await store.drop_key(key.scope, key.name)
            return key

    _tell_changed(asyncio.run(work()), "is removed")


async def _all_keys(**hub: Unpack[Hub]) -> tuple[AccessKey, ...]:
    async with opened_store(**hub) as store:
        return await store.keys()


async def _put(
    scope: str, name: str, value: str, *, must_exist: bool, **hub: Unpack[Hub]
) -> AccessKey:
    async with opened_store(**hub) as store:
        ring = KeyRing(await store.keys())
        # Scopes and names have no case: one that is there keeps its spelling.
        key = await _found(store, scope, name) if must_exist else ring.find(scope, name)
        if key is None and len(ring.keys) >= MAX_KEYS:
            raise InvalidRequest(
                f"The hub has {len(ring.keys)} keys and takes no more. Remove those that nobody"
                " uses: soloist keys list"
            )
        place = (scope, name) if key is None else (key.scope, key.name)
        made = AccessKey(*place, value, SystemClock().now())
        return await store.put_key(made, replaces=True)


async def _found(store: Store, scope: str, name: str) -> AccessKey:
    ring = KeyRing(await store.keys())
    key = ring.find(scope, name)
    if key is None:
        names = sorted(each.name for each in ring.keys if each.scope.lower() == scope.lower())
        there = f"Of that scope there are: {', '.join(names)}." if names else "It has none at all."
        raise InvalidRequest(f"The hub has no key '{name[:120]}' of the scope {scope}. {there}")
    return key


def _tell_changed(key: AccessKey, what: str) -> None:
    """Say what was done, beside the value that a script may want to read."""
    seconds = f"{DEFAULT_REFRESH_SECONDS:g}"
    text = f"The {_named(key)} {what}; a running host knows within {seconds} s."
    if (key.scope, key.name) == (SYSTEM, DURABLE_KEY_NAME):
        text += " Management links that were handed out before end with it."
    click.echo(text, err=True)


def _named(key: AccessKey) -> str:
    return f"key '{key.name}' of the scope {key.scope}"
