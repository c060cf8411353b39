"""Addresses: whether a door can be opened where it is wanted.

gRPC tells why it cannot listen in a line of its own on standard error, and its caller not at all.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

from soloist.errors import SettingsError


async def check_free(host: str, port: int) -> None:
    """Bind to an address for a moment. A name may stand for several: none of them may be taken,
    lest some callers meet somebody else, and one must be of this machine.

    Raises:
        SettingsError: with what is in the way and what to do.
    """
    if port == 0:  # the system will choose one that is free
        return
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _refusal(host, port, f"{error.strerror}. Choose another with --grpc-host.") from error
    failures = [why for each in found if (why := _failure(each[0], each[4])) is not None]
    for failure in failures:
        if failure.errno == errno.EADDRINUSE:
            what = "something else listens there. Stop it, or choose another with --grpc-port."
            raise _refusal(host, port, what) from failure
    if len(failures) == len(found):
        reason = (failures[0].strerror or str(failures[0])).lower()
        what = f"{reason}. Choose another with --grpc-port and --grpc-host."
        raise _refusal(host, port, what) from failures[0]


def _failure(family: int, address: Any) -> OSError | None:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if family == socket.AF_INET6:  # its IPv4 namesake is another of the addresses
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if os.name == "posix":  # as gRPC does; elsewhere it would let two listen
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def _refusal(host: str, port: int, why: str) -> SettingsError:
    return SettingsError(f"Cannot listen for gRPC on {host} port {port}: {why}")
