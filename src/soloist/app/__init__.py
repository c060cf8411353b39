"""One host, put together: store, workers, engine, client and the faces.

This is the only place that knows every room below it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from soloist import __version__
from soloist.app.addresses import is_loopback
from soloist.app.grpc_door import GrpcOptions, check_options, modern_app, new_executor, open_door
from soloist.app.grpc_hub import checked_hub_name, tell_durability, unbounded
from soloist.app.mixed import AppBounds, MixedExecutor, MixedFunctions
from soloist.client import DEFAULT_MAX_PAYLOAD_BYTES, Client, Functions
from soloist.contracts.clock import Clock, SystemClock
from soloist.contracts.executor import Absence, Executor, nobody_is_absent
from soloist.contracts.store import Store
from soloist.core.episode import Limits
from soloist.core.policy import StartPolicy
from soloist.core.versions import VersionRule
from soloist.core.work import WorkKind
from soloist.engine import DrainProgress, Engine, EngineSettings
from soloist.errors import SettingsError
from soloist.functions.binding import DEFAULT_CONNECTION_NAME, ClientBinding
from soloist.functions.cabinet import DEFAULT_REFRESH_SECONDS, KeyCabinet
from soloist.functions.catalogue import Catalogue
from soloist.functions.durable_http import DurableHttp
from soloist.functions.executor import AppExecutor
from soloist.functions.headers import web_middleware
from soloist.functions.hostjson import HostJson, read_host_json
from soloist.functions.http import HttpTriggers, http_limits
from soloist.functions.inprocess import in_process_links
from soloist.functions.keys import KeyRing, presented_key
from soloist.functions.localsettings import LocalSettings, merged, read_local_settings
from soloist.functions.processes import child_environment, find_python, process_links
from soloist.functions.workers import WorkerPool
from soloist.stores import DEFAULT_LEASE_SECONDS, is_postgres, path_of, store_at
from soloist.telemetry import logger
from soloist.webapi import (
    Access,
    AccessRequest,
    Authorise,
    Links,
    LocalDoor,
    Management,
    ManagementApp,
    ManagementRoute,
    health_routes,
)
from soloist.wire import Load

if TYPE_CHECKING:
    from soloist.app.modern import ModernApp
    from soloist.rpc.executor import RpcExecutor
    from soloist.rpc.server import GrpcDoor

_log = logger(__name__)

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7071
HUB_FOLDER = ".soloist"
HUB_FILE = "hub.db"
MAX_THREADS = 1_000
SCRIPT_VARIABLE = "PYTHON_SCRIPT_FILE_NAME"
THREADS_VARIABLE = "PYTHON_THREADPOOL_THREAD_COUNT"

_DEFAULT_SCRIPT = "function_app.py"


class HostOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a host is to be run; ``None`` leaves the choice to the app's files or to a default.

    ``enforces_keys`` of ``None`` means: exactly when ``host`` is not a loopback address.
    ``in_process`` runs the app's code inside this process instead of a worker of its own. With
    ``grpc`` the host serves the gRPC protocol as well, and workers may bring more functions.
    ``clock`` is the hub's time, for tests (``soloist.testing.JumpClock``); a hub in PostgreSQL has
    its own. What waits for an answer (a worker, a request, a database) waits in real time.
    """

    app_dir: Path
    host: str = DEFAULT_HOST
    port: int | None = None
    store_url: str | None = None
    task_hub: str | None = None
    python: str | None = None
    workers: int = 1
    start_policy: StartPolicy | None = None
    enforces_keys: bool | None = None
    skips_unsupported: bool = False
    in_process: bool = False
    lease_seconds: float = DEFAULT_LEASE_SECONDS
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES
    grpc: GrpcOptions | None = None
    clock: Clock | None = None


class AppFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What an app's folder says before its code is loaded."""

    app_dir: Path
    script: str
    host_json: HostJson
    local_settings: LocalSettings
    environment: Mapping[str, str]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What in the files is ignored or unclear."""
        return (*self.local_settings.warnings, *self.host_json.warnings)


def read_app_files(app_dir: Path) -> AppFiles:
    """Read host.json and local.settings.json.

    Raises:
        SettingsError: the folder or the app's script is missing, or a file is wrong.
    """
    app_dir = app_dir.resolve()
    if not app_dir.is_dir():
        raise SettingsError(f"There is no folder {app_dir}.")
    local_settings = read_local_settings(app_dir)
    environment = merged(os.environ, local_settings)
    script = environment.get(SCRIPT_VARIABLE) or _DEFAULT_SCRIPT
    if not (app_dir / script).is_file() and not any(app_dir.glob("*/function.json")):
        raise SettingsError(
            f"{app_dir} has neither {script} nor folders with a function.json. Give the folder of"
            " a Durable Functions Python app: soloist start APP_DIR. The script's name can be set"
            f" with {SCRIPT_VARIABLE}."
        )
    return AppFiles(
        app_dir=app_dir,
        script=script,
        host_json=read_host_json(app_dir, environment),
        local_settings=local_settings,
        environment=environment,
    )


def default_store_url(app_dir: Path) -> str:
    """Return where an app's hub lies unless somebody says otherwise."""
    return str(app_dir.resolve() / HUB_FOLDER / HUB_FILE)


