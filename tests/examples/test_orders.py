"""Orders: an app whose tests let days pass, and the page of the documentation that shows them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import textwrap
from typing import Any

import httpx
import pytest

from proofs.hosts import HostProcess
from soloist.app import HostOptions, open_host
from soloist.testing import JumpClock, app_under_test
from tests.examples.site import EXAMPLES, Site

APP = "orders"
FOLDER = EXAMPLES / APP
PAGE = (EXAMPLES.parent / "docs" / "testing.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_an_order_waits_for_its_payment_and_then_to_be_packed(site: Site) -> None:
    links = site.started("/api/orders/7")
    assert links["id"] == "7"
    site.raise_event(links, "Paid", "by card")
    history = "historyEvents"
    status = site.until(
        {"statusQueryGetUri": f"{links['statusQueryGetUri']}&showHistory=true"},
        lambda status: status.get(history) and status[history][-1]["EventType"] == "TimerCreated",
    )
    assert status["runtimeStatus"] == "Running"


def test_its_own_tests_pass_outside_of_this_project() -> None:
    own = ["-c", os.devnull, "--rootdir", str(FOLDER), "-p", "no:cacheprovider", "-W", "error"]
    others = ["-p", "no:anyio", "-p", "no:schemathesis"]  # which warn of themselves
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *own, *others, str(FOLDER)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


@pytest.mark.parametrize("name", ["function_app.py", "test_orders.py"])
def test_the_page_shows_its_files_as_they_are(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") in SNIPPETS


async def test_the_page_lets_a_request_wait_beside_a_jump() -> None:
    async with app_under_test(FOLDER) as app:
        answer = await ran(SNIPPETS[2], app=app)
        assert answer.status_code == 202
        assert (await app.client.status("7")).status == "Running"


async def test_the_page_opens_a_host_that_takes_a_request() -> None:
    answer = await ran(SNIPPETS[3], APP=FOLDER)
    assert answer.json()["id"] == "7"


async def ran(snippet: str, **names: Any) -> httpx.Response:
    """Run lines of the page as the body of a coroutine, and return the ``answer`` in them."""
    lines = f"async def body():\n{textwrap.indent(snippet, '    ')}\n    return answer\n"
    scope = {"HostOptions": HostOptions, "JumpClock": JumpClock, "open_host": open_host, **names}
    exec(lines, scope | {"asyncio": asyncio, "httpx": httpx}, names)  # our own page
    answer: httpx.Response = await names["body"]()
    return answer


def test_a_real_host_keeps_its_hub_in_memory_when_told_so() -> None:
    host = HostProcess(FOLDER, "memory:")
    assert "is made in memory:" in "".join(host.output)
    assert httpx.post(f"{host.origin}/api/orders/7").status_code == httpx.codes.ACCEPTED
    assert host.stop() == 0
    assert not (FOLDER / ".soloist").exists()
