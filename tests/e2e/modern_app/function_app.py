"""An app on azure-functions-durable 2.x that uses what there is: the documented singleton code, both
styles of orchestrators, entities of every form, every verb of the client."""

import json
import os
import signal
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func
from durabletask import task
from durabletask.client import OrchestrationQuery, OrchestrationStatus
from durabletask.entities import DurableEntity, EntityInstanceId
from durabletask.scheduled import AsyncScheduledTaskClient, ScheduleCreationOptions

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.configure_scheduled_tasks()
blueprint = df.Blueprint()

RUNNING = (
    OrchestrationStatus.PENDING,
    OrchestrationStatus.RUNNING,
    OrchestrationStatus.SUSPENDED,
)
FINISHED = (
    df.OrchestrationRuntimeStatus.Completed,
    df.OrchestrationRuntimeStatus.Failed,
    df.OrchestrationRuntimeStatus.Terminated,
    None,
)


def answer(value, status_code=200):
    """Return a response of JSON."""
    return func.HttpResponse(
        json.dumps(value, default=str), status_code=status_code, mimetype="application/json"
    )


def conflict(instance_id):
    """Return the documented refusal."""
    return func.HttpResponse(
        f"An instance with ID '{instance_id}' already exists.", status_code=409
    )


# How instances are started.


