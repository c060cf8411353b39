"""Progress: a long job says how far it is, for whoever asks for its status."""

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="imports", methods=["POST"])
@app.durable_client_input(client_name="client")
async def begin(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Begin an import of as many pages as the body says."""
    instance_id = await client.start_new("Import", client_input=req.get_json())
    return client.create_check_status_response(req, instance_id)


@app.route(route="imports/{id}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def progress(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Answer with how far an import is, for people."""
    status = await client.get_status(req.route_params["id"])
    if status.runtime_status is None:
        return func.HttpResponse("There is no such import.", status_code=404)
    done = (status.custom_status or {}).get("done_percent", 0)
    return func.HttpResponse(f"{status.runtime_status.name}, {done} %")


@app.orchestration_trigger(context_name="context")
def Import(context: df.DurableOrchestrationContext):
    """Take page after page, and let somebody look at the half of it if asked to."""
    order = context.get_input()
    rows = 0
    for page in range(1, order["pages"] + 1):
        rows += yield context.call_activity("take_page", page)
        done_percent = 100 * page // order["pages"]
        context.set_custom_status({"done_percent": done_percent, "rows": rows})
        if order.get("stops_at_half") and page == order["pages"] // 2:
            yield context.wait_for_external_event("go on")
    return rows


@app.activity_trigger(input_name="page")
def take_page(page: int) -> int:
    """Return how many rows the page has."""
    return 10 + page
