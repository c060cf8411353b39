"""A counter as an entity: told to count by signals, asked by orchestrations, read by anyone."""

import json

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.entity_trigger(context_name="context")
def Counter(context: df.DurableEntityContext):
    """One number. Operations run one after another, so nobody has to lock it."""
    value = context.get_state(lambda: 0)
    match context.operation_name:
        case "add":
            value += context.get_input()
            context.set_state(value)
            context.set_result(value)
        case "reset":
            context.set_state(0)
        case "get":
            context.set_result(value)
        case "delete":
            context.destruct_on_exit()
        case unknown:
            raise ValueError(f"A counter cannot {unknown!r}.")


@app.route(route="counters/{key}/{operation}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def signal_counter(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Signal a counter; nobody waits for what it makes of that."""
    counter = df.EntityId("Counter", req.route_params["key"])
    amount = json.loads(req.get_body() or "null")
    await client.signal_entity(counter, req.route_params["operation"], amount)
    return func.HttpResponse(status_code=202)


@app.route(route="counters/{key}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def read_counter(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Read a counter's committed state."""
    found = await client.read_entity_state(df.EntityId("Counter", req.route_params["key"]))
    if not found.entity_exists:
        return func.HttpResponse("There is no such counter.", status_code=404)
    return func.HttpResponse(json.dumps(found.entity_state), mimetype="application/json")


@app.route(route="moves", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_move(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Move an amount from one counter to another."""
    instance_id = await client.start_new("Move", client_input=req.get_json())
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def Move(context: df.DurableOrchestrationContext):
    """Call two counters, and signal a third that counts the moves."""
    move = context.get_input()
    source = df.EntityId("Counter", move["from"])
    target = df.EntityId("Counter", move["to"])
    held = yield context.call_entity(source, "get")
    if held < move["amount"]:
        return {"moved": False, "held": held}
    left = yield context.call_entity(source, "add", -move["amount"])
    now = yield context.call_entity(target, "add", move["amount"])
    context.signal_entity(df.EntityId("Counter", "moves"), "add", 1)
    return {"moved": True, move["from"]: left, move["to"]: now}