@app.route(route="orchestrators/{functionName}/{instanceId}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_singleton(req: func.HttpRequest, client: df.DurableFunctionsClient):
    """Check, then start, in the words of 2.x."""
    instance_id = req.route_params["instanceId"]
    existing = await client.get_orchestration_state(instance_id)
    if existing is not None and existing.runtime_status in RUNNING:
        return conflict(instance_id)
    payload = json.loads(req.get_body() or "null")
    await client.schedule_new_orchestration(
        req.route_params["functionName"], input=payload, instance_id=instance_id
    )
    return client.create_check_status_response(req, instance_id)


@app.route(route="classic/{functionName}/{instanceId}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_classic(req: func.HttpRequest, client):
    """Check, then start, in the words of 1.x."""
    instance_id = req.route_params["instanceId"]
    existing = await client.get_status(instance_id)
    if existing.runtime_status not in FINISHED:
        return conflict(instance_id)
    payload = json.loads(req.get_body() or "null")
    await client.start_new(req.route_params["functionName"], instance_id, payload)
    return client.create_check_status_response(req, instance_id)


@app.route(route="careless/{functionName}/{instanceId}", methods=["POST"])
@app.durable_client_input(client_name="client")
def start_careless(req: func.HttpRequest, client: df.SyncDurableFunctionsClient):
    """Start without asking, in a plain function."""
    instance_id = client.schedule_new_orchestration(
        req.route_params["functionName"], instance_id=req.route_params["instanceId"]
    )
    return client.create_check_status_response(req, instance_id)


@app.route(route="mapped/{instanceId}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_mapped(req: func.HttpRequest, client):
    """Start, and give an own answer to a refusal."""
    try:
        await client.schedule_new_orchestration("Job", instance_id=req.route_params["instanceId"])
    except Exception as error:
        raise RuntimeError("an answer of the app's own") from error
    return answer("started")


# What can be done to them.


@app.route(route="instances/{instanceId}/{verb}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def manage(req: func.HttpRequest, client: df.DurableFunctionsClient, context: func.Context):
    """Call one verb of the client."""
    instance_id, verb = req.route_params["instanceId"], req.route_params["verb"]
    data = json.loads(req.get_body() or "null")
    if verb == "state":
        state = await client.get_orchestration_state(instance_id)
        return answer(None if state is None else [state.runtime_status.name, state.get_output()])
    if verb == "wait":
        state = await client.wait_for_orchestration_completion(instance_id, timeout=30)
        return answer([state.runtime_status.name, state.serialized_output])
    if verb == "status":
        status = await client.get_status(instance_id, show_history=True, show_history_output=True)
        return answer(status.to_json())
    if verb == "event":
        await client.raise_orchestration_event(instance_id, data["name"], data=data["data"])
    elif verb == "suspend":
        await client.suspend_orchestration(instance_id, reason="to see")
    elif verb == "resume":
        await client.resume_orchestration(instance_id)
    elif verb == "terminate":
        await client.terminate_orchestration(instance_id, output=data)
    elif verb == "rewind":
        await client.rewind_orchestration(instance_id, reason="mended")
    elif verb == "restart":
        return answer(
            await client.restart_orchestration(instance_id, restart_with_new_instance_id=True)
        )
    elif verb == "purge":
        result = await client.purge_orchestration(instance_id)
        return answer(result.deleted_instance_count)
    elif verb == "history":
        events = await client.get_orchestration_history(instance_id)
        return answer([type(event).__name__ for event in events])
    elif verb == "list":
        states = await client.get_all_orchestration_states(
            OrchestrationQuery(fetch_inputs_and_outputs=True)
        )
        return answer([each.instance_id for each in states])
    elif verb == "links":
        return answer(
            [client.create_http_management_payload(req, instance_id), context.invocation_id]
        )
    return answer(None, 202)


@app.route(route="entities/{name}/{key}/{operation}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def entities(req: func.HttpRequest, client: df.DurableFunctionsClient):
    """Signal an entity, read one, or list them all."""
    entity = EntityInstanceId(req.route_params["name"], req.route_params["key"])
    operation = req.route_params["operation"]
    if operation == "read":
        found = await client.get_entity(entity)
        return answer(None if found is None else found.get_state(int))
    if operation == "list":
        return answer([str(each.id) for each in await client.get_all_entities()])
    await client.signal_entity(entity, operation, input=json.loads(req.get_body() or "null"))
    return answer(None, 202)


@app.route(route="schedules/{name}/{verb}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def schedules(req: func.HttpRequest, client: df.DurableFunctionsClient):
    """Make, describe or delete a schedule."""
    tasks = AsyncScheduledTaskClient(client)
    name, verb = req.route_params["name"], req.route_params["verb"]
    if verb == "create":
        await tasks.create_schedule(
            ScheduleCreationOptions(
                schedule_id=name,
                orchestration_name="Square",
                orchestration_input=3,
                interval=timedelta(seconds=1),
            )
        )
    elif verb == "delete":
        await tasks.get_schedule_client(name).delete()
    found = await tasks.get_schedule(name)
    return answer(None if found is None else found.status.name)


@blueprint.route(route="operation/{number}")
def operation(req: func.HttpRequest):
    """Say 202 and where to ask again, once."""
    number = int(req.route_params["number"])
    if number:
        headers = {"Location": f"/api/operation/{number - 1}", "Retry-After": "0"}
        return func.HttpResponse("not yet", status_code=202, headers=headers)
    return answer({"asked": req.headers.get("x-asked")})


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
@app.durable_client_input(client_name="client")
async def on_startup(timer: func.TimerRequest, client):
    """Start an instance as soon as the host is there."""
    await client.schedule_new_orchestration("Square", input=9, instance_id="on-startup")


# Orchestrators.


@app.orchestration_trigger(context_name="context")
def Job(context):
    """Note that the body ran, then wait to be let go."""
    payload = context.get_input()
    yield context.call_activity("note", f"ran {context.instance_id}")
    yield context.wait_for_external_event("go")
    return payload


@app.orchestration_trigger(context_name="context")
def Everything(context):
    """Use each kind of task once, in the words of 1.x."""
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
    options = df.RetryOptions(1, 3)
    steady = yield context.call_activity_with_retry("flaky", options, context.instance_id)
    child = yield context.call_sub_orchestrator("Square", 5)
    return {
        "sum": sum(squares),
        "events": [first, second],
        "winner": winner.get_result(),
        "caught": caught,
        "steady": steady,
        "child": child,
        "version": context.version,
        "guid": str(context.new_guid()),
    }


@app.orchestration_trigger(context_name="ctx")
def Native(ctx: task.OrchestrationContext, number: int):
    """The same in the words of the SDK below."""
    doubled = yield ctx.call_activity("double", input=number)
    yield ctx.create_timer(timedelta(milliseconds=10))
    squares = yield task.when_all([ctx.call_activity("square", input=n) for n in range(doubled)])
    policy = task.RetryPolicy(
        first_retry_interval=timedelta(milliseconds=10), max_number_of_attempts=3
    )
    steady = yield ctx.call_activity("flaky", input=ctx.instance_id, retry_policy=policy)
    child = yield ctx.call_sub_orchestrator("Square", input=doubled, version="1.0")
    return [doubled, sum(squares), steady, child, ctx.version]


@blueprint.orchestration_trigger(context_name="context", orchestration="Square")
def _square(context):
    """Return a square."""
    return (yield context.call_activity("square", context.get_input()))


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
def Asks(context):
    """Call a web address that is busy at first."""
    reply = yield context.call_http("GET", context.get_input(), headers={"x-asked": "yes"})
    return [reply.status_code, json.loads(reply.content)]


@app.orchestration_trigger(context_name="context")
def Mends(context):
    """Fail until a file is there."""
    return (yield context.call_activity("needs", context.get_input()))


@app.orchestration_trigger(context_name="context")
def Unknown(context):
    """Call an activity that does not exist."""
    yield context.call_activity("nowhere", 1)


@app.orchestration_trigger(context_name="context")
def Raises(context):
    """Raise."""
    raise ValueError("not today")


@app.orchestration_trigger(context_name="context")
def Carries(context):
    """Pass a long text on."""
    text = yield context.call_activity("echo", context.get_input())
    return text


@app.orchestration_trigger(context_name="context")
def Dies(context):
    """Take the worker down in the middle, once."""
    first = yield context.call_activity("square", 3)
    path = context.get_input()
    if not os.path.exists(path):
        with open(path, "w"):
            os.kill(os.getpid(), signal.SIGKILL)
    yield context.call_activity("note", f"survived {context.instance_id}")
    return first


@app.orchestration_trigger(context_name="context")
def Shops(context):
    """Call and signal entities."""
    counter = df.EntityId("Counter", context.instance_id)
    context.signal_entity(counter, "add", 2)
    total = yield context.call_entity(counter, "add", 3)
    try:
        yield context.call_entity(counter, "explode")
    except Exception as error:
        total = [total, str(error)]
    return total


@app.orchestration_trigger(context_name="ctx")
def Transfer(ctx: task.OrchestrationContext, amount: int):
    """Move money between two accounts while nobody else can."""
    one = EntityInstanceId("account", f"{ctx.instance_id}-1")
    two = EntityInstanceId("account", f"{ctx.instance_id}-2")
    with (yield ctx.lock_entities([one, two])):
        yield ctx.call_entity(one, "deposit", -amount)
        yield ctx.call_entity(two, "deposit", amount)
        first = yield ctx.call_entity(one, "balance")
        second = yield ctx.call_entity(two, "balance")
    return [first, second]


# Entities.


@app.entity_trigger(context_name="context", entity_name="Counter")
def counter(context):
    """Count, in the words of 1.x."""
    total = context.get_state(lambda: 0)
    if context.operation_name == "explode":
        raise ValueError("boom")
    total += context.get_input()
    context.set_state(total)
    context.set_result(total)


@app.entity_trigger(context_name="context", entity_name="account")
class Account(DurableEntity):
    """An account with a balance."""

    def deposit(self, amount: int):
        """Add to the balance."""
        self.set_state(self.get_state(int, 0) + amount)

    def balance(self, _=None):
        """Return the balance."""
        return self.get_state(int, 0)


@app.entity_trigger(context_name="ctx")
def relay(ctx, given):
    """Pass a signal on, and start an orchestration."""
    ctx.signal_entity(EntityInstanceId("Counter", ctx.entity_id.key), "add", given)
    ctx.schedule_new_orchestration("Square", given, instance_id=f"relayed-{ctx.entity_id.key}")


# Activities.


@app.activity_trigger(input_name="number")
def square(number: int) -> int:
    """Return the square."""
    return number * number


@app.activity_trigger(input_name="number")
def double(ctx, number: int) -> int:
    """Return the double; with the context of the SDK below, which has nothing in it here."""
    return number * 2


@app.activity_trigger(input_name="text")
def fail(text: str) -> None:
    """Raise."""
    raise ValueError(text)


@app.activity_trigger(input_name="text")
async def echo(text: str) -> str:
    """Return what came."""
    return text


@app.activity_trigger(input_name="path")
def needs(path: str) -> str:
    """Raise as long as a file is missing."""
    if not os.path.exists(path):
        raise ValueError("missing")
    return "there"


SEEN = {}


@app.activity_trigger(input_name="name")
def flaky(name: str) -> int:
    """Fail the first time."""
    SEEN[name] = SEEN.get(name, 0) + 1
    if SEEN[name] < 2:
        raise ValueError("not yet")
    return SEEN[name]


@app.activity_trigger(input_name="line")
@app.durable_client_input(client_name="client")
async def note(line: str, client: df.DurableFunctionsClient, context: func.Context) -> None:
    """Write a line to the ledger, while being seen by the client."""
    instance_id = line.split()[1]
    state = await client.get_orchestration_state(instance_id)
    assert state.runtime_status is OrchestrationStatus.RUNNING, state
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, f"{line}\n".encode())
    finally:
        os.close(ledger)


app.register_functions(blueprint)
