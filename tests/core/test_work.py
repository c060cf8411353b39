"""What a host tells of the functions that it has no worker for."""

from __future__ import annotations

from soloist.core.work import (
    MAX_LACKED,
    MAX_LACKED_NAME,
    Lacks,
    WorkKind,
    lacks_in,
    lacks_of,
    lacks_text,
)

ACTIVITY = WorkKind.ACTIVITY


def test_each_function_is_told_once_in_order() -> None:
    missing = [(ACTIVITY, "b", None), (ACTIVITY, "a", "2"), (ACTIVITY, "a", None)] * 2
    found = lacks_of(3, [*missing, (WorkKind.ENTITY, "e", None)])
    assert found.workers == 3
    assert [(each.name, each.version) for each in found.functions] == [
        ("a", None), ("a", "2"), ("b", None), ("e", None),
    ]  # fmt: skip


def test_what_is_told_is_bounded_and_the_rest_counted() -> None:
    names = [(ACTIVITY, f"f{number}", None) for number in range(100)]
    giant = (ACTIVITY, "g" * (MAX_LACKED_NAME + 1), None)
    found = lacks_of(0, [*names, giant])
    assert (len(found.functions), found.more) == (MAX_LACKED, 101 - MAX_LACKED)
    assert lacks_of(0, [giant]) == Lacks(workers=0, more=1)


def test_it_is_stored_as_text_and_read_again() -> None:
    lacks = lacks_of(1, [(ACTIVITY, "a\0\N{SNOWMAN}", "2")])
    assert lacks_in(lacks_text(lacks)) == lacks
    assert lacks_in(lacks_text(None)) is None
