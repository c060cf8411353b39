"""JSON files that people write by hand, read with errors that point to the line."""

from __future__ import annotations

import json
from pathlib import Path

from soloist.errors import SettingsError

_CLOSERS = frozenset("}]")


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        SettingsError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text; save it as UTF-8.") from error


def parse_object(text: str, file: str) -> dict[str, object]:
    """Parse strict JSON whose top is an object.

    Raises:
        SettingsError: it is not; the text names file, line and column, and says what to do about
            comments, trailing commas and byte order marks, which other readers let pass.
    """
    if text.startswith("\ufeff"):
        raise SettingsError(
            f"{file} begins with a byte order mark, which JSON does not allow; save the file as"
            " UTF-8 without BOM."
        )
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(_objection(text, file, error)) from error
    except RecursionError as error:
        raise SettingsError(f"{file} is nested too deeply.") from error
    if not isinstance(value, dict):
        raise SettingsError(f"{file} must hold one JSON object, {{…}}, and nothing else.")
    return value


def without_comments(text: str) -> str:
    """Return ``text`` with comments and trailing commas blanked out; lines and columns stay."""
    out = list(text)
    index, last_comma = 0, -1
    while index < len(text):
        character = text[index]
        end = _end_of_token(text, index)
        if character == "/" and end > index + 1:
            for place in range(index, end):
                if text[place] not in "\r\n":
                    out[place] = " "
        elif character == ",":
            last_comma = index
        elif not character.isspace():
            if character in _CLOSERS and last_comma >= 0:
                out[last_comma] = " "
            last_comma = -1
        index = end
    return "".join(out)


def _end_of_token(text: str, start: int) -> int:
    """Return where the string, comment or single character at ``start`` ends."""
    if text[start] == '"':
        index = start + 1
        while index < len(text) and text[index] != '"':
            index += 2 if text[index] == "\\" else 1
        return min(index + 1, len(text))
    if text.startswith("//", start):
        end = text.find("\n", start)
        return end if end >= 0 else len(text)
    if text.startswith("/*", start):
        end = text.find("*/", start + 2)
        return end + 2 if end >= 0 else len(text)
    return start + 1


def _objection(text: str, file: str, error: json.JSONDecodeError) -> str:
    place = f"{file}, line {error.lineno}, column {error.colno}"
    rest = text[error.pos :].lstrip()
    if rest.startswith(("//", "/*")) or _comment_before(text, error.pos):
        return (
            f"{place}: comments are not JSON. Azure's host lets them pass, but the package"
            " azure-functions-durable reads this file strictly when it is imported and would"
            " fail; remove the comment."
        )
    before = text[: error.pos].rstrip()
    if rest[:1] in _CLOSERS and before.endswith(","):
        return f"{place}: remove the comma before {rest[0]!r}."
    if rest.startswith(",") and rest[1:].lstrip()[:1] in _CLOSERS:  # as Python 3.13 places it
        return f"{place}: remove the trailing comma."
    return f"{place}: this is not valid JSON: {error.msg}."


def _comment_before(text: str, position: int) -> bool:
    """Whether the parser stopped inside a comment that follows a value."""
    line = text[text.rfind("\n", 0, position) + 1 : position].lstrip()
    return line.startswith(("//", "/*"))
