"""Payloads: opaque text with a bound."""

from __future__ import annotations

_MAX_BYTES_PER_CHARACTER = 4


def size_bytes(payload: str) -> int:
    """Return the payload's size in UTF-8."""
    return len(payload) if payload.isascii() else len(payload.encode("utf-8", "surrogatepass"))


def exceeds(payload: str, limit_bytes: int) -> bool:
    """Whether the payload is larger than the limit; cheap for payloads well below it."""
    if len(payload) * _MAX_BYTES_PER_CHARACTER <= limit_bytes:
        return False
    return size_bytes(payload) > limit_bytes


def limit_text(limit_bytes: int) -> str:
    """Name the limit, and where it is set, to whoever exceeded it."""
    return f"the limit of {limit_bytes} bytes (option --max-payload-bytes)"
