"""A singleton, the way the Durable Functions documentation writes it, and two friends.

``start_singleton`` looks whether an instance runs and starts one if not: two steps, and on Azure
two callers at once may both be told "started". Soloist decides in one step, so the same code has
no race: the second caller's ``start_new`` is refused, and the refusal becomes a 409.
"""

from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

FINISHED = (
    df.OrchestrationRuntimeStatus.Completed,
    df.OrchestrationRuntimeStatus.Failed,
    df.OrchestrationRuntimeStatus.Terminated,
    None,  # there is no such instance
)


@app.route(route="orchestrators/{functionName}/{instanceId}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_singleton(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Start ``functionName`` under ``instanceId`` unless it runs already."""
    function_name = req.route_params["functionName"]
    instance_id = req.route_params["instanceId"]
    existing = await client.get_status(instance_id)
    if existing.runtime_status not in FINISHED:
        return func.HttpResponse(
            f"An instance with ID '{instance_id}' already exists.", status_code=409
        )
    try:
        job_input = req.get_json() if req.get_body() else None
    except ValueError as error:
        return func.HttpResponse(f"The body is not JSON: {error}.", status_code=400)
    await client.start_new(function_name, instance_id, job_input)
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def Job(context: df.DurableOrchestrationContext):
    """Do a few steps one after another, with a pause between them."""
    job_input = context.get_input() or {}
    steps = int(job_input.get("steps", 5))
    done = []
    for number in range(1, steps + 1):
        context.set_custom_status(f"step {number} of {steps}")
        done.append((yield context.call_activity("do_step", number)))
        pause = timedelta(seconds=float(job_input.get("pause_seconds", 2)))
        yield context.create_timer(context.current_utc_datetime + pause)
    return {"input": job_input, "done": done}


@app.activity_trigger(input_name="number")
def do_step(number: int) -> str:
    """Pretend to work."""
    return f"step {number} done"


@app.orchestration_trigger(context_name="context")
def Heartbeat(context: df.DurableOrchestrationContext):
    """An eternal singleton: beat, rest, begin anew with a history as short as the first."""
    beats = int(context.get_input() or 0) + 1
    context.set_custom_status(f"{beats} beats")
    yield context.call_activity("do_step", beats)
    yield context.create_timer(context.current_utc_datetime + timedelta(seconds=5))
    context.continue_as_new(beats)


@app.orchestration_trigger(context_name="context")
def Squares(context: df.DurableOrchestrationContext):
    """Fan out over numbers and add up what comes back."""
    count = int(context.get_input() or 10)
    squares = yield context.task_all(
        [context.call_activity("square", number) for number in range(count)]
    )
    return sum(squares)


@app.activity_trigger(input_name="number")
def square(number: int) -> int:
    """Return the number's square."""
    return number * number
