"""Store URLs: which kind of store one names, and what of it people may see.

Nothing here quotes a URL that it refuses: there may be a password in it.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, unquote

from soloist.errors import SettingsError

MEMORY = "memory:"

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")
_FORMS = (
    "Use a path, sqlite:///relative.db, sqlite:////absolute.db,"
    " postgresql://user:password@host:5432/database, or memory:."
)
_OTHER_FORMS = ("sqlite:", MEMORY, ":memory:", "file:")
_CLEARLY_A_PATH = re.compile(r"\.{1,2}[/\\]|/(?!/)|[A-Za-z]:[/\\]")
_LIKE_AN_ADDRESS = re.compile(r"[=@]|:\d+(?:/|$)|^//|^postgres", re.IGNORECASE)
_PORTS = re.compile(r"(?:[^:\[\]]*|\[[^\[\]]*\])(?::(?P<port>\d*))?")
_MAX_PORT = 65_535
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def is_postgres(url: str) -> bool:
    """Whether a URL names a database in PostgreSQL."""
    return url.lower().startswith(_POSTGRES)


def path_of(url: str) -> Path | None:
    """Return the file that a store URL means, ``None`` when it means none.

    Raises:
        SettingsError: it is neither a URL nor a path, or may be meant as either.
    """
    if url == MEMORY or is_postgres(url):
        return None
    if url.startswith(_SQLITE):
        path = unquote(url.removeprefix(_SQLITE))
    elif "://" in url or url.lower().startswith(_OTHER_FORMS):
        raise SettingsError(f"The store's URL is not understood. {_FORMS}")
    elif _LIKE_AN_ADDRESS.search(url) and not _CLEARLY_A_PATH.match(url):
        raise SettingsError(
            "The store looks like the address of a database, but is not written as one. Write"
            " postgresql://user:password@host:5432/database. If a file of that name is meant,"
            " write ./name or sqlite:///name."
        )
    else:
        path = url
    if not path or "\x00" in path:
        raise SettingsError(f"The store's URL is not understood: it names no file. {_FORMS}")
    return Path(path)


def check_postgres(url: str) -> None:
    """See that the address of a database can be read, and in one way only.

    A password in which ``@``, ``/``, ``?`` or ``#`` is not escaped would be cut there, and its
    rest be taken, and shown, as a host or a database.

    Raises:
        SettingsError: it can be read in more than one way, or cannot be an address.
    """
    address, _, query = url.partition("://")[2].partition("?")
    user, at, hosts, rest = _parts(address)
    is_ambiguous = (
        "#" in address
        or "@" in user
        or "@" in rest
        or any("@" in part.partition("=")[0] for part in query.split("&"))
        or (not at and not all(_PORTS.fullmatch(host) for host in hosts.split(",")))
    )
    if is_ambiguous:
        raise SettingsError(
            "The store's URL can be read in more than one way. In the user's name and the"
            " password write @ as %40, / as %2F, ? as %3F and # as %23. A port is a number."
        )
    parameters = parse_qs(query)
    ports = [match["port"] if match else "?" for match in map(_PORTS.fullmatch, hosts.split(","))]
    ports += ",".join(parameters.get("port", ())).split(",")
    if not all(map(_is_port, ports)):
        raise SettingsError(
            f"The store's URL is wrong: a port in it is no number from 1 to {_MAX_PORT}. Write"
            " postgresql://user:password@host:5432/database, and an IPv6 address in brackets."
        )
    if any(mode not in _SSL_MODES for mode in parameters.get("sslmode", ())):
        raise SettingsError(
            f"The store's URL is wrong: sslmode is none of {', '.join(_SSL_MODES)}."
        )


def _is_port(text: str | None) -> bool:
    """Whether a port is one, or left to the default."""
    return not text or (text.isascii() and text.isdecimal() and 1 <= int(text) <= _MAX_PORT)


def shown_url(url: str) -> str:
    """Return a store URL for people, without its password."""
    if not is_postgres(url):
        return url
    scheme, _, address = url.partition("://")
    user, _, hosts, rest = _parts(address.partition("?")[0])
    name = user.partition(":")[0]
    return f"{scheme}://{name}{'@' if name else ''}{hosts}{rest}"


def _parts(address: str) -> tuple[str, str, str, str]:
    """Return the user with the password, the ``@`` if there is one, the hosts, and the rest."""
    authority, slash, rest = address.partition("/")
    user, at, hosts = authority.rpartition("@")
    return user, at, hosts, slash + rest
