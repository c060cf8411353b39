"""Worker processes: which interpreter runs them, and what they see."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from soloist.errors import SettingsError
from soloist.functions.processes import (
    boot_script,
    child_environment,
    find_python,
    venv_warning,
)


def test_the_given_interpreter_outranks_the_apps_own(tmp_path: Path) -> None:
    assert find_python(tmp_path, sys.executable) == sys.executable


def test_an_interpreter_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no-such-python"):
        find_python(tmp_path, "no-such-python")


def test_an_app_with_an_environment_is_run_by_it(tmp_path: Path) -> None:
    place = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    own = tmp_path.joinpath(".venv", *place)
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_python(tmp_path) == str(own)


def test_an_app_without_an_environment_is_run_by_the_hosts(tmp_path: Path) -> None:
    assert find_python(tmp_path) == sys.executable


def test_an_environment_without_an_interpreter_is_warned_of(tmp_path: Path) -> None:
    assert venv_warning(tmp_path) is None
    venv = tmp_path / ".venv"
    venv.mkdir()
    assert find_python(tmp_path) == sys.executable
    warning = venv_warning(tmp_path)
    assert warning is not None
    assert f"{venv} has no " in warning
    assert sys.executable in warning
    own = venv.joinpath(*(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
    own.parent.mkdir()
    own.symlink_to(tmp_path / "removed since")
    assert venv_warning(tmp_path) == warning
    (tmp_path / "removed since").touch()
    assert venv_warning(tmp_path) is None


def test_the_worker_ships_with_its_start_file() -> None:
    assert boot_script().name == "boot.py"


def test_the_apps_root_is_told_and_output_is_not_held_back(tmp_path: Path) -> None:
    seen = child_environment({"A": "1", "AzureWebJobsScriptRoot": "elsewhere"}, tmp_path)
    assert seen == {"A": "1", "AzureWebJobsScriptRoot": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    assert child_environment({"PYTHONUNBUFFERED": ""}, tmp_path)["PYTHONUNBUFFERED"] == ""
