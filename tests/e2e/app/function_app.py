"""The app under test: the documented singleton code, unchanged, and orchestrators to steer."""

import json
import os
import signal
import threading
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
FINISHED = (
    df.OrchestrationRuntimeStatus.Completed,
    df.OrchestrationRuntimeStatus.Failed,
    df.OrchestrationRuntimeStatus.Terminated,
    None,
)


@app.route(route="orchestrators/{functionName}/{instanceId}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_singleton(req: func.HttpRequest, client) -> func.HttpResponse:
    """Check, then start."""
    instance_id = req.route_params["instanceId"]
    existing = await client.get_status(instance_id)
    if existing.runtime_status not in FINISHED:
        return func.HttpResponse(
            f"An instance with ID '{instance_id}' already exists.", status_code=409
        )
    payload = json.loads(req.get_body() or "null")
    await client.start_new(req.route_params["functionName"], instance_id, payload)
    return client.create_check_status_response(req, instance_id)


@app.route(route="ping", auth_level=func.AuthLevel.ANONYMOUS)
def ping(req: func.HttpRequest) -> func.HttpResponse:
    """Answer at once."""
    return func.HttpResponse("pong")


@app.route(route="broken")
def broken(req: func.HttpRequest) -> func.HttpResponse:
    """Raise."""
    raise ValueError("a secret of the app")


@app.orchestration_trigger(context_name="context")
def Job(context):
    """Note that the body ran, then wait to be let go."""
    payload = context.get_input()
    yield context.call_activity("note", f"ran {context.instance_id}")
    yield context.wait_for_external_event("go")
    return payload


@app.orchestration_trigger(context_name="context")
def Everything(context):
    """Use each kind of task once."""
    squares = yield context.task_all([context.call_activity("square", n) for n in range(10)])
    context.set_custom_status({"squares": squares})
    first = yield context.wait_for_external_event("First")
    second = yield context.wait_for_external_event("second")
    deadline = context.create_timer(context.current_utc_datetime + timedelta(days=1))
    winner = yield context.task_any([deadline, context.call_activity("square", 12)])
    deadline.cancel()
    try:
        yield context.call_activity("fail", "bad luck")
    except Exception as error:
        caught = str(error).split("\n")[0]
    return {
        "sum": sum(squares),
        "events": [first, second],
        "winner": winner.result,
        "caught": caught,
        "guid": str(context.new_guid()),
    }


@app.orchestration_trigger(context_name="context")
def Count(context):
    """Continue as new until the input says five."""
    number = context.get_input()
    yield context.call_activity("square", number)
    if number < 5:
        context.continue_as_new(number + 1)
        return None
    return number


@app.orchestration_trigger(context_name="context")
def Fails(context):
    """Let an activity's failure out."""
    yield context.call_activity("fail", "bad luck")


@app.orchestration_trigger(context_name="context")
def Asks(context):
    """Call an address where nobody listens."""
    yield context.call_http("GET", "http://127.0.0.1:1/")


@app.orchestration_trigger(context_name="context")
def Unknown(context):
    """Call an activity that does not exist."""
    yield context.call_activity("nowhere", 1)


@app.orchestration_trigger(context_name="context")
def Blocks(context):
    """Run an activity that blocks its thread until a file appears on the other end."""
    return (yield context.call_activity("read_pipe", context.get_input()))


@app.orchestration_trigger(context_name="context")
def DiesOnce(context):
    """Run an activity that takes its process down the first time."""
    return (yield context.call_activity("die_once", context.get_input()))


@app.activity_trigger(input_name="number")
def square(number: int) -> int:
    """Return the square."""
    return number * number


@app.activity_trigger(input_name="text")
def fail(text: str) -> None:
    """Raise."""
    raise ValueError(text)


@app.activity_trigger(input_name="path")
def read_pipe(path: str) -> str:
    """Block until somebody writes into the pipe."""
    with open(path) as pipe:
        return f"{pipe.read()} in {threading.current_thread() is not threading.main_thread()}"


@app.activity_trigger(input_name="path")
def die_once(path: str) -> str:
    """Kill the worker process, unless that was done before."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "survived"
    os.kill(os.getpid(), signal.SIGKILL)
    return "unreachable"


@app.activity_trigger(input_name="line")
def note(line: str) -> None:
    """Write a line to the ledger."""
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, f"{line}\n".encode())
    finally:
        os.close(ledger)
