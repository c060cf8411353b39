"""What is raced for: short work that bears witness of when it ran, and the doors of an app.

Each line of the ledger is ``begin`` or ``end``, the token of the start, and the time of the
machine's monotonic clock, which is the same for all its processes.
"""

import json
import os
import time
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

FINISHED = ("Completed", "Failed", "Terminated", None)


def work(context):
    order = context.get_input()
    yield context.call_activity("note", f"begin {order['token']}")
    for number in range(order.get("steps", 0)):
        yield context.call_activity("square", number)
    if order.get("rest_ms"):
        yield context.call_activity("rest", order["rest_ms"])
    if order.get("pause_ms"):
        pause = timedelta(milliseconds=order["pause_ms"])
        yield context.create_timer(context.current_utc_datetime + pause)
    yield context.call_activity("note", f"end {order['token']}")
    return order["token"]


@app.orchestration_trigger(context_name="context")
def Work(context):
    """Begin, do a little, end."""
    return (yield from work(context))


@app.orchestration_trigger(context_name="context")
def Other(context):
    """The same under another name."""
    return (yield from work(context))


@app.orchestration_trigger(context_name="context")
def Parent(context):
    """Race for an id by a sub-orchestration; return what came of it."""
    order = context.get_input()
    try:
        yield context.call_sub_orchestrator(order["name"], order["child"], order["id"])
    except Exception as failure:
        return str(failure)
    return "ended"


@app.activity_trigger(input_name="number")
def square(number: int) -> int:
    """Return the square."""
    return number * number


@app.activity_trigger(input_name="milliseconds")
def rest(milliseconds: int) -> None:
    """Take a while."""
    time.sleep(milliseconds / 1000)


@app.activity_trigger(input_name="line")
def note(line: str) -> None:
    """Write a line to the ledger; a single append is whole or absent."""
    ledger = os.open(os.environ["PROOF_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, f"{line} {time.monotonic_ns()}\n".encode())
    finally:
        os.close(ledger)


@app.route(route="singleton/{functionName}/{instanceId}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def singleton(req: func.HttpRequest, client) -> func.HttpResponse:
    """Check, then start: the code of the documentation."""
    name, instance_id = req.route_params["functionName"], req.route_params["instanceId"]
    existing = await client.get_status(instance_id)
    status = existing.runtime_status
    if (status.name if status else None) not in FINISHED:
        return func.HttpResponse("it runs", status_code=409)
    await client.start_new(name, instance_id, json.loads(req.get_body()))
    return client.create_check_status_response(req, instance_id)


@app.route(route="hasty/{functionName}/{instanceId}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def hasty(req: func.HttpRequest, client) -> func.HttpResponse:
    """Start without looking."""
    name, instance_id = req.route_params["functionName"], req.route_params["instanceId"]
    await client.start_new(name, instance_id, json.loads(req.get_body()))
    return client.create_check_status_response(req, instance_id)
