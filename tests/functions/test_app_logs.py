"""What an app logs in its worker process stands in the host's own log."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import pytest

from soloist.errors import AppLoadFailed
from soloist.telemetry import configure_logging
from tests.functions.hosting import (
    activity,
    first_episode,
    http_call,
    pool_over,
    processes,
    write_app,
)

APP = """
import logging
import azure.functions as func
import azure.durable_functions as df

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
shop = logging.getLogger("shop")

@app.activity_trigger(input_name="n")
def work(n):
    logging.info('%s "ordered"\\nlevel=error', n)
    shop.warning("short of stock at /api/x?code=secret")
    try:
        raise KeyError("lost")
    except KeyError:
        shop.exception("failed")
    logging.critical("stands still")

@app.orchestration_trigger(context_name="context")
def Twice(context):
    logging.info("began")
    yield context.call_activity("work", 1)

@app.route(route="web")
def web(req):
    logging.info("asked")
    return ""
"""


def lines_of(log: io.StringIO) -> list[str]:
    """Return what follows the time in each line."""
    return [line.partition(" ")[2] for line in log.getvalue().splitlines() if line[:3] == "at="]


def run_activity(app: Path) -> None:
    async def run() -> None:
        async with pool_over(processes(app), app) as pool:
            assert (await pool.run_activity(activity("work", "1"))).failure is None

    asyncio.run(run())


def test_records_are_lines_like_the_hosts_with_function_and_instance(
    log: io.StringIO, tmp_path: Path
) -> None:
    async def run() -> None:
        app = write_app(tmp_path, APP)
        async with pool_over(processes(app), app) as pool:
            await pool.run_activity(activity("work", "1"))
            await pool.run_episode(first_episode())
            await pool.run_http(http_call("web"))

    asyncio.run(run())
    where = "function=work instance_id=instance"
    assert lines_of(log) == [
        rf'level=info room=user_code event="1 \"ordered\"\nlevel=error" {where}',
        f'level=warning room=user_code event="short of stock at /api/x?code=***" {where}'
        " logger=shop",
        f"level=error room=user_code event=failed {where} logger=shop",
        f'level=critical room=user_code event="stands still" {where}',
        "level=info room=user_code event=began function=Twice instance_id=i1",
        "level=info room=user_code event=asked function=web",
    ]
    assert "\nTraceback (most recent call last):\n" in log.getvalue()
    assert "\nKeyError: 'lost'\n" in log.getvalue()


def test_the_level_of_the_log_decides_which_records_are_shown(
    log: io.StringIO, tmp_path: Path
) -> None:
    configure_logging("error", stream=log)
    run_activity(write_app(tmp_path, APP))
    assert [line.split()[0] for line in lines_of(log)] == ["level=error", "level=critical"]


def test_records_are_json_where_the_log_is(log: io.StringIO, tmp_path: Path) -> None:
    configure_logging(as_json=True, stream=log)
    run_activity(write_app(tmp_path, APP))
    first, _, failed, _ = [json.loads(line) for line in log.getvalue().splitlines()]
    assert first.pop("at")
    assert first == {
        "event": '1 "ordered"\nlevel=error',
        "level": "info",
        "room": "user_code",
        "function": "work",
        "instance_id": "instance",
    }
    assert failed["exception"].endswith("KeyError: 'lost'")


def test_what_an_app_logs_before_it_is_refused_is_shown(log: io.StringIO, tmp_path: Path) -> None:
    app = write_app(tmp_path, "import logging\nlogging.info('imported')\n1 / 0\n")

    async def run() -> None:
        async with pool_over(processes(app), app):
            pass

    with pytest.raises(AppLoadFailed, match="ZeroDivisionError"):
        asyncio.run(run())
    assert lines_of(log) == ["level=info room=user_code event=imported"]
