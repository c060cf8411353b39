"""Migrations: numbered SQL files that bring a database to the newest schema.

A file is called ``NNNN_what_it_does.sql``, counting from 0001 without gaps. A file once released
is never changed. Which were applied stands in the table ``schema_migrations``, which the first
file creates.
"""

from __future__ import annotations

import re
from importlib.resources import files

import msgspec

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema."""

    version: int
    name: str
    sql: str


def load(package: str) -> tuple[Migration, ...]:
    """Return the migrations in the folder ``migrations`` of ``package``, in order."""
    found = []
    for file in files(package).joinpath("migrations").iterdir():
        match = _FILE_NAME.fullmatch(file.name)
        if match is not None:
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    found.sort(key=lambda each: each.version)
    assert [each.version for each in found] == list(range(1, len(found) + 1)), "gapless from 1"
    return tuple(found)
