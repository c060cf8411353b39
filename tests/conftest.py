"""What every folder of tests may use: ``async def`` tests."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator

import pytest

from proofs.postgres import PostgresServer
from tests.contract.world import World


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server for the test run; what its machine may lose is of no matter here."""
    with PostgresServer(settings={"fsync": "off"}) as server:
        yield server.url()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an ``async def`` test in a loop of its own, and close what it opened."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}

    async def run() -> None:
        try:
            await test(**arguments)
        finally:
            for argument in arguments.values():
                if isinstance(argument, World):
                    await argument.close()

    asyncio.run(run())
    return True
