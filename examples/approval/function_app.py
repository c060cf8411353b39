"""Approval: an orchestration waits for a person, but not for ever.

The answer comes as an external event. When it does not come in time the request is escalated.
"""

import os
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="requests", methods=["POST"])
@app.durable_client_input(client_name="client")
async def ask(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Ask for an approval of what the body says."""
    wait_seconds = float(os.environ.get("APPROVAL_SECONDS") or 3600)
    question = {**req.get_json(), "wait_seconds": wait_seconds}
    instance_id = await client.start_new("Approval", client_input=question)
    return client.create_check_status_response(req, instance_id)


@app.route(route="requests/{id}/{answer:regex(^(yes|no)$)}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def answer(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Answer a request; one that is no longer open says so."""
    instance_id = req.route_params["id"]
    status = await client.get_status(instance_id)
    if status.runtime_status is None:
        return func.HttpResponse("There is no such request.", status_code=404)
    if status.runtime_status != df.OrchestrationRuntimeStatus.Running:
        return func.HttpResponse("The request is closed.", status_code=410)
    await client.raise_event(instance_id, "Answer", req.route_params["answer"])
    return func.HttpResponse(status_code=202)


@app.orchestration_trigger(context_name="context")
def Approval(context: df.DurableOrchestrationContext):
    """Wait for the answer or for the time to run out, whichever is first."""
    question = context.get_input()
    context.set_custom_status("waiting")
    late = context.create_timer(
        context.current_utc_datetime + timedelta(seconds=question["wait_seconds"])
    )
    reply = context.wait_for_external_event("Answer")
    winner = yield context.task_any([reply, late])
    if winner == late:
        context.set_custom_status("escalated")
        return (yield context.call_activity("escalate", question["what"]))
    late.cancel()
    # What the Python client raises arrives as JSON text.
    approved = reply.result in ("yes", '"yes"')
    context.set_custom_status("answered")
    return (yield context.call_activity("carry_out" if approved else "decline", question["what"]))


@app.activity_trigger(input_name="what")
def carry_out(what: str) -> str:
    """Do what was approved."""
    return f"{what}: done"


@app.activity_trigger(input_name="what")
def decline(what: str) -> str:
    """Do without it."""
    return f"{what}: declined"


@app.activity_trigger(input_name="what")
def escalate(what: str) -> str:
    """Ask somebody else."""
    return f"{what}: nobody answered"
