"""Logs: what the app logs reaches the host, and says where it comes from."""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from soloist_worker.frames import FrameReader, FrameWriter
from soloist_worker.logs import HostHandler
from tests.worker.apps import (
    InProcessHost,
    ProcessHost,
    activity,
    entity,
    episode,
    http,
    load,
    timer,
    write_app,
)

Message = dict[str, Any]

APP = """
    import asyncio
    import logging
    import logging.config
    import os
    import sys

    log = logging.getLogger("shop")


    @app.orchestration_trigger(context_name="context")
    def orchestrate(context):
        logging.info("first turn")
        yield context.call_activity("work", 1)
        logging.info("second turn")


    @app.activity_trigger(input_name="x")
    def work(x):
        logging.info("in an activity, %s", x)
        return x


    @app.activity_trigger(input_name="x")
    async def work_async(x):
        await asyncio.sleep(0)
        logging.info("in an asynchronous activity")
        await asyncio.to_thread(logging.info, "in its thread")


    @app.entity_trigger(context_name="context")
    def counter(context):
        logging.info("in an entity")


    @app.route(route="web")
    def web(req):
        logging.info("in an HTTP function")
        return ""


    @app.timer_trigger(schedule="0 0 * * * *", arg_name="timer")
    def tick(timer):
        logging.info("in a timer function")


    @app.activity_trigger(input_name="x")
    def all_levels(x):
        for level in (5, 10, 20, 25, 30, 40, 50, 60):
            log.log(level, "at %d", level)


    @app.activity_trigger(input_name="x")
    def catches(x):
        try:
            raise KeyError("lost")
        except KeyError:
            log.exception("caught", stack_info=x == 1)


    @app.activity_trigger(input_name="x")
    def long(x):
        try:
            raise ValueError("y" * 100_000)
        except ValueError:
            log.exception("x" * 100_000)


    @app.activity_trigger(input_name="x")
    def unformattable(x):
        logging.info("%d", "no number")
        logging.info("a lone \\ud800")


    @app.activity_trigger(input_name="x")
    def formats(x):
        for handler in logging.getLogger().handlers:
            handler.setFormatter(logging.Formatter("[%(name)s] %(message)s"))
        log.info("formatted")


    @app.activity_trigger(input_name="x")
    def configures(x):
        logging.config.dictConfig({"version": 1, "loggers": {"shop": {"level": "WARNING"}}})
        log.info("too low")
        log.warning("high enough")


    class Finalized:
        def __del__(self):
            logging.info("from a finalizer")


    class Name:
        def __str__(self):
            del self.held  # in the middle of a record
            return "a record that holds another"


    @app.activity_trigger(input_name="x")
    def finalizes(x):
        name = Name()
        name.held = Finalized()
        logging.info("%s", name)


    @app.activity_trigger(input_name="path")
    def forks(path):
        child = os.fork()
        if child == 0:
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), 2)
            sys.stderr = open(2, "w", closefd=False)
            logging.lastResort = logging.StreamHandler(sys.stderr)
            logging.info("from the child")
            os._exit(0)
        os.waitpid(child, 0)
        logging.info("from the parent")


    @app.activity_trigger(input_name="x")
    def dies(x):
        logging.info("last words")
        os._exit(3)
"""


def places(logs: list[Message]) -> list[tuple[str, str | None, str | None]]:
    """Return what was said and where."""
    return [(each["text"], each["function"], each["instance_id"]) for each in logs]


def record_of(text: str) -> logging.LogRecord:
    """Return a record."""
    return logging.LogRecord("root", logging.INFO, __file__, 1, text, (), None)


def logged(folder: Path, *messages: Message, **environment: str) -> list[Message]:
    """Return what an app logs over some calls, each of which succeeds."""
    with ProcessHost(**environment) as host:
        assert host.ask(load(write_app(folder, APP)))["kind"] == "loaded"
        for message in messages:
            assert not host.ask(message).get("failure")
        return host.logs


@pytest.mark.parametrize(
    ("message", "place"),
    [
        (activity(1, "work", "5"), ("in an activity, 5", "work", "instance-1")),
        (episode(1, "orchestrate"), ("first turn", "orchestrate", "instance-1")),
        (entity(1, "counter", ("get", None)), ("in an entity", "counter", "@counter@k")),
        (http(1, "web"), ("in an HTTP function", "web", None)),
        (timer(1, "tick"), ("in a timer function", "tick", None)),
    ],
    ids=["activity", "orchestrator", "entity", "http", "timer"],
)
def test_a_record_says_in_which_function_and_instance_it_was_made(
    tmp_path: Path, message: Message, place: tuple[str, str | None, str | None]
) -> None:
    (record,) = logged(tmp_path, message)
    assert places([record]) == [place]
    assert (record["level"], record["logger"], record["exception"]) == (20, "root", "")


def test_asynchronous_code_and_its_threads_say_so_too(tmp_path: Path) -> None:
    logs = logged(tmp_path, activity(1, "work_async"))
    where = ("work_async", "instance-1")
    assert places(logs) == [("in an asynchronous activity", *where), ("in its thread", *where)]


