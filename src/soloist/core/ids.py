"""Which texts may name an instance."""

from __future__ import annotations

from soloist.errors import InvalidRequest

MAX_INSTANCE_ID_LENGTH = 100

_FORBIDDEN = frozenset("/\\#?")
_DOT_SEGMENTS = (".", "..")


def check_instance_id(instance_id: str, max_length: int = MAX_INSTANCE_ID_LENGTH) -> str:
    """Return ``instance_id`` unchanged, or say why it cannot name an instance.

    Ids are case-sensitive and never normalised. What Durable Functions forbids stays forbidden
    (``/ \\ # ?``, control characters, a leading ``@``, which names entities), so that every id
    survives in a URL path.

    Raises:
        InvalidRequest: with the rule that is broken.
    """
    reason = _objection(instance_id, max_length)
    if reason is not None:
        raise InvalidRequest(f"The instance ID {instance_id[:120]!r} is invalid: {reason}.")
    return instance_id


def _objection(instance_id: str, max_length: int) -> str | None:
    if not instance_id:
        return "it is empty"
    if len(instance_id) > max_length:
        return f"it has {len(instance_id)} characters and at most {max_length} are allowed"
    if instance_id.startswith("@"):
        return "it begins with '@', which is reserved for entities"
    if instance_id in _DOT_SEGMENTS:
        return "'.' and '..' cannot be addressed in a URL"
    for character in instance_id:
        if character in _FORBIDDEN:
            return f"it contains {character!r}"
        code = ord(character)
        if code < 0x20 or 0x7F <= code <= 0x9F:
            return f"it contains the control character U+{code:04X}"
        if 0xD800 <= code <= 0xDFFF:
            return f"it contains the lone surrogate U+{code:04X}"
    return None
