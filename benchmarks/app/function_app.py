"""The workloads that are measured: trivial user code, so that what remains is the runtime."""

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

FINISHED = (
    df.OrchestrationRuntimeStatus.Completed,
    df.OrchestrationRuntimeStatus.Failed,
    df.OrchestrationRuntimeStatus.Terminated,
    None,  # there is no such instance
)


@app.orchestration_trigger(context_name="context")
def Hello(context):
    """Three activities, one after another."""
    greetings = []
    for city in ("Tokyo", "Seattle", "London"):
        greetings.append((yield context.call_activity("say_hello", city)))
    return greetings


@app.orchestration_trigger(context_name="context")
def Steps(context):
    """As many activities as the input says, one after another."""
    count = context.get_input()
    for number in range(count):
        yield context.call_activity("say_hello", str(number))
    return count


@app.orchestration_trigger(context_name="context")
def FanOut(context):
    """As many activities as the input says, all at once."""
    count = context.get_input()
    done = yield context.task_all(
        [context.call_activity("say_hello", str(number)) for number in range(count)]
    )
    return len(done)


@app.activity_trigger(input_name="city")
def say_hello(city: str) -> str:
    """Greet."""
    return f"Hello {city}!"


@app.orchestration_trigger(context_name="context")
def StepsThenWait(context):
    """As many activities as the input says, one after another, and then an event."""
    count = context.get_input()
    for number in range(count):
        yield context.call_activity("say_hello", str(number))
    yield context.wait_for_external_event("go")
    return count


@app.orchestration_trigger(context_name="context")
def Wait(context):
    """Wait for an event that nobody raises."""
    yield context.wait_for_external_event("go")


@app.route(route="orchestrators/{functionName}/{instanceId}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_singleton(req, client):
    """Look whether the instance runs and start it if not, as the singleton example does."""
    instance_id = req.route_params["instanceId"]
    existing = await client.get_status(instance_id)
    if existing.runtime_status not in FINISHED:
        return func.HttpResponse("It runs already.", status_code=409)
    await client.start_new(req.route_params["functionName"], instance_id)
    return client.create_check_status_response(req, instance_id)
