"""Tests of the app beside it: days pass in milliseconds."""

import asyncio
from datetime import timedelta
from pathlib import Path

from soloist.testing import app_under_test

APP = Path(__file__).parent


def test_a_paid_order_is_shipped_a_day_later():
    async def scenario():
        async with app_under_test(APP) as app:
            answer = await app.http.post("/api/orders/7")
            assert answer.status_code == 202
            await app.client.raise_event("7", "Paid", '"by card"')

            await app.jump(timedelta(hours=23))
            order = await app.client.status("7")
            assert order.status == "Running"

            await app.jump(timedelta(hours=1))
            status = await app.http.get(answer.json()["statusQueryGetUri"])
            assert status.json()["output"] == "shipped on Friday"  # the clock began on a Thursday

    asyncio.run(scenario())


def test_an_order_that_nobody_pays_is_given_up_after_three_days():
    async def scenario():
        async with app_under_test(APP) as app:
            await app.client.start("Order", "8")
            await app.jump(timedelta(days=3))
            order = await app.client.status("8")
            assert (order.status, order.output) == ("Completed", '"given up"')

    asyncio.run(scenario())


def test_a_warehouse_that_is_away_is_asked_again_a_minute_later(monkeypatch):
    async def scenario():
        asked_at = []
        async with app_under_test(APP) as app:

            def ask(order):
                asked_at.append(app.clock.now())
                if len(asked_at) < 3:
                    raise ConnectionError("nobody answers")
                return "a shelf"

            monkeypatch.setattr("function_app.ask_warehouse", ask)
            await app.http.post("/api/orders/9")
            await app.jump(timedelta(minutes=2))
        assert [at - asked_at[0] for at in asked_at] == [timedelta(minutes=n) for n in range(3)]

    asyncio.run(scenario())
