"""One entity that remembers every operation, and orchestrations that call it."""

import azure.durable_functions as df

app = df.DFApp()


@app.entity_trigger(context_name="context")
def Journal(context):
    """Write down who asked, in the order of asking; answer with the place in the order."""
    lines = context.get_state(list)
    lines.append(context.get_input())
    context.set_state(lines)
    context.set_result(len(lines))


@app.orchestration_trigger(context_name="context")
def Writer(context):
    """Call the entity three times with a signal in between; return the places."""
    journal = df.EntityId("Journal", "one")
    me = context.instance_id
    first = yield context.call_entity(journal, "write", f"{me} 0")
    context.signal_entity(journal, "write", f"{me} 1")
    second = yield context.call_entity(journal, "write", f"{me} 2")
    third = yield context.call_entity(journal, "write", f"{me} 3")
    return [first, second, third]
