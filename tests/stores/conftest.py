"""Tests of what only the SQLite store has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A file without any hub."""
    return World("sqlite", tmp_path)
