"""What an app logs, in the output of a real host."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.conftest import serve

APP = """
import logging
import azure.functions as func
import azure.durable_functions as df

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
logging.info("imported")

@app.orchestration_trigger(context_name="context")
def Order(context):
    logging.info("ordering")
    yield context.call_activity("pack", "apples")

@app.route(route="web")
def web(req):
    return ""

@app.activity_trigger(input_name="what")
def pack(what: str) -> None:
    logging.getLogger("shop").warning("few %s left", what)
"""


def test_what_an_app_logs_stands_in_the_hosts_log_with_its_function(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "host.json").write_text('{"version": "2.0"}')
    (app / "function_app.py").write_text(APP)
    served = serve(tmp_path, "--log-json", app=app)
    with served.http:
        served.start("Order", "one")
        assert served.finished("one")["runtimeStatus"] == "Completed"
        assert served.host.stop() == 0
    lines = [json.loads(line) for line in served.host.output if line.startswith("{")]
    found = [
        (line["level"], line["event"], line.get("function"), line.get("instance_id"))
        for line in lines
        if line.get("room") == "user_code"
    ]
    assert found == [
        ("info", "imported", None, None),
        ("info", "ordering", "Order", "one"),
        ("warning", "few apples left", "pack", "one"),
    ]