def store_path(store_url: str) -> Path | None:
    """Return the file that a store URL means, ``None`` when it means none.

    Raises:
        SettingsError: it is neither a URL nor a path, or may be meant as either.
    """
    path = path_of(store_url)
    return None if path is None else path.absolute()


def is_there(path: Path) -> bool:
    """Whether a file exists; a path that cannot be asked about does not."""
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises on names too long


def read_app_host_json(app_dir: Path) -> HostJson:
    """Read an app's host.json with what overrides it, where it may be that there is no app.

    Raises:
        SettingsError: a file of the app is wrong.
    """
    return read_host_json(app_dir, merged(os.environ, read_local_settings(app_dir)))


class Host:
    """A running host. Made by :func:`open_host`; ``close`` gives everything back."""

    def __init__(
        self,
        *,
        options: HostOptions,
        files: AppFiles,
        store_url: str,
        task_hub: str,
        workers: WorkerPool,
        engine: Engine,
        client: Client,
        catalogue: Catalogue,
        keys: KeyCabinet,
        web: Starlette,
        door: GrpcDoor | None,
        http_calls: DurableHttp,
        opened: AsyncExitStack,
    ) -> None:
        self.options = options
        self.files = files
        self.store_url = store_url
        self.task_hub = task_hub
        self.client = client
        self.catalogue = catalogue
        self.keys = keys
        self.web = web
        self.workers = workers
        self.door = door
        self._engine = engine
        self._http_calls = http_calls
        self._opened = opened

    @property
    def in_flight(self) -> int:
        """How many calls of the app's code, and HTTP requests of its orchestrations, run now."""
        return self.workers.in_flight + self._http_calls.in_flight

    async def drain(self, timeout_seconds: float) -> bool:
        """Wait until none of them runs; ``False`` when some were not in time. What ends may set
        off more, which is not waited for once nothing ran."""
        return await self.workers.drain(timeout_seconds) and await self._http_calls.drain(
            timeout_seconds
        )

    async def close(
        self,
        drain_seconds: float = 0.0,
        report: Callable[[DrainProgress], None] | None = None,
    ) -> None:
        """Let running activities end, at most ``drain_seconds``, and give everything back.

        Raises:
            StoreGone: the hub's file is gone; what is unfinished is in no store.
        """
        if self.door is not None:
            self.door.drain()
        try:
            await self._engine.stop(drain_seconds, report)
        finally:
            await self._opened.aclose()


async def open_host(options: HostOptions, origin: str | None = None) -> Host:
    """Open the hub, load the app and begin to work; the faces are ``Host.web``.

    ``origin`` is how the host is reached, for links that are made without a request.

    Raises:
        SettingsError: an option or a file of the app is wrong.
        AppLoadFailed: the app cannot be loaded or hosted.
        HubInUse: another host runs this hub.
        StoreUnavailable: the hub's file cannot be used.
    """
    files = read_app_files(options.app_dir)
    if options.grpc is not None:
        check_options(options.grpc)
    origin = origin or f"http://{options.host}:{options.port or DEFAULT_PORT}"
    async with AsyncExitStack() as opened:
        return await _opened_host(options, files, origin, opened)


