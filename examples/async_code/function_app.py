"""Async code: orchestrators declared ``async def``, which await where others yield.

This is an extension of Soloist; on Azure an orchestrator of this SDK must be a generator. What is
awaited is still a task of the context, never one of asyncio's: the code is replayed.

Activities may be ``async def`` everywhere, and use asyncio as they like.
"""

import asyncio
import json
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

PRICES = {"tea": 4, "coffee": 5, "cake": 6}


@app.route(route="orders", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_order(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Start with a body like ``{"items": ["tea", "cake"], "patience_seconds": 60}``."""
    order = {"patience_seconds": 60} | json.loads(req.get_body())
    instance_id = await client.start_new("Order", client_input=order)
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
async def Order(context: df.DurableOrchestrationContext):
    """Look all prices up at once, wait for the money, and hand over."""
    order = context.get_input()
    try:
        prices = await context.task_all([context.call_activity("price", x) for x in order["items"]])
    except Exception as error:
        return {"refused": str(error).splitlines()[0].strip()}
    context.set_custom_status({"to_pay": sum(prices)})
    paid = await first_within(context, "payment", order["patience_seconds"])
    if paid is None or paid < sum(prices):
        return {"left": "unpaid", "paid": paid}
    served = [await context.call_activity("serve", item) for item in order["items"]]
    return {"served": served, "change": paid - sum(prices)}


async def first_within(context: df.DurableOrchestrationContext, event: str, seconds: float):
    """Return an event's data, ``None`` if it does not come in time: helpers are async, too."""
    deadline = context.create_timer(context.current_utc_datetime + timedelta(seconds=seconds))
    arrival = context.wait_for_external_event(event)
    if await context.task_any([arrival, deadline]) == deadline:
        return None
    deadline.cancel()
    return arrival.result


@app.activity_trigger(input_name="item")
async def price(item: str) -> int:
    """Look a price up."""
    await asyncio.sleep(0)
    if item not in PRICES:
        raise LookupError(f"no {item} on the card")
    return PRICES[item]


@app.activity_trigger(input_name="item")
async def serve(item: str) -> str:
    """Serve the cup and the spoon at the same time."""
    cup, spoon = await asyncio.gather(fetch(f"a {item}"), fetch("a spoon"))
    return f"{cup} and {spoon}"


async def fetch(thing: str) -> str:
    """Pretend to walk."""
    await asyncio.sleep(0.01)
    return thing
