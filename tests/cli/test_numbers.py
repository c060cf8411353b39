"""Numbers that are none, or too large, are refused by the option that they are for."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from soloist.cli import main


@pytest.mark.parametrize("command", ["start", "serve"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--lease-seconds", "nan"),
        ("--lease-seconds", "inf"),
        ("--lease-seconds", "-1"),
        ("--drain-seconds", "nan"),
        ("--drain-seconds", "inf"),
        ("--drain-seconds", "1e300"),
        ("--drain-seconds", "-1"),
        ("--grpc-port", "99999"),
        ("--grpc-max-message-bytes", "99999999999"),
        ("--max-payload-bytes", "99999999999999999999"),
    ],
)
def test_a_number_out_of_bounds_is_refused(command: str, option: str, value: str) -> None:
    result = CliRunner().invoke(main, [command, option, value])
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.output
    variable = f"SOLOIST_{option.strip('-').replace('-', '_').upper()}"
    again = CliRunner().invoke(main, [command], env={variable: value})
    assert again.exit_code == 2
    assert f"Invalid value for '{variable}'" in again.output


def test_a_port_out_of_bounds_is_refused() -> None:
    for arguments, variables in ((["--port", "99999"], {}), ([], {"SOLOIST_PORT": "99999"})):
        result = CliRunner().invoke(main, ["start", *arguments], env=variables)
        assert result.exit_code == 2
        where = "SOLOIST_PORT" if variables else "--port"
        assert f"Invalid value for '{where}'" in result.output


@pytest.mark.parametrize("at", ["0001-01-01", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59-05"])
def test_a_time_that_no_clock_shows_is_refused(at: str) -> None:
    result = CliRunner().invoke(main, ["instances", "purge", "--created-before", at, "--yes"])
    assert result.exit_code == 2
    assert "Invalid value for '--created-before'" in result.output


@pytest.mark.parametrize(
    "words", [("instances", "purge", "--created-before"), ("entities", "list", "--since")]
)
def test_who_writes_no_time_is_told_of_ages_as_well(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*words, "5q"])
    assert (result.exit_code, "Or an age: 30d, 12h, 5m or 90s." in result.output) == (2, True)