async def _opened_host(
    options: HostOptions, files: AppFiles, origin: str, opened: AsyncExitStack
) -> Host:
    """Put the host together; whatever has to be closed again is on ``opened`` until it is whole.

    The app is loaded before the store is opened: one that cannot be hosted leaves no hub behind.
    """
    host_json = files.host_json
    url = options.store_url or default_store_url(files.app_dir)
    task_hub = _task_hub(options, host_json)
    store = _store(options, url, task_hub)
    opened.push_async_callback(store.close)  # the last to be closed: the workers' clients use it
    keys = KeyCabinet(KeyRing(is_enforced=_enforces_keys(options)))
    opened.push_async_callback(keys.close)
    connection = host_json.connection_name or DEFAULT_CONNECTION_NAME
    binding = ClientBinding(task_hub, keys.system_key, connection_name=connection)
    workers = _worker_pool(options, files, binding.text(origin))
    opened.push_async_callback(workers.close)
    await workers.start()
    catalogue = _catalogue(options, files, workers)
    others = None if options.grpc is None else new_executor(host_json.default_version)
    modern = modern_app(workers, default_version=host_json.default_version)
    await store.open()
    clock = store.clock
    keys.on_rotation = lambda: workers.rebind(binding.text(origin))
    await keys.draw(store, clock, catalogue.http)
    http_calls = _http_calls(options, files, clock)
    opened.push_async_callback(http_calls.close)
    app = _app_executor(options, files, workers, http_calls, modern)
    engine = _engine(options, files, store, app, catalogue, others, origin)
    client = _client(options, files, store, engine, catalogue, others)
    links = Links(task_hub=task_hub, connection=connection, system_key=keys.system_key)
    management = Management(client, links, max_body_bytes=options.max_payload_bytes)
    workers.answer_clients(LocalDoor(management, origin=origin).management)
    triggers = _triggers(files, catalogue, workers, keys, binding)
    health = _health(client, catalogue, task_hub)
    web = _web(files, management, _authorise(keys, links), triggers, health)
    if modern is not None:
        opened.push_async_callback(modern.close)
        await modern.serve(client, clock, binding, origin, task_hub, 2 * options.max_payload_bytes)
    opened.push_async_callback(engine.stop)
    await engine.start()
    door = None
    if options.grpc is not None and others is not None:
        theirs = _client(options, files, store, engine, catalogue, others, takes_all=True)
        door = await open_door(options.grpc, theirs, clock, others, task_hub=task_hub)
        opened.push_async_callback(door.close)
    await tell_durability(store)
    keys.keep_up(store, clock, _upkeep_seconds(options, DEFAULT_REFRESH_SECONDS))
    return Host(
        options=options,
        files=files,
        store_url=url,
        task_hub=task_hub,
        workers=workers,
        engine=engine,
        client=client,
        catalogue=catalogue,
        keys=keys,
        web=web,
        door=door,
        http_calls=http_calls,
        opened=opened.pop_all(),
    )


def _store(options: HostOptions, url: str, task_hub: str) -> Store:
    if options.clock is not None and is_postgres(url):
        raise SettingsError(
            "A hub in PostgreSQL goes by the database's clock, the same for all its hosts. Leave"
            " out the clock, or use the store memory: or a file."
        )
    return store_at(
        url,
        task_hub=task_hub,
        clock=options.clock or SystemClock(),
        lease_seconds=options.lease_seconds,
    )


def _task_hub(options: HostOptions, host_json: HostJson) -> str:
    return checked_hub_name(host_json.hub_name if options.task_hub is None else options.task_hub)


def _catalogue(options: HostOptions, files: AppFiles, workers: WorkerPool) -> Catalogue:
    return Catalogue(
        workers.functions,
        files.environment,
        route_prefix=files.host_json.route_prefix,
        skip_unsupported=options.skips_unsupported,
    )


def _triggers(
    files: AppFiles,
    catalogue: Catalogue,
    workers: WorkerPool,
    keys: KeyCabinet,
    binding: ClientBinding,
) -> HttpTriggers:
    return HttpTriggers(
        catalogue,
        workers,
        keys,
        binding,
        limits=http_limits(files.host_json, files.environment),
        is_forwarded=files.host_json.use_forwarded_host,
    )


def _http_calls(options: HostOptions, files: AppFiles, clock: Clock) -> DurableHttp:
    return DurableHttp(
        clock,
        default_sleep_seconds=files.host_json.async_request_sleep_seconds,
        max_payload_bytes=options.max_payload_bytes,
    )


def _app_executor(
    options: HostOptions,
    files: AppFiles,
    workers: WorkerPool,
    http_calls: DurableHttp,
    modern: ModernApp | None,
) -> AppExecutor:
    return AppExecutor(
        workers,
        http_calls,
        timeout_seconds=files.host_json.function_timeout_seconds,
        turns=None if modern is None else modern.turns,
        may_feed=options.clock is None,
    )


def _engine(
    options: HostOptions,
    files: AppFiles,
    store: Store,
    app: AppExecutor,
    catalogue: Catalogue,
    others: RpcExecutor | None,
    origin: str,
) -> Engine:
    settings = _engine_settings(options, files.host_json)
    executor: Executor = app
    absence: Absence = nobody_is_absent
    if others is not None:
        bounds = AppBounds(
            episodes=settings.max_concurrent_episodes,
            activities=settings.max_concurrent_activities,
            entities=settings.max_concurrent_entities,
        )
        executor = mixed = MixedExecutor(app, others, catalogue, bounds)
        absence = mixed.absence
        others.board.on_drain = mixed.drain
        settings = unbounded(settings)
    return Engine(
        store,
        store.clock,
        executor,
        settings,
        name=_host_name(),
        address=origin,
        version=__version__,
        timers=catalogue.timers,
        absence=absence,
        lacks=(lambda: None) if others is None else others.board.lacks,
        is_versioned=lambda name: catalogue.orchestrators.resolve(name) is not None,
    )


