"""A hub without an app: its functions are those of the workers that connect over gRPC."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack

import msgspec

from soloist import __version__
from soloist.app.grpc_door import GrpcOptions, check_options, new_executor, open_door
from soloist.client import DEFAULT_MAX_PAYLOAD_BYTES, Client
from soloist.contracts.clock import SystemClock
from soloist.contracts.store import Store
from soloist.core.episode import Limits
from soloist.core.ids import hub_name_objection
from soloist.core.policy import StartPolicy
from soloist.core.versions import MatchStrategy, VersionRule
from soloist.engine import DrainProgress, Engine, EngineSettings
from soloist.errors import SettingsError
from soloist.stores import DEFAULT_LEASE_SECONDS, store_at
from soloist.telemetry import logger

_log = logger(__name__)

DEFAULT_TASK_HUB = "default"

MAX_CONCURRENT_WORK = 10_000
"""How much of each kind is with workers at once; each worker says how much of that it takes."""


class HubOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a hub without an app is to be run."""

    store_url: str
    grpc: GrpcOptions
    task_hub: str = DEFAULT_TASK_HUB
    start_policy: StartPolicy = StartPolicy.FAIL
    lease_seconds: float = DEFAULT_LEASE_SECONDS
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES


class GrpcHub:
    """A running hub. Made by :func:`open_hub`; ``close`` gives everything back."""

    def __init__(
        self,
        *,
        options: HubOptions,
        engine: Engine,
        client: Client,
        port: int,
        drain: Callable[[], None],
        opened: AsyncExitStack,
    ) -> None:
        self.options = options
        self.client = client
        self.port = port
        self._engine = engine
        self._drain = drain
        self._opened = opened

    async def close(
        self,
        drain_seconds: float = 0.0,
        report: Callable[[DrainProgress], None] | None = None,
    ) -> None:
        """Let running activities end, at most ``drain_seconds``, and give everything back.

        Raises:
            StoreGone: the hub's file is gone; what is unfinished is in no store.
        """
        self._drain()
        try:
            await self._engine.stop(drain_seconds, report)
        finally:
            await self._opened.aclose()


async def open_hub(options: HubOptions) -> GrpcHub:
    """Open the hub, begin to work and serve the protocol.

    Raises:
        SettingsError: an option is wrong, or the extra ``soloist[grpc]`` is missing.
        HubInUse: another host runs this hub.
        StoreUnavailable: the hub's store cannot be used.
    """
    check_options(options.grpc)
    checked_hub_name(options.task_hub)
    executor = new_executor()
    async with AsyncExitStack() as opened:
        store = store_at(
            options.store_url,
            task_hub=options.task_hub,
            clock=SystemClock(),
            lease_seconds=options.lease_seconds,
        )
        await store.open()
        opened.push_async_callback(store.close)
        clock = store.clock
        engine = Engine(
            store,
            clock,
            executor,
            _settings(options),
            name=f"{socket.gethostname()} pid {os.getpid()}",
            address=f"grpc://{options.grpc.host}:{options.grpc.port}",
            version=__version__,
            absence=executor.absence,
            lacks=executor.board.lacks,
        )
        client = Client(
            store,
            clock,
            wakeups=engine,
            default_policy=options.start_policy,
            max_payload_bytes=options.max_payload_bytes,
        )
        opened.push_async_callback(engine.stop)
        await engine.start()
        door = await open_door(options.grpc, client, clock, executor, task_hub=options.task_hub)
        # Closed before the engine stops for good: by then nobody is to be handed anything.
        opened.push_async_callback(door.close)
        await tell_durability(store)
        return GrpcHub(
            options=options,
            engine=engine,
            client=client,
            port=door.port,
            drain=door.drain,
            opened=opened.pop_all(),
        )


def _settings(options: HubOptions) -> EngineSettings:
    defaults = EngineSettings()
    return unbounded(
        EngineSettings(
            renew_seconds=min(defaults.renew_seconds, options.lease_seconds / 4),
            # Workers of the protocol say themselves which versions they run.
            versions=VersionRule(match=MatchStrategy.NONE),
            limits=Limits(max_payload_bytes=options.max_payload_bytes),
        )
    )


def unbounded(settings: EngineSettings) -> EngineSettings:
    """Return settings for an engine whose executor knows itself how much it can run at once."""
    return msgspec.structs.replace(
        settings,
        max_concurrent_activities=MAX_CONCURRENT_WORK,
        max_concurrent_episodes=MAX_CONCURRENT_WORK,
        max_concurrent_entities=MAX_CONCURRENT_WORK,
    )


def checked_hub_name(name: str) -> str:
    """Return the name of a task hub, or say why it cannot be one.

    Raises:
        SettingsError: it cannot.
    """
    objection = hub_name_objection(name)
    if objection is not None:
        raise SettingsError(f"The task hub's name, {name[:120]!r}, {objection}.")
    return name


async def tell_durability(store: Store) -> None:
    """Say in the log what the store promises, loudly where that is less than users expect."""
    durability = await store.durability()
    tell = _log.info if durability.survives_crash else _log.warning
    tell("durability", guarantee=durability.text)
