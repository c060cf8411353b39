"""Starts a tour: the body is a list of cities."""

import azure.durable_functions as df
import azure.functions as func
from shared_code.places import DEFAULT_TOUR


async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    """Start a tour through the cities of the body, or the usual one."""
    client = df.DurableOrchestrationClient(starter)
    cities = req.get_json() if req.get_body() else DEFAULT_TOUR
    instance_id = await client.start_new("Tour", None, cities)
    return client.create_check_status_response(req, instance_id)
