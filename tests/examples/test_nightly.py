"""Nightly: a timer fires every second, and one job at a time runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from soloist.webapi import BASE_PATH
from tests.examples.site import Site

APP = "nightly"
JOB = timedelta(seconds=1.2)
ENVIRONMENT = {
    "NIGHTLY_SCHEDULE": "* * * * * *",
    "NIGHTLY_SECONDS": str(JOB.total_seconds()),
}
ALL = {"statusQueryGetUri": f"{BASE_PATH}/instances"}


def only_job(site: Site, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the only instance of the hub once it is there and as wanted."""
    listed: Any = site.until(ALL, lambda found: found and is_so(found[0]))
    (job,) = listed
    return dict(job)


def test_the_timer_starts_a_job_only_when_the_last_one_has_ended(site: Site) -> None:
    first = only_job(site, lambda job: job["runtimeStatus"] == "Completed")
    assert first["instanceId"] == "nightly"
    assert first["name"] == "Nightly"
    assert first["output"]["swept"] == "clean"
    began_at = datetime.fromisoformat(first["output"]["began_at"])
    ended_at = datetime.fromisoformat(first["output"]["ended_at"])
    assert ended_at - began_at >= JOB
    second = only_job(site, lambda job: job["createdTime"] != first["createdTime"])
    assert datetime.fromisoformat(second["createdTime"]) >= ended_at
