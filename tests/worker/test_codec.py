"""The codec gives what the SDK's own does, in both of the SDK's modes."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import pytest
from azure.functions import _durable_functions as sdk
from hypothesis import example, given
from hypothesis import strategies as st

from tests.worker.hosting import CODEC
from tests.worker.programs import Money

STRICT = "AZURE_FUNCTIONS_DURABLE_STRICT_TYPING"


class Level(IntEnum):
    """A number that is more than a number."""

    HIGH = 3


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just(Level.HIGH)
)
values = st.recursive(
    st.one_of(scalars, st.just(Money(7)), st.just(object())),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each, max_size=3)
    ),
    max_leaves=6,
)


def came_to(work: Callable[[], Any]) -> str:
    try:
        return repr(work())
    except Exception as error:
        return repr(error)


@pytest.fixture(params=["", "1"], ids=["loose", "strict"], scope="module", autouse=True)
def mode(request: pytest.FixtureRequest) -> Any:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(STRICT, request.param)
        yield


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK's advice to its callers
@given(value=values)
@example(value=float("nan"))
@example(value="\ud800")
def test_any_value_is_written_as_the_sdk_writes_it(value: Any) -> None:
    assert came_to(lambda: CODEC.dumps(value)) == came_to(lambda: sdk.df_dumps(value))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@given(text=st.one_of(st.text(), scalars.map(json.dumps), values.map(lambda each: _text(each))))
@example(text='"{"')
@example(text="\ufeff1")
def test_any_text_is_read_as_the_sdk_reads_it(text: str) -> None:
    assert came_to(lambda: CODEC.loads(text)) == came_to(lambda: sdk.df_loads(text))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@given(text=scalars.map(json.dumps), expected=st.sampled_from([int, str, Money]))
def test_a_type_that_is_expected_is_for_the_sdk_to_check(text: str, expected: type) -> None:
    ours = came_to(lambda: CODEC.loads(text, expected_type=expected))
    assert ours == came_to(lambda: sdk.df_loads(text, expected_type=expected))


def _text(value: Any) -> str:
    try:
        return str(sdk.df_dumps(value))
    except Exception:
        return "{not json"
