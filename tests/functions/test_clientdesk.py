"""The client desk: every call gets one answer, within bounds."""

from __future__ import annotations

import asyncio
import json

from soloist.functions.clientdesk import ClientDesk
from soloist.wire import ClientCall, ClientReply


def call(number: int) -> ClientCall:
    """Return a client's call."""
    return ClientCall(number, "GET", "instances/x", None)


def test_before_there_is_a_management_api_clients_are_put_off() -> None:
    async def run() -> None:
        answered: asyncio.Future[ClientReply] = asyncio.get_running_loop().create_future()
        ClientDesk().accept(call(7), answered.set_result)
        reply = await answered
        assert (reply.call, reply.status) == (7, 503)

    asyncio.run(run())


def test_calls_run_within_the_bound_and_all_are_answered() -> None:
    async def run() -> None:
        running, most = 0, 0

        async def management(method: str, target: str, data: str | None) -> tuple[int, str | None]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return 200, None

        replies: asyncio.Queue[ClientReply] = asyncio.Queue()
        desk = ClientDesk(max_running=3, max_waiting=100)
        desk.management = management
        for number in range(50):
            desk.accept(call(number), replies.put_nowait)
        assert {(await replies.get()).call for _ in range(50)} == set(range(50))
        assert most == 3

    asyncio.run(run())


def test_a_failure_has_the_shape_that_the_sdk_reads() -> None:
    async def run() -> None:
        async def management(method: str, target: str, data: str | None) -> tuple[int, str | None]:
            raise ValueError("why")

        answered: asyncio.Future[ClientReply] = asyncio.get_running_loop().create_future()
        desk = ClientDesk()
        desk.management = management
        desk.accept(call(1), answered.set_result)
        reply = await answered
        assert reply.status == 500
        assert json.loads(reply.body or "") == {
            "Message": "Something went wrong while processing your request.",
            "ExceptionMessage": "why",
            "ExceptionType": "ValueError",
            "StackTrace": "",
        }

    asyncio.run(run())


def test_closing_gives_up_what_waits() -> None:
    async def run() -> None:
        async def management(method: str, target: str, data: str | None) -> tuple[int, str | None]:
            await asyncio.Event().wait()
            return 200, None

        replies: list[ClientReply] = []
        desk = ClientDesk(max_running=1)
        desk.management = management
        desk.accept(call(1), replies.append)
        desk.accept(call(2), replies.append)
        await desk.close()
        assert replies == []

    asyncio.run(run())
