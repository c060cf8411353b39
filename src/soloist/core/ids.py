"""Which texts may name a task hub or an instance, and how entities are named among them.

An entity is the instance ``@name@key``. A timer trigger is kept as an entity too; its id
``@@timer@function`` has an empty name, which no entity of an app can have.
"""

from __future__ import annotations

import re

import msgspec

from soloist.errors import InvalidRequest

MAX_INSTANCE_ID_LENGTH = 100
MAX_HUB_NAME_LENGTH = 100

ENTITY_MARK = "@"

TIMER_PREFIX = "@@timer@"
"""What the ids of timer triggers begin with."""
_FORBIDDEN = re.compile(r"[/\\#?]")
_UNPRINTABLE = re.compile(r"[\x00-\x1F\x7F-\x9F\uD800-\uDFFF]")
_FIRST_SURROGATE = 0xD800
_DOT_SEGMENTS = (".", "..")


def hub_name_objection(name: str) -> str | None:
    """Return why a text cannot name a task hub, ``None`` when it can."""
    if not name or name.isspace():
        return "is empty"
    if len(name) > MAX_HUB_NAME_LENGTH:
        return f"has {len(name)} characters, and at most {MAX_HUB_NAME_LENGTH} are allowed"
    if "/" in name:
        return "contains '/'"
    unprintable = _unprintable_in(name)
    return None if unprintable is None else f"contains {unprintable}"


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


class EntityId(msgspec.Struct, frozen=True):
    """An entity's name, always in lower case, and its key, whose case counts."""

    name: str
    key: str

    def __str__(self) -> str:
        return f"{ENTITY_MARK}{self.name}{ENTITY_MARK}{self.key}"


def entity_id(name: str, key: str, max_length: int = MAX_INSTANCE_ID_LENGTH) -> EntityId:
    """Return the id of an entity; its name is folded to lower case.

    Raises:
        InvalidRequest: with the rule that is broken.
    """
    found = EntityId(name.lower(), key)
    text = f"{name}{ENTITY_MARK}{key}"
    reason = "its name is empty" if not name else _objection(text, max_length)
    if reason is None and ENTITY_MARK in name:
        reason = "its name contains '@'"
    if reason is not None:
        raise InvalidRequest(f"The entity ID {str(found)[:120]!r} is invalid: {reason}.")
    return found


def is_entity_id(instance_id: str) -> bool:
    """Whether an instance is an entity (or a timer) rather than an orchestration."""
    return instance_id.startswith(ENTITY_MARK)


def parse_entity_id(instance_id: str) -> EntityId:
    """Return the name and the key in ``@name@key``; a key may hold further ``@``.

    Raises:
        InvalidRequest: it is not of that form.
    """
    name, mark, key = instance_id[1:].partition(ENTITY_MARK)
    if not is_entity_id(instance_id) or not mark or not name:
        raise InvalidRequest(f"The entity ID {instance_id[:120]!r} is not of the form '@name@key'.")
    return EntityId(name.lower(), key)


def check_entity_id(instance_id: str, max_length: int = MAX_INSTANCE_ID_LENGTH) -> EntityId:
    """Return the entity that ``@name@key`` names, or say why it cannot name one.

    Raises:
        InvalidRequest: with the rule that is broken.
    """
    found = parse_entity_id(instance_id)
    return entity_id(found.name, found.key, max_length)


def folded_entity_id(instance_id: str) -> str:
    """Return the text under which an entity is kept; one that names no entity stays as it is."""
    try:
        return str(parse_entity_id(instance_id))
    except InvalidRequest:
        return instance_id


def timer_id(function: str) -> str:
    """Return the id of the entity that keeps a timer trigger."""
    return f"{TIMER_PREFIX}{function}"


def timer_function(instance_id: str) -> str | None:
    """Return the function that a timer's entity stands for, ``None`` for every other id."""
    if not instance_id.startswith(TIMER_PREFIX):
        return None
    return instance_id.removeprefix(TIMER_PREFIX)


def _objection(instance_id: str, max_length: int) -> str | None:
    if not instance_id:
        return "it is empty"
    if instance_id.isspace():
        # Azure's own rule (DurableClient.StartNewAsync: no '@' in front, no / \ # ? and no control
        # characters) lets it pass. In a log, a table or a URL nobody could tell it from none.
        return "it is nothing but white space"
    if len(instance_id) > max_length:
        return f"it has {len(instance_id)} characters and at most {max_length} are allowed"
    if is_entity_id(instance_id):
        return "it begins with '@', which is reserved for entities"
    if instance_id in _DOT_SEGMENTS:
        return "'.' and '..' cannot be addressed in a URL"
    forbidden = _FORBIDDEN.search(instance_id)
    if forbidden is not None:
        return f"it contains {forbidden[0]!r}"
    unprintable = _unprintable_in(instance_id)
    return None if unprintable is None else f"it contains {unprintable}"


def _unprintable_in(text: str) -> str | None:
    """Describe the first character of a text that nobody could read."""
    found = _UNPRINTABLE.search(text)
    if found is None:
        return None
    code = ord(found[0])
    kind = "control character" if code < _FIRST_SURROGATE else "lone surrogate"
    return f"the {kind} U+{code:04X}"
