"""Every test of the contract runs once for each store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.databases import new_database
from tests.contract.world import World


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A database without any hub."""
    if request.param != "postgres":
        yield World(request.param, tmp_path)
        return
    with new_database(request.getfixturevalue("postgres_url")) as url:
        yield World("postgres", tmp_path, url)
