"""The SDK of another language against the same hub, as its users install it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from proofs.hubs import HubProcess
from tests.rpc.sdk import new_client

PACKAGE = "@microsoft/durabletask-js@0.4.0"
SCRIPT = Path(__file__).parent / "javascript" / "orchestrate.js"

node, npm = shutil.which("node"), shutil.which("npm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the JavaScript SDK in it."""
    assert npm is not None
    made = tmp_path_factory.mktemp("javascript")
    (made / "package.json").write_text('{"private": true}')
    shutil.copy(SCRIPT, made)
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    subprocess.run(install, cwd=made, check=True, capture_output=True, timeout=110)
    return made


@pytest.mark.skipif(node is None or npm is None, reason="there is no Node.js here")
def test_a_javascript_client_and_worker_run_an_orchestration(
    sqlite_hub: HubProcess, folder: Path
) -> None:
    assert node is not None
    ran = subprocess.run(
        [node, SCRIPT.name, sqlite_hub.address],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout.splitlines()[-1])
    instance_id = seen.pop("id")
    assert seen == {
        "status": "COMPLETED",
        "output": {
            "results": [0, 2, 4],
            "fromChild": 42,
            "raised": {"from": "node"},
            "counted": 7,
        },
        "failure": None,
        "second": "lift-off",
        "third": "as it should",
    }
    client = new_client(sqlite_hub.address)
    state = client.get_orchestration_state(instance_id)
    assert state is not None and state.name == "everything"
    client.close()
