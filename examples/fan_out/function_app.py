"""Fan-out and fan-in: the words of every text of a folder, counted at the same time.

One activity names the texts, one counts a text and runs once for each of them, all at once; the
orchestrator adds up what comes back.
"""

import collections
import os
import pathlib
import re

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

TEXT_NAME = re.compile(r"[\w-]+\.txt")


def texts_folder() -> pathlib.Path:
    """Return the folder that the app setting names, or the one beside this file."""
    beside = pathlib.Path(__file__).parent / "texts"
    return pathlib.Path(os.environ.get("TEXTS_FOLDER", beside))


@app.route(route="texts/{name}", methods=["PUT"])
def keep_text(req: func.HttpRequest) -> func.HttpResponse:
    """Put a text into the folder."""
    name = req.route_params["name"]
    if not TEXT_NAME.fullmatch(name):
        return func.HttpResponse("Call it like 'poem.txt'.", status_code=400)
    (texts_folder() / name).write_bytes(req.get_body())
    return func.HttpResponse(status_code=201)


@app.route(route="counts", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_count(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Count the words of the texts whose names match ``?pattern=``, else of all."""
    pattern = req.params.get("pattern", "*.txt")
    instance_id = await client.start_new("CountWords", client_input=pattern)
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def CountWords(context: df.DurableOrchestrationContext):
    """Fan out over the texts, and fan in their counts."""
    names = yield context.call_activity("list_texts", context.get_input())
    tasks = [context.call_activity("count_words", name) for name in names]
    counts = (yield context.task_all(tasks)) or []  # the SDK makes None of no tasks
    total = collections.Counter()
    for count in counts:
        total.update(count)
    return {
        "texts": len(names),
        "words": sum(total.values()),
        "most_common": total.most_common(3),
        "by_text": {name: sum(count.values()) for name, count in zip(names, counts, strict=True)},
    }


@app.activity_trigger(input_name="pattern")
def list_texts(pattern: str) -> list:
    """Name the texts."""
    return sorted(path.name for path in texts_folder().glob(pattern))


@app.activity_trigger(input_name="name")
def count_words(name: str) -> dict:
    """Count the words of one text."""
    try:
        text = (texts_folder() / name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not a text in UTF-8.") from error
    return collections.Counter(re.findall(r"\w+", text.lower()))
