"""Checks: what a caller may write."""

from __future__ import annotations

from soloist.core.ids import is_entity_id, timer_function
from soloist.core.payloads import exceeds, size_bytes
from soloist.errors import InstanceNotFound, InvalidRequest, PayloadTooLarge

DEFAULT_MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
MAX_NAME_LENGTH = 200


def checked_text(what: str, text: str) -> str:
    """Return ``text``, or refuse halves of surrogate pairs, which no database can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{what} holds a lone surrogate, which is not text.") from error
    return text


def checked_name(what: str, name: str, *, may_be_empty: bool = False) -> str:
    """Return the name of a function, an event or an operation, or say what is wrong with it."""
    if len(name) > MAX_NAME_LENGTH or not (name or may_be_empty):
        least = 0 if may_be_empty else 1
        raise InvalidRequest(f"{what} has {least} to {MAX_NAME_LENGTH} characters.")
    return checked_text(what, name)


def bounded(what: str, payload: str | None, limit_bytes: int) -> str | None:
    """Return a payload, or refuse one that is too large."""
    if payload is None:
        return None
    if exceeds(payload, limit_bytes):
        raise PayloadTooLarge(what, size_bytes(payload), limit_bytes)
    return checked_text(what, payload)


def checked_orchestration(instance_id: str, verb: str) -> str:
    """Return an id that names no entity, or say that such a thing cannot be done to one."""
    checked_text("The instance ID", instance_id)
    if timer_function(instance_id) is not None:
        raise InstanceNotFound(instance_id)
    if is_entity_id(instance_id):
        raise InvalidRequest(
            f"'{instance_id[:120]}' is an entity, and an entity cannot be {verb}: signal it, read"
            " its state or delete it."
        )
    return instance_id
