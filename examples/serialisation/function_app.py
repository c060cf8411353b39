"""Serialisation: objects of the app's own classes as inputs and results.

A class with ``to_json`` and ``from_json`` travels through clients, orchestrators, activities and
sub-orchestrations; each function gets an object and returns one.
"""

from decimal import Decimal

import azure.durable_functions as df
import azure.functions as func
from shop import Basket, Item

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="baskets/{customer}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def check_out(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Check out a basket of the names and prices in the body."""
    items = [Item(name, Decimal(price)) for name, price in req.get_json().items()]
    basket = Basket(req.route_params["customer"], items)
    instance_id = await client.start_new("CheckOut", client_input=basket)
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def CheckOut(context: df.DurableOrchestrationContext):
    """Give the customer a present, and add up what it comes to."""
    basket: Basket = context.get_input()
    basket = yield context.call_activity("add_present", basket)
    dearest: Item = yield context.call_sub_orchestrator("FindDearest", basket)
    return {
        "customer": basket.customer,
        "total": str(sum(item.price for item in basket.items)),
        "items": len(basket.items),
        "dearest": dearest.name,
    }


@app.orchestration_trigger(context_name="context")
def FindDearest(context: df.DurableOrchestrationContext):
    """Return the dearest item of a basket."""
    basket: Basket = context.get_input()
    name = yield context.call_activity("name_of_dearest", basket)
    (item,) = [item for item in basket.items if item.name == name]
    # A result must be plain JSON, or be written as what the codec writes for an object.
    return {"__class__": "Item", "__module__": "shop", "__data__": Item.to_json(item)}


@app.activity_trigger(input_name="basket")
def add_present(basket: Basket) -> Basket:
    """Put something small into the basket."""
    return Basket(basket.customer, [*basket.items, Item("present", Decimal("0.00"))])


@app.activity_trigger(input_name="basket")
def name_of_dearest(basket: Basket) -> str:
    """Compare the prices."""
    return max(basket.items, key=lambda item: item.price).name
