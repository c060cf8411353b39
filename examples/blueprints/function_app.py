"""Blueprints: an app in several files, each with functions of one concern."""

import azure.durable_functions as df
import azure.functions as func
from greetings import greetings
from orchestrations import orchestrations

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(greetings)
app.register_functions(orchestrations)


@app.route(route="tours/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def begin_tour(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Begin a tour; its orchestrator stands in another file."""
    instance_id = await client.start_new("Tour", client_input=req.route_params["name"])
    return client.create_check_status_response(req, instance_id)
