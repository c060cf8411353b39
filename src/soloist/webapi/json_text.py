"""JSON as text: checking what callers send without reading it, and writing what they get.

Payloads stay the text they were: numbers keep their digits, objects their order and doubles.
"""

from __future__ import annotations

import re
from itertools import accumulate

import msgspec

from soloist.errors import InvalidRequest

MAX_NESTING_DEPTH = 200
"""How deep a body's arrays and objects may nest. Every Python reads this much from any stack, so
that what is accepted here can be read by the app."""

INVALID_JSON = "Invalid JSON content"

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_CONSTANT = re.compile(rb"-?\b(?:NaN|Infinity)\b")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def body_text(body: bytes, complaint: str = INVALID_JSON) -> str | None:
    """Return a request's body as the text to be stored, ``None`` when there is none.

    ``complaint`` is what a refusal begins with.

    Raises:
        InvalidRequest: it is not one JSON value in UTF-8, or nests too deep.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if not body:
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{complaint}: it is not UTF-8 (byte {error.start}).") from error
    if nesting_depth(body) > MAX_NESTING_DEPTH:
        raise InvalidRequest(
            f"{complaint}: it nests deeper than {MAX_NESTING_DEPTH} arrays and objects."
        )
    _check_json(body, complaint)
    return text


def _check_json(body: bytes, complaint: str) -> None:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        reason = _lone_surrogate(body) or _no_number(body) or error
        raise InvalidRequest(f"{complaint}: {reason}.") from error
    except RecursionError as error:
        raise InvalidRequest(f"{complaint}: it nests too deep.") from error


def _no_number(body: bytes) -> str | None:
    """Return what is wrong if there is one of the words that Python writes for numbers."""
    found = _CONSTANT.search(_STRING.sub(b'""', body))
    return f"it holds {found[0].decode()}, which the JSON standard does not know" if found else None


def _lone_surrogate(body: bytes) -> str | None:
    """Return what is wrong if half of a surrogate pair stands alone, of which the decoder says
    whatever it meets next."""
    for escape in _ESCAPES.finditer(body):
        if escape["lone"]:
            place = f"\\{escape['lone'].decode()} at byte {escape.start()}"
            return f"it holds a lone surrogate, which is not text ({place})"
    return None


def nesting_depth(body: bytes) -> int:
    """Return how deep brackets nest in JSON text; at least that deep when it is not JSON."""
    if body.count(b"[") + body.count(b"{") <= MAX_NESTING_DEPTH:
        return 0  # it cannot be too deep, and that is all that anybody asks
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def stored_json(text: str | None) -> object:
    """Return what shows a stored payload: its JSON value, or the text itself if it is none."""
    if text is None:
        return None
    try:
        encoded = text.encode()
        if nesting_depth(encoded) > MAX_NESTING_DEPTH:
            return text
        return msgspec.Raw(msgspec.json.format(encoded, indent=-1))
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text


def write_json(value: object) -> bytes:
    """Return ``value`` as compact JSON in UTF-8, always; half a surrogate pair becomes ``?``."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_mended(value))


def _mended(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_mended(name): _mended(each) for name, each in value.items()}
        case list():
            return [_mended(each) for each in value]
    return value
