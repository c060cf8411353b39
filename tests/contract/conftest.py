"""Every test of the contract runs once for each store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.world import World


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A database without any hub."""
    return World(request.param, tmp_path)
