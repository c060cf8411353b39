"""The workloads that are measured: trivial user code, so that what remains is the runtime."""

import azure.durable_functions as df

app = df.DFApp()


@app.orchestration_trigger(context_name="context")
def Hello(context):
    """Three activities, one after another."""
    greetings = []
    for city in ("Tokyo", "Seattle", "London"):
        greetings.append((yield context.call_activity("say_hello", city)))
    return greetings


@app.orchestration_trigger(context_name="context")
def Steps(context):
    """As many activities as the input says, one after another."""
    count = context.get_input()
    for number in range(count):
        yield context.call_activity("say_hello", str(number))
    return count


@app.orchestration_trigger(context_name="context")
def FanOut(context):
    """As many activities as the input says, all at once."""
    count = context.get_input()
    done = yield context.task_all(
        [context.call_activity("say_hello", str(number)) for number in range(count)]
    )
    return len(done)


@app.activity_trigger(input_name="city")
def say_hello(city: str) -> str:
    """Greet."""
    return f"Hello {city}!"
