"""The engine's bounds and paces."""

from __future__ import annotations

import os

import msgspec

from soloist.core.episode import Limits
from soloist.core.versions import VersionRule

_CALLS_PER_CPU = 10


def default_activity_concurrency() -> int:
    """Return host.json's default for ``maxConcurrentActivityFunctions``, and for entities: ten
    for each CPU."""
    return _CALLS_PER_CPU * (os.cpu_count() or 1)


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much the engine holds at once, and how often it looks around.

    ``max_sessions`` bounds the instances held in memory, waiting ones included; those are let go
    after ``session_idle_seconds`` or when room is needed. ``max_due_instances`` is how many
    instances may stand in line before a start is refused. ``max_worker_losses`` is how often a
    worker process may die under the same work before that counts as failed. ``max_entity_batch``
    is how many operations of an entity share a commit. ``versions`` says which instances are run
    here; what is not is looked at again after ``reject_seconds``. A timer that fires
    ``timer_grace_seconds`` late says that it is past due. An instance that was given back because
    no worker knows its function is taken up again after ``absence_retry_seconds``.
    """

    max_sessions: int = 2_000
    session_idle_seconds: float = 30.0
    max_concurrent_episodes: int = 200
    max_concurrent_activities: int = msgspec.field(default_factory=default_activity_concurrency)
    max_concurrent_entities: int = msgspec.field(default_factory=default_activity_concurrency)
    max_concurrent_http_calls: int = 1_000
    max_entity_batch: int = 100
    max_due_instances: int = 100_000
    max_arrivals_per_turn: int = 1_000
    max_worker_losses: int = 5
    lease_batch: int = 200
    poll_seconds: float = 0.5
    renew_seconds: float = 5.0
    retry_seconds: float = 1.0
    reject_seconds: float = 30.0
    timer_grace_seconds: float = 1.0
    absence_retry_seconds: float = 1.0
    versions: VersionRule = VersionRule()
    limits: Limits = Limits()
