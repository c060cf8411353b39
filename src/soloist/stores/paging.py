"""Pages of a listing: the bounds of a page and the token that continues it."""

from __future__ import annotations

import binascii
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode

from soloist.core.instances import MAX_PAGE_SIZE, InstanceQuery
from soloist.errors import InvalidRequest

_PREFIX = b"g1:"
_MAX_TOKEN_LENGTH = 64
_MAX_GENERATION = 2**63 - 1
_LAST_CHARACTER = chr(sys.maxunicode)
_FIRST_SURROGATE, _LAST_SURROGATE = 0xD800, 0xDFFF


def token_after(generation: int) -> str:
    """Return the opaque token of the page that follows ``generation``."""
    return urlsafe_b64encode(_PREFIX + str(generation).encode()).decode()


def start_of(query: InstanceQuery) -> int:
    """Check the query's bounds and return the generation after which its page begins.

    Raises:
        InvalidRequest: the page size is out of bounds, or the token is not one of ours.
    """
    if not 1 <= query.page_size <= MAX_PAGE_SIZE:
        raise InvalidRequest(
            f"The page size is {query.page_size}; it must be from 1 to {MAX_PAGE_SIZE}."
        )
    if query.token is None:
        return 0
    generation = _generation_in(query.token)
    if generation is None:
        raise InvalidRequest("The continuation token is not one that this task hub gave out.")
    return generation


def fold_case(name: str) -> str:
    """Return a function name as names are compared: without the case of ASCII letters.

    No more than ASCII, because that is what databases agree on.
    """
    return "".join(chr(ord(each) | 0x20) if "A" <= each <= "Z" else each for each in name)


def end_of_prefix(prefix: str) -> str | None:
    """Return the least text that stands behind every text with that prefix, ``None`` for no end.

    Texts are ordered by their code points, which is also the order of their UTF-8.
    """
    kept = prefix.rstrip(_LAST_CHARACTER)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    if following == _FIRST_SURROGATE:  # no text in UTF-8 has one
        following = _LAST_SURROGATE + 1
    return kept[:-1] + chr(following)


def _generation_in(token: str) -> int | None:
    if len(token) > _MAX_TOKEN_LENGTH:
        return None
    try:
        text = urlsafe_b64decode(token.encode("ascii"))
    except (binascii.Error, ValueError):
        return None
    digits = text.removeprefix(_PREFIX)
    if not text.startswith(_PREFIX) or not digits.isdigit():
        return None
    generation = int(digits)
    return generation if generation <= _MAX_GENERATION else None
