"""A host put together inside this process: for tests, and for embedding in another application."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from soloist.app import HostOptions, open_host, store_path
from soloist.app.addresses import is_loopback
from soloist.core.status import RuntimeStatus

APP = Path(__file__).parents[1] / "examples" / "singleton"


def test_the_example_runs_in_process_with_no_worker_no_socket_and_no_file() -> None:
    async def scenario() -> None:
        host = await open_host(HostOptions(app_dir=APP, store_url="memory:", in_process=True))
        try:
            transport = httpx.ASGITransport(host.web)
            async with httpx.AsyncClient(transport=transport, base_url="http://host") as http:
                url = "/api/orchestrators/Squares/one"
                started = await http.post(url, content="20")
                assert started.status_code == 202
                assert started.json()["id"] == "one"
            record = await host.client.wait("one", 30)
            assert record.status is RuntimeStatus.COMPLETED
            assert record.output == str(sum(number * number for number in range(20)))
            assert host.workers.pids == ()
        finally:
            await host.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("127.0.0.1.example", False),
        ("192.168.0.1", False),
    ],
)
def test_only_addresses_of_this_machine_alone_are_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_store_url_means_a_file_or_none() -> None:
    assert store_path("memory:") is None
    assert store_path("postgresql://localhost/hub") is None
    assert store_path("sqlite:////tmp/a%20b.db") == Path("/tmp/a b.db")
    assert store_path("hub.db") == Path("hub.db").absolute()
