"""HTTP responses as they leave the host: what a function answered, made safe to send."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from urllib.parse import quote

import msgspec
from starlette.types import Send

from soloist.wire import HttpDone

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")
CONNECTION_HEADERS = frozenset(
    {"content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "trailer"}
)
"""Whoever sends a message sets these, not who composes it."""

_WITHOUT_BODY = frozenset({204, 304})
_URL_SAFE = "!#$%&'()*+,/:;=?@[]~-._"

RawHeaders = list[tuple[bytes, bytes]]


class Answer(msgspec.Struct, frozen=True):
    """One response, ready to be sent but for its length."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def plain(status: int, text: str = "", *headers: tuple[str, str]) -> Answer:
    """Return a response with a line of text, or with nothing."""
    if not text:
        return Answer(status, headers)
    kind = ("content-type", "text/plain; charset=utf-8")
    return Answer(status, (kind, *headers), text.encode())


def answer_of(done: HttpDone) -> Answer:
    """Return a function's response.

    Raises:
        ValueError: its status or its body cannot be sent.
    """
    if not 200 <= done.status <= 599:
        raise ValueError(f"the status {done.status} is not one from 200 to 599")
    body = binascii.a2b_base64(done.body) if done.body else b""
    return Answer(done.status, done.headers, body)


async def send_answer(send: Send, answer: Answer, *, is_head: bool = False) -> None:
    """Send a response; to HEAD without its body, though with the length it would have had."""
    has_body = answer.status not in _WITHOUT_BODY
    headers = safe_headers(answer.headers)
    if has_body:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = answer.body if has_body and not is_head else b""
    await send({"type": "http.response.body", "body": body})


def is_header(name: str, value: str) -> bool:
    """Whether a header can be sent as it is."""
    is_plain = value.isascii() and _CONTROLS.search(value) is None
    return is_plain and _NAME.fullmatch(name) is not None and name.lower() not in CONNECTION_HEADERS


def safe_headers(headers: Iterable[tuple[str, str]]) -> RawHeaders:
    """Return headers that no value can break out of.

    Names that are none and headers that belong to the connection are dropped, control characters
    become spaces, and in ``Location`` whatever a URL cannot hold is percent-encoded (the SDK
    pastes instance ids into it as they are).
    """
    raw: RawHeaders = []
    for name, value in headers:
        folded = name.lower()
        if _NAME.fullmatch(name) is None or folded in CONNECTION_HEADERS:
            continue
        if folded == "location":
            value = quote(value, safe=_URL_SAFE)
        clean = _CONTROLS.sub(" ", value).strip()
        try:
            encoded = clean.encode("latin-1")
        except UnicodeEncodeError:
            encoded = clean.encode("utf-8", "replace")
        raw.append((folded.encode("ascii"), encoded))
    return raw
