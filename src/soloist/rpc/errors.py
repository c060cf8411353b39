"""Errors: what a failure's kind is called in gRPC, and how it reaches the caller."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from soloist.errors import InstanceExists, Kind, SoloistError

KIND_KEY = "soloist-kind"
CONFLICT_KEY = "soloist-conflict-bin"
"""Trailing metadata: an error's kind; and the id of the instance that a start ran into, in UTF-8.
By these an app's worker knows a refusal of its host's where it escapes a function."""

CODES = {
    Kind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    Kind.GONE: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Kind.INTERNAL: grpc.StatusCode.INTERNAL,
}
"""What gRPC itself says of a message that is too large is RESOURCE_EXHAUSTED, so payloads too."""

_MAX_TEXT = 2_000
"""A status travels in a header, which may not be long."""


async def refuse(context: Any, error: SoloistError) -> NoReturn:
    """End a call with the status of an error."""
    facts: tuple[tuple[str, str | bytes], ...] = ((KIND_KEY, error.kind.value),)
    if isinstance(error, InstanceExists):
        facts += ((CONFLICT_KEY, error.instance_id.encode("utf-8", "replace")),)
    await end(context, CODES[error.kind], telling(error), facts)


async def end(
    context: Any,
    code: grpc.StatusCode,
    text: str,
    facts: tuple[tuple[str, str | bytes], ...] = (),
) -> NoReturn:
    """End a call with a status; ``facts`` are for programs to read."""
    await context.abort(code, text[:_MAX_TEXT], facts)
    raise AssertionError("abort does not return")


def telling(error: SoloistError) -> str:
    """Return what the caller is to read."""
    if isinstance(error, InstanceExists):
        return (
            f"An orchestration instance with ID '{error.instance_id}' already exists; it is"
            f" {error.status} and was created at {error.created_at}."
        )
    return str(error)
