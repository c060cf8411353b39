"""Refusals: why a database that answers does not let us in, and what to do about it."""

from __future__ import annotations

import re

import msgspec
import psycopg


class Refusal(msgspec.Struct, frozen=True):
    """What happened, in the server's words, and what helps."""

    what: str
    reason: str
    remedy: str


_LOGIN = "refused the login"
_NO_PASSWORD = (
    _LOGIN,
    "Check the user and the password in the URL (@ is written %40 there, and / is %2F), or"
    " PGPASSWORD and .pgpass.",
)
_NO_LOGIN = (
    _LOGIN,
    "Check the user in the URL, and whether the server's roles and its pg_hba.conf admit that user"
    " from this machine (with sslmode=require, if only over TLS).",
)
_NO_DATABASE = (
    "is not there",
    "Create it (CREATE DATABASE), or name another at the end of the URL.",
)
_NO_RIGHT = (
    "does not give this user the rights that a hub needs",
    "An administrator can: GRANT CONNECT, CREATE ON DATABASE to the user, which is what the first"
    " start needs. If the schema soloist is there and another user's, let this host log in as that"
    " user, or grant it USAGE ON SCHEMA soloist and what is in it.",
)
_FULL = (
    "has no connection to spare",
    "Raise max_connections, close other programs, or put a pooler between (?pooled=true).",
)
_NOT_READY = ("does not take connections at the moment", "Try again in a moment.")

_BY_SQLSTATE = {
    "28P01": _NO_PASSWORD,
    "28000": _NO_LOGIN,
    "3D000": _NO_DATABASE,
    "42501": _NO_RIGHT,
    "53300": _FULL,
    "57P03": _NOT_READY,
}
# An attempt to connect that failed has no SQLSTATE: libpq hands on no more than the text.
_BY_WORDS = (
    (re.compile("password authentication failed|no password supplied"), _NO_PASSWORD),
    (re.compile('role ".*" (does not exist|is not permitted)|no pg_hba.conf entry'), _NO_LOGIN),
    (re.compile("authentication failed for user"), _NO_LOGIN),
    (re.compile('database ".*" does not exist'), _NO_DATABASE),
    (re.compile("permission denied for database"), _NO_RIGHT),
    (re.compile("too many (clients|connections)|remaining connection slots"), _FULL),
    (re.compile("is (starting up|shutting down|not yet accepting|in recovery)"), _NOT_READY),
)


def refusal_of(error: psycopg.Error) -> Refusal | None:
    """Return how a database refused us, ``None`` when it is something else that went wrong."""
    lines = [line.strip().rstrip(".") for line in str(error).splitlines()]
    if error.sqlstate is not None:
        found = _BY_SQLSTATE.get(error.sqlstate)
        return None if found is None else _refusal(found, lines[0] if lines else error.sqlstate)
    # Where a host has several addresses, the text goes on about each of them.
    for line in lines:
        for words, found in _BY_WORDS:
            if words.search(line):
                return _refusal(found, line.rpartition("FATAL:")[2].strip())
    return None


def _refusal(found: tuple[str, str], reason: str) -> Refusal:
    return Refusal(found[0], reason, found[1])
