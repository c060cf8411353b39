"""Durable HTTP: an orchestrator calls a slow service, which answers first that it is not done.

A response of 202 with a ``Location`` is followed up by the host, so the orchestrator sees only the
last response, and sleeps meanwhile. The service is a part of this app, to have one at hand.
"""

import json
from urllib.parse import urljoin

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

ANSWERS_NOT_DONE = 2


@app.route(route="order-report/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def order_report(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Let an orchestration fetch a report from a ``service``, by default the one of this app."""
    order = json.loads(req.get_body() or "{}")
    service = order.get("service") or urljoin(req.url, "/api/reports")
    address = f"{service}/{req.route_params['name']}"
    instance_id = await client.start_new("FetchReport", client_input=address)
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def FetchReport(context: df.DurableOrchestrationContext):
    """Ask for a report and wait until it is there."""
    address = context.get_input()
    try:
        response = yield context.call_http("POST", address, content={"pages": 3})
    except Exception as error:
        return {"unreachable": str(error).splitlines()[0].strip()}
    if response["statusCode"] != 200:
        return {"refused": response["statusCode"], "because": response["content"]}
    return json.loads(response["content"])


@app.route(route="reports/{name}", methods=["POST"])
def begin_report(req: func.HttpRequest) -> func.HttpResponse:
    """The slow service: take an order."""
    name = req.route_params["name"]
    if name == "secret":
        return func.HttpResponse("not for you", status_code=403)
    return not_done(name, req.get_json()["pages"], times=1)


@app.route(route="reports/{name}/{pages:int}/{times:int}", methods=["GET"])
def read_report(req: func.HttpRequest) -> func.HttpResponse:
    """The slow service: not done yet, or the report. All it has to know stands in the address."""
    name, pages = req.route_params["name"], int(req.route_params["pages"])
    times = int(req.route_params["times"])
    if times < ANSWERS_NOT_DONE:
        return not_done(name, pages, times + 1)
    report = {"name": name, "pages": pages, "answers_before": times}
    return func.HttpResponse(json.dumps(report), mimetype="application/json")


def not_done(name: str, pages: int, times: int) -> func.HttpResponse:
    """Say where to look, and when."""
    headers = {"Location": f"/api/reports/{name}/{pages}/{times}", "Retry-After": "1"}
    return func.HttpResponse(status_code=202, headers=headers)
