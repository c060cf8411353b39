"""Tests of what only one of the databases has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.databases import new_database
from tests.contract.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A file without any hub."""
    return World("sqlite", tmp_path)


@pytest.fixture
def postgres(postgres_url: str, tmp_path: Path) -> Iterator[World]:
    """A database without any hub."""
    with new_database(postgres_url) as url:
        yield World("postgres", tmp_path, url)
