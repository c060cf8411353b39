"""Columns of many rows as arrays, in the wire's binary form.

A group's rows travel as one array a column. psycopg would look at every element for its type and
escape every text; here the type is known, and nothing needs escaping.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.pq import Format

_BOOL, _BIGINT, _TEXT = 16, 20, 25
_BOOLS, _BIGINTS, _TEXTS = 1000, 1016, 1009
_NULL = pack(">i", -1)
_LENGTHS = tuple(pack(">i", length) for length in range(1024))
_FALSE, _TRUE = pack(">i?", 1, False), pack(">i?", 1, True)


class Bigints:
    """An array of ``bigint``."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[int | None]) -> None:
        self.values = values


class Texts:
    """An array of ``text``."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[str | None]) -> None:
        self.values = values


class Bools:
    """An array of ``boolean``."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[bool]) -> None:
        self.values = values


def understand_arrays(connection: AdaptContext) -> None:
    """Let a connection take these arrays as values."""
    for kind, dumper in ((Bigints, _BigintsDumper), (Texts, _TextsDumper), (Bools, _BoolsDumper)):
        connection.adapters.register_dumper(kind, dumper)


def _header(element: int, count: int) -> bytes:
    """One dimension that begins at 1, or none when it is empty; NULLs may occur."""
    if not count:
        return pack(">iii", 0, 0, element)
    return pack(">iiiii", 1, 1, element, count, 1)


class _BigintsDumper(Dumper):
    format = Format.BINARY
    oid = _BIGINTS

    def dump(self, obj: Bigints) -> bytes:
        values = obj.values
        if None in values:
            parts = (_NULL if each is None else pack(">iq", 8, each) for each in values)
            return _header(_BIGINT, len(values)) + b"".join(parts)
        flat: list[int] = []
        for each in values:
            flat += (8, each)  # type: ignore[arg-type]
        return _header(_BIGINT, len(values)) + pack(">" + "iq" * len(values), *flat)


class _TextsDumper(Dumper):
    format = Format.BINARY
    oid = _TEXTS

    def dump(self, obj: Texts) -> bytes:
        parts = [_header(_TEXT, len(obj.values))]
        for each in obj.values:
            if each is None:
                parts.append(_NULL)
                continue
            data = each.encode()
            length = len(data)
            parts.append(_LENGTHS[length] if length < len(_LENGTHS) else pack(">i", length))
            parts.append(data)
        return b"".join(parts)


class _BoolsDumper(Dumper):
    format = Format.BINARY
    oid = _BOOLS

    def dump(self, obj: Bools) -> bytes:
        parts = (_TRUE if each else _FALSE for each in obj.values)
        return _header(_BOOL, len(obj.values)) + b"".join(parts)