def test_a_turn_that_an_activity_feeds_is_the_orchestrators(tmp_path: Path) -> None:
    at = "2030-01-01T00:00:00Z"
    feeds = {"name": "orchestrate", "execution_id": "execution-1", "position": 2, "at": at}
    feeding = {**activity(2, "work", "1"), "generation": 1, "feeds": feeds}
    logs = logged(tmp_path, episode(1, "orchestrate"), feeding, activity(3, "work", "2"))
    assert places(logs) == [
        ("first turn", "orchestrate", "instance-1"),
        ("in an activity, 1", "work", "instance-1"),
        ("second turn", "orchestrate", "instance-1"),
        ("in an activity, 2", "work", "instance-1"),
    ]


def test_what_the_app_logs_as_it_is_imported_is_there_before_it_is_loaded(tmp_path: Path) -> None:
    body = "import logging\nlogging.info('imported')\nraise ValueError('and refused')\n"
    with ProcessHost() as host:
        assert host.ask(load(write_app(tmp_path, body)))["kind"] == "load_failed"
        assert places(host.logs) == [("imported", None, None)]


@pytest.mark.parametrize(
    ("setting", "levels"),
    [("", [20, 20, 30, 40, 50, 50]), ("True", [10, 20, 20, 30, 40, 50, 50])],
)
def test_records_are_sent_from_info_on_or_from_debug_where_the_app_asks_for_it(
    tmp_path: Path, setting: str, levels: list[int]
) -> None:
    logs = logged(tmp_path, activity(1, "all_levels"), PYTHON_ENABLE_DEBUG_LOGGING=setting)
    own = [each for each in logs if each["logger"] == "shop"]
    assert [each["level"] for each in own] == levels


def test_an_exception_comes_with_the_users_frames(tmp_path: Path) -> None:
    plain, stacked = logged(tmp_path, activity(1, "catches", "0"), activity(2, "catches", "1"))
    assert (plain["text"], plain["level"]) == ("caught", logging.ERROR)
    assert plain["exception"].startswith("Traceback (most recent call last):\n")
    assert plain["exception"].endswith("KeyError: 'lost'")
    assert "\nStack (most recent call last):\n" in stacked["exception"]


def test_a_record_has_a_bound(tmp_path: Path) -> None:
    (record,) = logged(tmp_path, activity(1, "long"))
    assert record["text"] == "x" * 32768 + "... (67232 more characters)"
    assert len(record["exception"]) < 33_000


def test_a_record_that_cannot_be_formatted_fails_nobody(tmp_path: Path) -> None:
    (record,) = logged(tmp_path, activity(1, "unformattable"))
    assert record["text"] == "a lone ?"


def test_a_formatter_that_the_app_sets_counts(tmp_path: Path) -> None:
    formatted, caught = logged(tmp_path, activity(1, "formats"), activity(2, "catches"))
    assert formatted["text"] == "[shop] formatted"
    assert caught["text"].startswith("[shop] caught\nTraceback ")
    assert caught["exception"] == ""


def test_an_app_may_configure_its_own_loggers(tmp_path: Path) -> None:
    logs = logged(tmp_path, activity(1, "configures"), activity(2, "work", "1"))
    assert [each["text"] for each in logs] == ["high enough", "in an activity, 1"]


def test_a_record_may_come_in_the_middle_of_another(tmp_path: Path) -> None:
    logs = logged(tmp_path, activity(1, "finalizes"))
    texts = [each["text"] for each in logs]
    assert texts == ["from a finalizer", "a record that holds another"]


def test_no_record_waits_for_another_that_is_being_made() -> None:
    began, gate = threading.Event(), threading.Event()

    class Slow(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            if record.msg == "slow":
                began.set()
                gate.wait(20)
            return super().format(record)

    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    with ours, theirs, closing(FrameReader(ours)) as reader:
        handler = HostHandler(FrameWriter(theirs))
        handler.setFormatter(Slow())
        slow, quick = record_of("slow"), record_of("quick")
        thread = threading.Thread(target=handler.handle, args=(slow,))
        thread.start()
        began.wait(20)
        other = threading.Thread(target=handler.handle, args=(quick,))
        other.start()
        first = reader.read()
        gate.set()
        second = reader.read()
        thread.join()
        other.join()
    assert [each["text"] for each in (first or []) + (second or [])] == ["quick", "slow"]


def test_a_formatter_may_return_anything() -> None:
    class Odd(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return {"message": record.msg}  # type: ignore[return-value]  # that is the point

    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    with ours, theirs, closing(FrameReader(ours)) as reader:
        handler = HostHandler(FrameWriter(theirs))
        handler.setFormatter(Odd())
        handler.handle(record_of("x"))
        (record,) = reader.read() or []
    assert record["text"] == "{'message': 'x'}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_leaves_the_way_to_the_host_to_its_parent(tmp_path: Path) -> None:
    file = tmp_path / "stderr"
    logs = logged(tmp_path / "app", activity(1, "forks", f'"{file}"'))
    assert [each["text"] for each in logs] == ["from the parent"]
    assert file.read_text() == "from the child\n"


def test_what_was_logged_before_a_crash_is_read(tmp_path: Path) -> None:
    with ProcessHost() as host:
        host.ask(load(write_app(tmp_path, APP)))
        host.post(activity(1, "dies"))
        assert host.frame() is None
        assert places(host.logs) == [("last words", "dies", "instance-1")]


def test_a_guest_in_its_hosts_process_leaves_logging_alone(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    with InProcessHost() as host:
        host.ask(load(write_app(tmp_path, APP)))
        answer = host.ask(activity(1, "work", "1"))
        assert answer["kind"] == "activity_done"
        assert (root.handlers, root.level) == before
