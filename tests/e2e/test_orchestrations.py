"""What orchestrators can do, seen through HTTP."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tests.e2e.conftest import Served


def test_every_kind_of_task_comes_to_its_end(served: Served) -> None:
    served.start("Everything", "all")
    served.raise_event("all", "second", {"early": True})
    served.raise_event("all", "FIRST", [1, 2])
    status = served.finished("all")
    output = status["output"]
    assert isinstance(output, dict)
    assert status["customStatus"] == {"squares": [n * n for n in range(10)]}
    assert output["sum"] == 285
    assert output["events"] == [[1, 2], {"early": True}]
    assert output["winner"] == 144
    assert output["caught"].strip() == "Activity function 'fail' failed:  ValueError: bad luck"


def test_an_eternal_job_goes_on_under_one_id(served: Served) -> None:
    served.start("Count", "count", 0)
    assert served.finished("count")["output"] == 5


def test_a_failure_says_which_activity_raised_what(served: Served) -> None:
    served.start("Fails", "fails")
    status = served.finished("fails")
    assert status["runtimeStatus"] == "Failed"
    assert "Orchestrator function 'Fails' failed: " in str(status["output"])
    assert "ValueError: bad luck" in str(status["output"])


def test_an_unknown_activity_fails_its_caller_at_once_and_names_the_known_ones(
    served: Served,
) -> None:
    served.start("Unknown", "unknown")
    output = str(served.finished("unknown")["output"])
    assert "The function 'nowhere' doesn't exist" in output
    assert "'square'" in output


def test_an_http_call_that_nobody_answers_fails_and_names_the_address(served: Served) -> None:
    served.start("Asks", "asks")
    assert "GET http://127.0.0.1:1/ failed" in str(served.finished("asks")["output"])


def test_a_blocking_activity_stops_neither_the_api_nor_other_work(
    served: Served, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    served.start("Blocks", "blocks", str(pipe))
    assert served.http.get("/api/ping").text == "pong"
    served.start("Count", "beside", 4)
    assert served.finished("beside")["output"] == 5
    assert served.status("blocks").status_code == 202
    threading.Thread(target=lambda: pipe.write_text("written")).start()
    assert served.finished("blocks")["output"] == "written in True"


def test_a_dead_worker_is_replaced_and_its_work_run_again(served: Served, tmp_path: Path) -> None:
    served.start("DiesOnce", "dies", str(tmp_path / "died"))
    assert served.finished("dies")["output"] == "survived"


def test_an_exception_of_a_function_stays_in_the_log(served: Served) -> None:
    answer = served.http.get("/api/broken")
    assert (answer.status_code, answer.text) == (500, "")


def test_a_terminated_instance_is_gone_for_events_and_can_be_purged(served: Served) -> None:
    served.start("Job", "ended")
    base = f"{served.host.management}/instances/ended"
    assert served.http.delete(base).status_code == 412
    assert served.http.post(f"{base}/terminate", params={"reason": "enough"}).status_code == 202
    status = served.finished("ended")
    assert (status["runtimeStatus"], status["output"]) == ("Terminated", "enough")
    assert served.raise_event("ended", "go").status_code == 410
    assert served.http.delete(base).json() == {"instancesDeleted": 1}
    assert served.status("ended").status_code == 404