def _client(
    options: HostOptions,
    files: AppFiles,
    store: Store,
    engine: Engine,
    catalogue: Catalogue,
    others: RpcExecutor | None,
    *,
    takes_all: bool = False,
) -> Client:
    orchestrators: Functions = catalogue.orchestrators
    entities: Functions = catalogue.entities
    if others is not None:
        kind = WorkKind.ORCHESTRATION
        orchestrators = MixedFunctions(orchestrators, others, kind, takes_all=takes_all)
        entities = MixedFunctions(entities, others, WorkKind.ENTITY, takes_all=takes_all)
    return Client(
        store,
        store.clock,
        wakeups=engine,
        orchestrators=orchestrators,
        entities=entities,
        default_policy=options.start_policy or files.host_json.start_policy,
        default_version=files.host_json.default_version,
        max_payload_bytes=options.max_payload_bytes,
    )


def _enforces_keys(options: HostOptions) -> bool:
    enforces = options.enforces_keys
    return not is_loopback(options.host) if enforces is None else enforces


def _authorise(keys: KeyCabinet, links: Links) -> Authorise:
    """Return the judge of the management API: the system key and the master key open everything,
    the code of a link what the link is for."""

    def judge(asked: AccessRequest) -> Access:
        presented = presented_key(asked.headers, asked.query)
        if keys.admits_management(presented):
            return Access.FULL
        if presented is None or asked.operation is None or asked.instance_id is None:
            return Access.NONE
        is_link = links.opens(asked.operation, asked.instance_id, presented)
        return Access.SCOPED if is_link else Access.NONE

    return judge


def _web(
    files: AppFiles,
    management: Management,
    authorise: Authorise,
    triggers: HttpTriggers,
    health: list[Route],
) -> Starlette:
    """Return the HTTP faces side by side: the management API in front of the app's own routes."""
    door = ManagementApp(
        management,
        authorise=authorise,
        trusts_forwarded_host=files.host_json.use_forwarded_host,
    )
    return Starlette(
        routes=[ManagementRoute(door), *health, Mount("/", app=triggers)],
        middleware=web_middleware(files.host_json, files.local_settings),
    )


def _health(client: Client, catalogue: Catalogue, task_hub: str) -> list[Route]:
    """Return the routes of health that the app has not taken for itself."""
    routes = health_routes(client, task_hub)
    return [each for each in routes if not catalogue.routes.claims(each.path.strip("/"))]


def _worker_pool(options: HostOptions, files: AppFiles, client_binding: str) -> WorkerPool:
    activities = _activity_concurrency(files.host_json)
    threads = _threads(files.environment, activities)
    load = Load(os.fspath(files.app_dir), files.script, threads, client_binding)
    if options.in_process:
        return WorkerPool(in_process_links(), load, count=1)
    python = find_python(files.app_dir, options.python)
    environment = child_environment(files.environment, files.app_dir)
    return WorkerPool(process_links(python, environment), load, count=options.workers)


def _threads(environment: Mapping[str, str], default: int) -> int:
    text = environment.get(THREADS_VARIABLE, "").strip()
    if not text:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= MAX_THREADS:
        raise SettingsError(
            f"The setting {THREADS_VARIABLE} must be a number from 1 to {MAX_THREADS}; it is"
            f" {text!r}."
        )
    return int(text)


def _activity_concurrency(host_json: HostJson) -> int:
    return host_json.max_concurrent_activity_functions or EngineSettings().max_concurrent_activities


def _engine_settings(options: HostOptions, host_json: HostJson) -> EngineSettings:
    defaults = EngineSettings()
    renew_seconds = min(defaults.renew_seconds, options.lease_seconds / 4)
    return EngineSettings(
        poll_seconds=_upkeep_seconds(options, defaults.poll_seconds),
        renew_seconds=_upkeep_seconds(options, renew_seconds),
        max_concurrent_activities=_activity_concurrency(host_json),
        max_concurrent_episodes=(
            host_json.max_concurrent_orchestrator_functions or defaults.max_concurrent_episodes
        ),
        max_concurrent_entities=(
            host_json.max_concurrent_entity_functions or defaults.max_concurrent_entities
        ),
        max_entity_batch=host_json.max_entity_operation_batch_size or defaults.max_entity_batch,
        versions=VersionRule(
            version=host_json.default_version,
            match=host_json.version_match,
            failure=host_json.version_failure,
        ),
        limits=Limits(
            max_actions=host_json.max_orchestration_actions,
            max_payload_bytes=options.max_payload_bytes,
        ),
    )


def _upkeep_seconds(options: HostOptions, usual_seconds: float) -> float:
    """Return how often to keep house. Where a test moves the time, no more often than the leases
    need: each time is one at which a jump has to stop."""
    return usual_seconds if options.clock is None else options.lease_seconds / 4


def _host_name() -> str:
    return f"{socket.gethostname()} pid {os.getpid()}"
