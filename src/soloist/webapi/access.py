"""Access: how far a caller of the management API is let in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeAlias

import msgspec


class Access(Enum):
    """What a credential opens."""

    NONE = "nothing"
    SCOPED = "the one operation on the one instance that is asked for"
    FULL = "everything"


class AccessRequest(msgspec.Struct, frozen=True):
    """Who asks for what. Headers and query have lower-case names and the first value of each.

    ``operation`` is the route's, ``None`` for a path or verb that is not served;
    ``instance_id`` is decoded, ``None`` where the path names no instance.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str]
    operation: str | None = None
    instance_id: str | None = None


Authorise: TypeAlias = Callable[[AccessRequest], Access]
"""Judges one call; asked before anything else about it is told."""
