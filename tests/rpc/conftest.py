"""Hubs that tests of the gRPC door speak to: a real ``soloist serve``, on each kind of store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from durabletask.client import TaskHubGrpcClient

from proofs.hubs import HubProcess
from tests.contract.databases import new_database
from tests.rpc.sdk import new_client


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HubProcess]:
    """A hub for the tests of one module."""
    if request.param == "sqlite":
        yield from _served(tmp_path_factory.mktemp("hub") / "hub.db")
    else:
        with new_database(request.getfixturevalue("postgres_url")) as url:
            yield from _served(url)


@pytest.fixture(scope="module")
def sqlite_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub in a file, where the store makes no difference."""
    yield from _served(tmp_path_factory.mktemp("hub") / "hub.db")


def _served(store: Path | str) -> Iterator[HubProcess]:
    hub = HubProcess(store)
    try:
        yield hub
    finally:
        hub.stop()


@pytest.fixture
def client(hub: HubProcess) -> Iterator[TaskHubGrpcClient]:
    """The SDK's client of the hub."""
    made = new_client(hub.address)
    yield made
    made.close()
