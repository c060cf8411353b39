"""Route templates as ASP.NET writes them: ``orders/{id:int}/{*rest}``.

A template is a row of segments; a segment is literals and parameters side by side. A segment
whose only part is a literal is matched by its text, one whose only part is a parameter by its
constraints, any other ("mixed") from right to left, each parameter taking what its neighbours
leave; this costs the same for hostile paths as for others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import pairwise

import msgspec

from soloist.functions.constraints import Constraint, ConstraintError, make_constraint

MAX_TEMPLATE_LENGTH = 2000

_BAD_IN_NAME = frozenset("/{}?*")


class TemplateError(ValueError):
    """A template cannot be understood; the text completes "the route … is wrong: …"."""


class Rank(IntEnum):
    """How specific a segment is; the lower rank is preferred."""

    LITERAL = 1
    CONSTRAINED = 2
    PARAMETER = 3
    CONSTRAINED_CATCH_ALL = 4
    CATCH_ALL = 5


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """``{name}`` with what was written behind the name."""

    name: str
    constraints: tuple[Constraint, ...] = ()
    default: str | None = None
    is_optional: bool = False
    is_catch_all: bool = False

    def admits(self, value: str) -> bool:
        """Whether every constraint is content with ``value``."""
        return all(constraint.admits(value) for constraint in self.constraints)


Part = str | Parameter
"""A literal, or a parameter."""


class Segment(msgspec.Struct, frozen=True):
    """What stands between two slashes."""

    parts: tuple[Part, ...]

    @property
    def literal(self) -> str | None:
        """The text of a segment that is nothing but text."""
        (first, *others) = self.parts
        return first if isinstance(first, str) and not others else None

    @property
    def parameter(self) -> Parameter | None:
        """The parameter of a segment that is nothing but one."""
        (first, *others) = self.parts
        return first if isinstance(first, Parameter) and not others else None

    @property
    def rank(self) -> Rank:
        """How specific the segment is."""
        if self.literal is not None:
            return Rank.LITERAL
        parameter = self.parameter
        if parameter is None:
            return Rank.CONSTRAINED
        if parameter.is_catch_all:
            return Rank.CONSTRAINED_CATCH_ALL if parameter.constraints else Rank.CATCH_ALL
        return Rank.CONSTRAINED if parameter.constraints else Rank.PARAMETER

    def match(self, value: str, into: dict[str, str]) -> bool:
        """Match one segment of a path and put its parameters into ``into``."""
        parameter = self.parameter
        if parameter is not None:
            return _take(parameter, value, into)
        literal = self.literal
        if literal is not None:
            return literal.casefold() == value.casefold()
        last = self.parts[-1]
        is_shorter = isinstance(last, Parameter) and last.is_optional
        for parts in (self.parts, self.parts[:-2]) if is_shorter else (self.parts,):
            found: dict[str, str] = {}
            if _match_mixed(parts, value, found):
                into.update(found)
                return True
        return False


class Template(msgspec.Struct, frozen=True):
    """A whole template."""

    text: str
    segments: tuple[Segment, ...]

    @property
    def precedence(self) -> tuple[int, ...]:
        """The key that sorts templates from the most specific to the least."""
        return tuple(segment.rank for segment in self.segments)

    @property
    def shape(self) -> tuple[object, ...]:
        """What two templates have in common when every path that fits one fits the other:
        parameter names and the case of literals are left out."""
        return tuple(
            tuple(
                part.casefold()
                if isinstance(part, str)
                else (
                    tuple(constraint.text for constraint in part.constraints),
                    part.is_optional or part.default is not None,
                    part.is_catch_all,
                )
                for part in segment.parts
            )
            for segment in self.segments
        )

    def match(self, path: Sequence[str]) -> dict[str, str] | None:
        """Match the decoded segments of a path; return its parameters, ``None`` if it differs."""
        values: dict[str, str] = {}
        for index, segment in enumerate(self.segments):
            parameter = segment.parameter
            if parameter is not None and parameter.is_catch_all:
                return self._match_rest(parameter, "/".join(path[index:]), values)
            if index < len(path):
                if not segment.match(path[index], values):
                    return None
            elif not _may_be_absent(parameter, values):
                return None
        return values if len(path) <= len(self.segments) else None

    @staticmethod
    def _match_rest(
        parameter: Parameter, rest: str, values: dict[str, str]
    ) -> dict[str, str] | None:
        if not rest:
            return values if _may_be_absent(parameter, values) else None
        values[parameter.name] = rest
        return values if parameter.admits(rest) else None


def _match_mixed(parts: tuple[Part, ...], value: str, into: dict[str, str]) -> bool:
    """Match parts from right to left: a literal is sought as far right as leaves its right-hand
    parameter a character."""
    folded = value.lower()
    if len(folded) != len(value):
        folded = value  # places in both must agree
    end, waiting = len(value), None
    for index in range(len(parts) - 1, -1, -1):
        part = parts[index]
        if isinstance(part, Parameter):
            waiting = part
            continue
        literal = part.lower()
        start = end - len(literal)
        if index == 0:
            start = 0
        elif waiting is not None:
            start = folded.rfind(literal, 0, end - 1)
        if start < 0 or not folded.startswith(literal, start):
            return False
        if waiting is not None and not _take(waiting, value[start + len(literal) : end], into):
            return False
        end, waiting = start, None
    return end == 0 if waiting is None else _take(waiting, value[:end], into)


def _take(parameter: Parameter, value: str, into: dict[str, str]) -> bool:
    into[parameter.name] = value
    return bool(value) and parameter.admits(value)


def _may_be_absent(parameter: Parameter | None, values: dict[str, str]) -> bool:
    """Whether a path may end before this segment; its default is then the value."""
    if parameter is None:
        return False
    if parameter.default is not None:
        values[parameter.name] = parameter.default
        return True
    return parameter.is_optional or parameter.is_catch_all


def parse_template(text: str) -> Template:
    """Parse a template; slashes at its ends do not count.

    Raises:
        TemplateError: it is malformed.
    """
    if len(text) > MAX_TEMPLATE_LENGTH:
        raise TemplateError(f"it is longer than {MAX_TEMPLATE_LENGTH} characters")
    trimmed = text.strip("/")
    segments = tuple(_parse_segment(each) for each in _split(trimmed)) if trimmed else ()
    _check(segments)
    return Template(text, segments)


def _split(text: str) -> Iterator[str]:
    """Cut at the slashes that are not inside braces."""
    is_inside, start, index = False, 0, 0
    while index < len(text):
        character = text[index]
        if character in "{}" and text[index + 1 : index + 2] == character:
            index += 1  # a doubled brace stands for itself
        elif character in "{}":
            is_inside = character == "{"
        elif character == "/" and not is_inside:
            yield text[start:index]
            start = index + 1
        index += 1
    yield text[start:]


def _parse_segment(text: str) -> Segment:
    if not text:
        raise TemplateError("it has two slashes in a row")
    parts = tuple(_parts(text))
    if len(parts) == 1:
        return Segment(parts)
    for before, after in pairwise(parts):
        if isinstance(before, Parameter) and isinstance(after, Parameter):
            raise TemplateError("two parameters need text between them")
    for index, part in enumerate(parts):
        if isinstance(part, Parameter):
            _check_mixed(part, parts, index)
    return Segment(parts)


def _check_mixed(part: Parameter, parts: tuple[Part, ...], index: int) -> None:
    if part.is_catch_all:
        raise TemplateError(f"the catch-all parameter '{part.name}' must be a segment of its own")
    if part.default is not None:
        raise TemplateError(f"'{part.name}' cannot have a default beside other text")
    if part.is_optional and (index != len(parts) - 1 or parts[index - 1] != "."):
        raise TemplateError(f"the optional parameter '{part.name}' must follow a '.'")


def _parts(text: str) -> Iterator[Part]:
    literal, index = "", 0
    while index < len(text):
        character = text[index]
        if character in "{}" and text[index + 1 : index + 2] == character:
            literal += character
            index += 2
        elif character == "{":
            end = _closing(text, index)
            if literal:
                yield literal
                literal = ""
            yield _parse_parameter(text[index + 1 : end].replace("{{", "{").replace("}}", "}"))
            index = end + 1
        elif character in "}?*":
            raise TemplateError(f"'{character}' stands outside of a parameter")
        else:
            literal += character
            index += 1
    if literal:
        yield literal


def _closing(text: str, start: int) -> int:
    """Return where the parameter that opens at ``start`` closes."""
    index = start + 1
    while index < len(text):
        if text[index] in "{}" and text[index + 1 : index + 2] == text[index]:
            index += 2
            continue
        if text[index] == "}":
            return index
        if text[index] == "{":
            break
        index += 1
    raise TemplateError(f"the brace at {text[start:]!r} is not closed")


def _parse_parameter(text: str) -> Parameter:
    stars = len(text) - len(text.lstrip("*"))
    if stars > 2:
        raise TemplateError(f"'{text}' begins with more than two stars")
    body = text[stars:]
    is_optional = body.endswith("?")
    if is_optional:
        body = body[:-1]
    cut = next((index for index, character in enumerate(body) if character in ":="), len(body))
    name = body[:cut]
    if not name or _BAD_IN_NAME & set(name):
        raise TemplateError(f"'{name}' is no name for a parameter")
    constraints, default = _parse_constraints(body[cut:])
    if is_optional and (default is not None or stars):
        what = "a default" if default is not None else "a star"
        raise TemplateError(f"'{name}' cannot be optional and have {what}")
    return Parameter(
        name=name,
        constraints=constraints,
        default=default,
        is_optional=is_optional,
        is_catch_all=stars > 0,
    )


def _parse_constraints(text: str) -> tuple[tuple[Constraint, ...], str | None]:
    """Read ``:name:name(argument)=default``."""
    constraints: list[Constraint] = []
    while text.startswith(":"):
        cut = next((i for i, c in enumerate(text[1:], 1) if c in ":=("), len(text))
        name, argument, end = text[1:cut], None, cut
        if text[cut : cut + 1] == "(":
            end = _end_of_argument(text, cut)
            argument = text[cut + 1 : end - 1]
        try:
            constraints.append(make_constraint(name, argument))
        except ConstraintError as error:
            raise TemplateError(str(error)) from error
        text = text[end:]
    if text and not text.startswith("="):
        raise TemplateError(f"'{text}' cannot be understood")
    return tuple(constraints), text[1:] if text else None


def _end_of_argument(text: str, start: int) -> int:
    """Return the place after the parenthesis that ends an argument: one before ``:``, ``=`` or
    the end, since a pattern may hold others."""
    index = start
    while (index := text.find(")", index + 1)) >= 0:
        if text[index + 1 : index + 2] in ("", ":", "="):
            return index + 1
    raise TemplateError(f"the parenthesis at {text[start:]!r} is not closed")


def _check(segments: tuple[Segment, ...]) -> None:
    names: set[str] = set()
    for index, segment in enumerate(segments):
        for part in segment.parts:
            if isinstance(part, str):
                continue
            if part.name.casefold() in names:
                raise TemplateError(f"the parameter '{part.name}' appears twice")
            names.add(part.name.casefold())
            if index < len(segments) - 1 and part.is_catch_all:
                raise TemplateError(f"the catch-all parameter '{part.name}' must come last")
