"""A short run of the crash proof; ``python3 tasks.py prove crashes`` runs the long one."""

from __future__ import annotations

from pathlib import Path

from proofs.crashes import Crashes
from tests.e2e.conftest import serve


def test_hosts_killed_at_random_and_at_every_boundary_lose_nothing(tmp_path: Path) -> None:
    finding = Crashes(tmp_path, seed=7).run(rounds=10)
    assert finding.violations == ()
    assert finding.did["starts acknowledged"] > 20


def test_a_killed_host_goes_on_where_its_last_commit_stands(tmp_path: Path) -> None:
    served = serve(tmp_path)
    with served.http:
        assert served.start("Job", "one", {"kept": True}).status_code == 202
    served.host.kill()
    served = serve(tmp_path)
    with served.http:
        assert served.raise_event("one", "go").status_code == 202
        assert served.finished("one")["output"] == {"kept": True}
    assert served.host.stop() == 0
    (told,) = [each for each in served.host.output if "a host is gone" in each]
    assert "instances=1" in told
