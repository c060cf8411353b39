"""``--task-hub``: what can be the name of a hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from soloist.cli import main


@pytest.mark.parametrize("command", ["start", "serve"])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"),
        ("a/b", "contains '/'"),
        ("a\nb", "contains the control character U+000A"),
        ("x" * 101, "at most 100 are allowed"),
    ],
)
def test_a_name_that_no_hub_can_have_makes_none(
    tmp_path: Path, command: str, name: str, why: str
) -> None:
    store = tmp_path / "hub.db"
    result = CliRunner().invoke(main, [command, "--task-hub", name, "--store", str(store)])
    assert (result.exit_code, why in result.stderr) == (2, True), result.stderr
    assert not store.exists()


def test_an_empty_name_is_not_taken_for_none(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["hosts", "--task-hub", "", "--store", str(tmp_path / "hub.db")]
    )
    assert (result.exit_code, "name is empty" in result.stderr) == (2, True), result.stderr
