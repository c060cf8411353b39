"""Eternal: an orchestration that runs until it is told to stop.

It waits for events and begins anew after each, so its history never grows. Events that arrive
while it begins anew are kept for the next round.
"""

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.route(route="tills/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def open_till(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Open a till under a name; one that is open already is refused with 409."""
    name = req.route_params["name"]
    await client.start_new("Till", name, {"sales": 0, "total": 0})
    return client.create_check_status_response(req, name)


@app.orchestration_trigger(context_name="context")
def Till(context: df.DurableOrchestrationContext):
    """Add up what is sold, until the event ``close`` comes."""
    till = context.get_input()
    context.set_custom_status(till)
    sale = context.wait_for_external_event("sale")
    close = context.wait_for_external_event("close")
    winner = yield context.task_any([sale, close])
    if winner == close:
        return {**till, "closed_by": close.result}
    # Nothing is awaited from here on: what came meanwhile would be handed to the old wait.
    context.continue_as_new({"sales": till["sales"] + 1, "total": till["total"] + sale.result})
