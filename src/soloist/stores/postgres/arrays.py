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

BOOL, BIGINT, TEXT = 16, 20, 25
_NULL = pack(">i", -1)
_LENGTHS = tuple(pack(">i", length) for length in range(1024))
_FALSE, _TRUE = pack(">i?", 1, False), pack(">i?", 1, True)


class Bigints:
    """An array of ``bigint``."""

    __slots__ = ("values",)
    oid = 1016

    def __init__(self, values: Sequence[int | None]) -> None:
        self.values = values

    def dump(self) -> bytes:
        """Return the binary form."""
        values = self.values
        if _are_null(values):
            return _nulls(BIGINT, len(values))
        if None in values:
            parts = (_NULL if each is None else pack(">iq", 8, each) for each in values)
            return _header(BIGINT, len(values)) + b"".join(parts)
        flat: list[int] = []
        for each in values:
            flat += (8, each)  # type: ignore[arg-type]
        return _header(BIGINT, len(values)) + pack(">" + "iq" * len(values), *flat)


class Texts:
    """An array of ``text``."""

    __slots__ = ("values",)
    oid = 1009

    def __init__(self, values: Sequence[str | None]) -> None:
        self.values = values

    def dump(self) -> bytes:
        """Return the binary form."""
        values = self.values
        if _are_null(values):
            return _nulls(TEXT, len(values))
        parts = [_header(TEXT, len(values))]
        for each in values:
            if each is None:
                parts.append(_NULL)
                continue
            data = each.encode()
            length = len(data)
            parts.append(_LENGTHS[length] if length < len(_LENGTHS) else pack(">i", length))
            parts.append(data)
        return b"".join(parts)


class Bools:
    """An array of ``boolean``."""

    __slots__ = ("values",)
    oid = 1000

    def __init__(self, values: Sequence[bool]) -> None:
        self.values = values

    def dump(self) -> bytes:
        """Return the binary form."""
        parts = (_TRUE if each else _FALSE for each in self.values)
        return _header(BOOL, len(self.values)) + b"".join(parts)


def understand_arrays(connection: AdaptContext) -> None:
    """Let psycopg take these arrays as values."""
    for dumper in (_BigintsDumper, _TextsDumper, _BoolsDumper):
        connection.adapters.register_dumper(dumper.kind, dumper)


def _are_null(values: Sequence[object]) -> bool:
    """Whether a column holds nothing, as most columns of most groups do."""
    return values.count(None) == len(values)


def _nulls(element: int, count: int) -> bytes:
    return _header(element, count) + _NULL * count


def _header(element: int, count: int) -> bytes:
    """One dimension that begins at 1, or none when it is empty; NULLs may occur."""
    if not count:
        return pack(">iii", 0, 0, element)
    return pack(">iiiii", 1, 1, element, count, 1)


class _ArrayDumper(Dumper):
    kind: type[Bigints | Texts | Bools]
    format = Format.BINARY

    def dump(self, obj: Bigints | Texts | Bools) -> bytes:
        return obj.dump()


class _BigintsDumper(_ArrayDumper):
    kind, oid = Bigints, Bigints.oid


class _TextsDumper(_ArrayDumper):
    kind, oid = Texts, Texts.oid


class _BoolsDumper(_ArrayDumper):
    kind, oid = Bools, Bools.oid
