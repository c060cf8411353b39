"""One example app being served, in this process or by ``soloist start``, and its caller."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from proofs.hosts import HostProcess
from soloist.app import HostOptions, open_host
from soloist.webapi import BASE_PATH

EXAMPLES = Path(__file__).parents[2] / "examples"
MODES = ("in-process", "worker")
PATIENCE_SECONDS = 30.0

_LIVE = ("Pending", "Running", "Suspended")


class Site:
    """A served app and a caller of it. All paths are those that a user would type."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self._http = httpx.Client(base_url=origin, timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request to a path of this site, or to a whole URL that it gave out."""
        return self._http.request(method, path, **options)

    def started(self, path: str, payload: object = None) -> dict[str, str]:
        """POST to a starter; return the management links of its 202."""
        answer = self.send("POST", path, json=payload)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        links: dict[str, str] = answer.json()
        assert links["statusQueryGetUri"] == answer.headers["location"]
        return links

    def status(self, links: Mapping[str, str], **query: str) -> dict[str, Any]:
        """Return the status that a link leads to."""
        url = httpx.URL(links["statusQueryGetUri"]).copy_merge_params(query)
        found: dict[str, Any] = self.send("GET", str(url)).json()
        return found

    def until(self, links: Mapping[str, str], is_so: Any) -> dict[str, Any]:
        """Ask for the status, as callers do, until it is as wanted."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            status = self.status(links)
            if is_so(status):
                return status
        raise AssertionError(f"still not so after {PATIENCE_SECONDS:g} s: {status}")

    def ended(self, links: Mapping[str, str]) -> dict[str, Any]:
        """Return the status once the instance has ended."""
        return self.until(links, lambda status: status["runtimeStatus"] not in _LIVE)

    def output(self, links: Mapping[str, str]) -> Any:
        """Return what the instance came to; it must have completed."""
        status = self.ended(links)
        assert status["runtimeStatus"] == "Completed", status
        return status["output"]

    def raise_event(self, links: Mapping[str, str], name: str, data: object) -> httpx.Response:
        """Raise an event through the link that was given out for it."""
        return self.send("POST", links["sendEventPostUri"].replace("{eventName}", name), json=data)

    def entity(self, name: str, key: str) -> httpx.Response:
        """Ask the management API for an entity's state."""
        return self.send("GET", f"{BASE_PATH}/entities/{name}/{key}")


@contextmanager
def serving(mode: str, app: str, folder: Path, environment: Mapping[str, str]) -> Iterator[Site]:
    """Serve ``examples/<app>`` on a new hub; ``environment`` is what its operator sets."""
    if mode == "in-process":
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            with _in_process(EXAMPLES / app) as origin:
                yield from _visited(origin)
        return
    host = HostProcess(EXAMPLES / app, folder / "hub.db", environment=environment)
    try:
        yield from _visited(host.origin)
    finally:
        assert host.stop() == 0, "".join(host.output)


def _visited(origin: str) -> Iterator[Site]:
    site = Site(origin)
    try:
        yield site
    finally:
        site.close()


@contextmanager
def _in_process(app_dir: Path) -> Iterator[str]:
    """Serve an app from a thread of this process, its hub in memory."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        served = _Served(app_dir, origin, listener)
        served.start()
        served.ready.wait(PATIENCE_SECONDS)
        try:
            if served.error is None:
                yield origin
        finally:
            served.stop()
        if served.error is not None:
            raise served.error


class _Served(threading.Thread):
    """The thread of an app that is served in this process."""

    def __init__(self, app_dir: Path, origin: str, listener: socket.socket) -> None:
        super().__init__(name=f"serves {app_dir.name}", daemon=True)
        self.ready = threading.Event()
        self.error: BaseException | None = None
        self._options = HostOptions(app_dir=app_dir, in_process=True, store_url="memory:")
        self._origin = origin
        self._listener = listener
        self._server: uvicorn.Server | None = None

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self.error = error
        finally:
            self.ready.set()

    def stop(self) -> None:
        """Let the server finish, and wait for it."""
        if self._server is not None:
            self._server.should_exit = True
        self.join(PATIENCE_SECONDS)

    async def _serve(self) -> None:
        host = await open_host(self._options, self._origin)
        try:
            config = uvicorn.Config(host.web, log_config=None, access_log=False, lifespan="off")
            self._server = _Server(config)
            self.ready.set()
            await self._server.serve(sockets=[self._listener])
        finally:
            await host.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: this is not the main thread."""
        yield
