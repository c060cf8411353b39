"""A timer that fires every second and writes down which occurrence that was."""

import os

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp()


@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
def Tick(timer: func.TimerRequest) -> None:
    """Append the occurrence and whether it is past due; a single append is whole or absent."""
    line = f"{timer.schedule_status['Next']} {timer.past_due}\n"
    ledger = os.open(os.environ["PROOF_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, line.encode())
    finally:
        os.close(ledger)
