"""Where a door can be opened."""

from __future__ import annotations

import asyncio
import socket

import pytest

from soloist.errors import SettingsError
from soloist.rpc.addresses import check_free

NOT_OURS = "192.0.2.1"  # of those set aside for documentation


def test_a_free_port_stays_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    asyncio.run(check_free("127.0.0.1", port))
    asyncio.run(check_free("localhost", port))
    asyncio.run(check_free("0.0.0.0", port))
    socket.create_server(("127.0.0.1", port)).close()


def test_a_port_that_the_system_is_to_choose_is_not_looked_at() -> None:
    asyncio.run(check_free(NOT_OURS, 0))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_taken_port_is_named_though_it_be_taken_in_part(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"on {host} port {port}: something else listens"):
            asyncio.run(check_free(host, port))


@pytest.mark.parametrize("host", [NOT_OURS, "no such name"])
def test_what_is_no_address_of_this_machine_is_named(host: str) -> None:
    with pytest.raises(SettingsError, match=f"on {host} port 4001: .*--grpc-host") as refusal:
        asyncio.run(check_free(host, 4001))
    assert "something else" not in str(refusal.value)
