"""An app on azure-functions-durable 2.x that keeps payloads of more than a few bytes in files."""

import os
from pathlib import Path
from uuid import uuid4

import azure.durable_functions as df
import azure.functions as func
from durabletask.payload import LargePayloadStorageOptions, PayloadStore

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


class Files(PayloadStore):
    """A file for each payload."""

    def __init__(self, folder):
        self._folder = folder
        folder.mkdir(exist_ok=True)

    @property
    def options(self):
        return LargePayloadStorageOptions(threshold_bytes=100)

    def upload(self, data, *, instance_id=None):
        name = uuid4().hex
        (self._folder / name).write_bytes(data)
        return f"file:{name}"

    async def upload_async(self, data, *, instance_id=None):
        return self.upload(data)

    def download(self, token):
        return (self._folder / token.removeprefix("file:")).read_bytes()

    async def download_async(self, token):
        return self.download(token)

    def is_known_token(self, value):
        return value.startswith("file:")


app.configure_large_payloads(payload_store=Files(Path(os.environ["LEDGER"]).parent / "payloads"))


@app.route(route="repeat", methods=["POST"])
@app.durable_client_input(client_name="client")
async def repeat(req: func.HttpRequest, client: df.DurableFunctionsClient):
    """Have the body repeated."""
    name = await client.schedule_new_orchestration("Repeats", input=req.get_body().decode())
    state = await client.wait_for_orchestration_completion(name, timeout=30)
    return func.HttpResponse(state.get_output())


@app.orchestration_trigger(context_name="context")
def Repeats(context):
    """Call the activity."""
    return (yield context.call_activity("twice", context.get_input()))


@app.activity_trigger(input_name="words")
def twice(words: str) -> str:
    """Return the words two times."""
    return words * 2
