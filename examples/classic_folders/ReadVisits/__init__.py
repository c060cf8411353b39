"""Tells how often a city was visited."""

import json

import azure.durable_functions as df
import azure.functions as func


async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    """Read the state of the city's entity."""
    client = df.DurableOrchestrationClient(starter)
    found = await client.read_entity_state(df.EntityId("Visits", req.route_params["city"]))
    visits = found.entity_state if found.entity_exists else 0
    return func.HttpResponse(json.dumps(visits), mimetype="application/json")
