"""One host for the tests that only talk to it; others start their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import msgspec
import pytest

from proofs.hosts import HostProcess

APP = Path(__file__).parent / "app"
LIVE = (202,)


class Served(msgspec.Struct, frozen=True):
    """A host, where its hub and its ledger lie, and a client for its HTTP."""

    host: HostProcess
    store: Path
    ledger: Path
    http: httpx.Client

    def start(self, function: str, instance_id: str, payload: object = None) -> httpx.Response:
        """Start through the management API."""
        return self.http.post(f"{self._base}/orchestrators/{function}/{instance_id}", json=payload)

    def status(self, instance_id: str, **query: str) -> httpx.Response:
        """Ask for an instance's status."""
        return self.http.get(f"{self._base}/instances/{instance_id}", params=query)

    def raise_event(self, instance_id: str, name: str, data: object = None) -> httpx.Response:
        """Raise an event."""
        return self.http.post(f"{self._base}/instances/{instance_id}/raiseEvent/{name}", json=data)

    def finished(self, instance_id: str) -> dict[str, object]:
        """Wait for an instance's end by asking, as callers do; return its status."""
        while True:
            answer = self.status(instance_id)
            if answer.status_code not in LIVE:
                body: dict[str, object] = answer.json()
                return body

    @property
    def _base(self) -> str:
        return self.host.management


def serve(folder: Path, *options: str, app: Path = APP, launcher: Sequence[str] = ()) -> Served:
    """Start a host on a hub in ``folder``."""
    store, ledger = folder / "hub.db", folder / "ledger.txt"
    environment = {"LEDGER": str(ledger)}
    host = HostProcess(app, store, *options, environment=environment, launcher=launcher)
    return Served(host, store, ledger, httpx.Client(base_url=host.origin, timeout=30))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A host that all tests of a session may talk to."""
    served = serve(tmp_path_factory.mktemp("hub"))
    yield served
    served.http.close()
    assert served.host.stop() == 0
