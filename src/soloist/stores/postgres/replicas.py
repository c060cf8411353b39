"""Replicas: what the database promises about an acknowledged commit should its machine be lost."""

from __future__ import annotations

from soloist.core.instances import Durability
from soloist.stores.postgres.connection import Connection

_ASK = (
    "SELECT current_setting('fsync'), current_setting('synchronous_commit'),"
    " current_setting('synchronous_standby_names'), pg_is_in_recovery(),"
    " (SELECT count(*) FROM pg_stat_replication WHERE state IS NOT NULL),"
    " (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))"
)
_WAITS_FOR_STANDBY = ("on", "remote_apply", "remote_write")


async def durability(connection: Connection) -> Durability:
    """Ask the database how safe a commit is now."""
    row = await (await connection.execute(_ASK)).fetchone()
    assert row is not None, "settings are one row"
    fsync, commit, names, is_standby, standbys, synchronous = row
    if is_standby:
        return Durability(False, False, "This database is a standby and takes no writes.")
    if fsync == "off" or commit == "off":
        setting = "fsync" if fsync == "off" else "synchronous_commit"
        return Durability(
            False,
            False,
            f"The setting {setting} is off: a crash of the database's machine loses the last"
            " commits that were acknowledged. Turn it on.",
        )
    if names and commit in _WAITS_FOR_STANDBY:
        waits = "" if synchronous else " None is connected: commits wait for one."
        return Durability(
            True,
            True,
            "A commit is acknowledged when a synchronous standby has it: a failover to that one"
            f" loses nothing.{waits}",
        )
    if standbys:
        return Durability(
            True,
            False,
            f"Its {standbys} standby servers follow asynchronously: a failover loses what was"
            " acknowledged in the moments before (set synchronous_standby_names).",
        )
    return Durability(
        True, False, "A commit is on the disk of the database's machine; it has no standby."
    )
