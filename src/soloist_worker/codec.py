"""The codec: how payloads become JSON text and back, in the way of the SDK that the app uses."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

_SCALARS = frozenset((str, int, float, bool, type(None)))

Loads = Callable[..., Any]
Dumps = Callable[[Any], str]


class Codec(NamedTuple):
    """``loads(text, expected_type=None)`` and ``dumps(value)``."""

    loads: Loads
    dumps: Dumps


def _plain_loads(text: str, expected_type: type | None = None) -> Any:
    return json.loads(text)


PLAIN = Codec(_plain_loads, json.dumps)


def find_codec() -> Codec:
    """Return the codec of the installed ``azure-functions``; plain JSON when there is none."""
    try:
        from azure.functions import _durable_functions as sdk
    except ImportError:
        return PLAIN
    loads = getattr(sdk, "df_loads", None)
    dumps = getattr(sdk, "df_dumps", None)
    if loads is None or dumps is None:
        return _hooked(sdk)
    with _hushed():
        loads("null")
    return _spared(Codec(loads, dumps))


@contextmanager
def _hushed() -> Iterator[None]:
    """Let the SDK give its one notice about missing types to nobody: it is addressed to the
    caller, and we are the caller."""
    log = logging.getLogger("azure.functions.DurableFunctions")
    was_disabled, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = was_disabled


def _spared(sdk: Codec) -> Codec:
    """Return the codec that asks the SDK's only about what may hold an object: anything else is
    plain JSON to it as well, which it reads and writes several times more slowly."""

    def loads(text: str, expected_type: type | None = None) -> Any:
        if expected_type is None and "{" not in text:
            return json.loads(text)
        return sdk.loads(text, expected_type)

    def dumps(value: Any) -> str:
        return json.dumps(value) if type(value) in _SCALARS else sdk.dumps(value)

    return Codec(loads, dumps)


def modern_codec() -> Codec:
    """Return the codec of activities on ``azure-functions-durable`` 2.x: the converter that it has
    registered, which may hand out and take references to payloads kept elsewhere."""
    from azure.functions import meta

    registry: Any = meta.get_binding_registry  # which the SDK gives no type
    converter = registry().get("activityTrigger")

    def loads(text: str, expected_type: type | None = None) -> Any:
        return converter.decode(meta.Datum(type="json", value=text), trigger_metadata=None)

    def dumps(value: Any) -> str:
        text: str = converter.encode(value, expected_type=None).value
        return text

    return Codec(loads, dumps)


def _hooked(sdk: Any) -> Codec:
    """Releases of ``azure-functions`` before 1.26 have only the two JSON hooks."""
    decode, encode = sdk._deserialize_custom_object, sdk._serialize_custom_object

    def loads(text: str, expected_type: type | None = None) -> Any:
        return json.loads(text, object_hook=decode)

    def dumps(value: Any) -> str:
        return json.dumps(value, default=encode)

    return Codec(loads, dumps)
