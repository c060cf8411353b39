"""Counter: an entity that keeps a number, signalled, called and read.

Operations of one entity run one after another, so no update is lost, however many arrive at once.
"""

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.entity_trigger(context_name="context")
def Counter(context: df.DurableEntityContext) -> None:
    """Add, answer with the value, start again, or go away."""
    value = context.get_state(lambda: 0)
    if context.operation_name == "add":
        value += context.get_input()
        context.set_state(value)
    elif context.operation_name == "reset":
        context.set_state(value := 0)
    elif context.operation_name == "delete":
        context.destruct_on_exit()
        return
    elif context.operation_name != "get":
        raise ValueError(f"A counter cannot {context.operation_name}.")
    context.set_result(value)


@app.route(route="counters/{key}/{operation}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def signal(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Signal a counter; nobody waits for it."""
    counter = df.EntityId("Counter", req.route_params["key"])
    amount = int(req.params.get("by", "1"))
    await client.signal_entity(counter, req.route_params["operation"], amount)
    return func.HttpResponse(status_code=202)


@app.route(route="counters/{key}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def read(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Answer with what the counter was last."""
    found = await client.read_entity_state(df.EntityId("Counter", req.route_params["key"]))
    if not found.entity_exists:
        return func.HttpResponse("There is no such counter.", status_code=404)
    return func.HttpResponse(str(found.entity_state))


@app.route(route="transfers", methods=["POST"])
@app.durable_client_input(client_name="client")
async def move(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Move an amount from one counter to another."""
    instance_id = await client.start_new("Transfer", client_input=req.get_json())
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def Transfer(context: df.DurableOrchestrationContext):
    """Take from one counter, if it has that much, and give to the other."""
    order = context.get_input()
    source = df.EntityId("Counter", order["from"])
    target = df.EntityId("Counter", order["to"])
    available = yield context.call_entity(source, "get")
    if available < order["amount"]:
        return {"moved": 0, "why": f"there are only {available}"}
    left = yield context.call_entity(source, "add", -order["amount"])
    context.signal_entity(target, "add", order["amount"])
    received = yield context.call_entity(target, "get")
    return {"moved": order["amount"], "left": left, "received": received}


@app.orchestration_trigger(context_name="context")
def Misuse(context: df.DurableOrchestrationContext):
    """Ask for what no counter can do, and return what came of it."""
    try:
        yield context.call_entity(df.EntityId("Counter", "any"), "fly")
    except Exception as error:
        return str(error)
