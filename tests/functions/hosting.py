"""Hosting: apps in a folder, and pools of real workers that run them."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from soloist.contracts.executor import ActivityCall, Episode
from soloist.core.events import ExecutionStarted, HistoryEvent, OrchestratorStarted
from soloist.functions.clientdesk import ClientDesk
from soloist.functions.inprocess import in_process_links
from soloist.functions.links import OpenLink
from soloist.functions.processes import StopLimits, child_environment, process_links
from soloist.functions.seats import SeatLimits
from soloist.functions.workers import HttpCall, WorkerPool
from soloist.wire import Load

AT = datetime(2030, 1, 1, tzinfo=UTC)
AT_ONCE = SeatLimits(first_backoff_seconds=0.0, last_backoff_seconds=0.0)

APP = """
import json, os, signal, sys, threading
import azure.functions as func
import azure.durable_functions as df

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.activity_trigger(input_name="n")
def double(n: int) -> int:
    return n * 2

@app.activity_trigger(input_name="n")
def pid(n: int) -> int:
    return os.getpid()

@app.activity_trigger(input_name="n")
def environment(n: str) -> str:
    return os.environ.get(n)

@app.activity_trigger(input_name="path")
def block(path: str) -> None:
    with open(path, "w"):  # a pipe: opening it tells the test, and waits for it
        threading.Event().wait()

@app.activity_trigger(input_name="code")
def leave(code: int) -> None:
    os._exit(code)

@app.orchestration_trigger(context_name="context")
def Twice(context):
    first = yield context.call_activity("double", 1)
    second = yield context.call_activity("double", first)
    return second

@app.route(route="echo/{*rest}")
def echo(req: func.HttpRequest) -> func.HttpResponse:
    seen = {
        "method": req.method, "url": req.url, "params": dict(req.params),
        "route": dict(req.route_params), "headers": dict(req.headers),
        "body": req.get_body().decode(),
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/json")

@app.route(route="ask/{id}")
@app.durable_client_input(client_name="client")
async def ask(req: func.HttpRequest, client) -> func.HttpResponse:
    status = await client.get_status(req.route_params["id"])
    return func.HttpResponse(str(status.runtime_status))

@app.route(route="start/{id}")
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client) -> func.HttpResponse:
    await client.start_new("Twice", req.route_params["id"])
    return client.create_check_status_response(req, req.route_params["id"])

@app.route(route="raise")
def fail(req: func.HttpRequest) -> str:
    raise KeyError("the reason stays in the log")

@app.route(route="die")
def die(req: func.HttpRequest) -> str:
    os.kill(os.getpid(), signal.SIGKILL)

@app.route(route="dict")
def returns_dict(req: func.HttpRequest):
    return {"a": 1}

@app.route(route="guarded", auth_level=func.AuthLevel.FUNCTION)
def guarded(req: func.HttpRequest) -> str:
    return "open"
"""


def write_app(folder: Path, source: str = APP) -> Path:
    """Write an app into ``folder`` and return the folder."""
    (folder / "function_app.py").write_text(source)
    (folder / "host.json").write_text('{"version": "2.0"}')
    return folder


def processes(
    app_dir: Path, environment: Mapping[str, str] | None = None, **stop: float
) -> OpenLink:
    """Return the starter of worker processes for an app."""
    seen = child_environment({**os.environ, **(environment or {})}, app_dir)
    return process_links(sys.executable, seen, StopLimits(**stop))


def in_process(_app_dir: Path) -> OpenLink:
    """Return the starter of workers in this process."""
    return in_process_links()


@asynccontextmanager
async def pool_over(
    open_link: OpenLink,
    app_dir: Path,
    *,
    count: int = 1,
    limits: SeatLimits = AT_ONCE,
    desk: ClientDesk | None = None,
) -> AsyncIterator[WorkerPool]:
    """Run a pool; leaving the block ends its workers."""
    load = Load(str(app_dir), "function_app.py", 4)
    pool = WorkerPool(open_link, load, count=count, limits=limits, desk=desk)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def activity(name: str, text: str | None = "null", generation: int = 1) -> ActivityCall:
    """Return the call of an activity."""
    return ActivityCall(
        generation=generation, instance_id="instance", task_id=0, name=name, input=text
    )


def first_episode(generation: int = 1, name: str = "Twice") -> Episode:
    """Return the first turn of an orchestrator."""
    started = (OrchestratorStarted(AT), ExecutionStarted(AT, name, f"e{generation}"))
    return later_episode(generation, 0, started, past=(), name=name)


def later_episode(
    generation: int,
    position: int,
    events: tuple[HistoryEvent, ...],
    *,
    past: tuple[HistoryEvent, ...] | None,
    name: str = "Twice",
) -> Episode:
    """Return one more turn of an orchestrator."""
    return Episode(
        generation=generation,
        execution_id=f"e{generation}",
        instance_id=f"i{generation}",
        name=name,
        position=position,
        events=events,
        past=past,
    )


def http_call(function: str, binding: str = "", **route_params: str) -> HttpCall:
    """Return the call of an HTTP function."""
    return HttpCall(
        function=function,
        method="GET",
        url=f"http://localhost/api/{function}",
        headers=(),
        params={},
        route_params=route_params,
        body="",
        client_binding=binding,
    )


def is_alive(pid: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


Opener = Callable[[Path], OpenLink]
