"""Start a countdown."""

import azure.durable_functions as df
import azure.functions as func


async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    """Start one of as many steps as the route says."""
    client = df.DurableOrchestrationClient(starter)
    instance_id = await client.start_new("Countdown", None, int(req.route_params["steps"]))
    return client.create_check_status_response(req, instance_id)
