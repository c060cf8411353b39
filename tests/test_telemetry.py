"""Logging: one shape for all, no secrets, and nobody stopped by it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from soloist.functions.binding import ClientBinding
from soloist.telemetry import configure_logging, logger, without_secrets
from soloist_worker.links import link_code, link_secret


@pytest.fixture(autouse=True)
def _forget_configuration() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_begins_with_time_level_room_and_event() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    logger("soloist.functions.http").info("It happened", why="because", nothing=None)
    at, rest = stream.getvalue().split(" ", 1)
    assert at.startswith("at=2")
    assert rest == 'level=info room=functions.http event="It happened" why=because\n'


def test_a_traceback_follows_on_lines_of_its_own() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    try:
        raise KeyError("lost")
    except KeyError:
        logger(__name__).exception("It failed")
    assert "\nTraceback" in stream.getvalue()
    assert stream.getvalue().endswith("KeyError: 'lost'\n")


def test_lines_may_be_json() -> None:
    stream = io.StringIO()
    configure_logging("debug", as_json=True, stream=stream)
    logger("soloist.x").debug("It happened", number=5)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["number"]) == ("It happened", "debug", 5)


def test_a_terminal_gets_colours_and_tracebacks() -> None:
    stream = Terminal()
    configure_logging(stream=stream)
    logger(__name__).error("It failed", exception="Traceback of the app")
    assert "\x1b[" in stream.getvalue()
    assert "Traceback of the app" in stream.getvalue()


def test_lines_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    configure_logging("warning", stream=stream)
    logger(__name__).info("quiet")
    assert stream.getvalue() == ""


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="none of debug, info, warning, error"):
        configure_logging("loud")


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
@pytest.mark.parametrize("as_json", [False, True])
def test_keys_are_blotted_out_wherever_they_stand(
    kind: type[io.StringIO], as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server that ran in this process before, without an access log, has silenced it for good.
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
    stream = kind()
    configure_logging(as_json=as_json, stream=stream)
    log = logger(__name__)
    log.info("GET /x?code=s3cret&y=1", url="/a?b=1&Code=s3cret", key="s3cret")
    logging.getLogger("uvicorn.access").warning("%s", "GET /x?code=s3cret HTTP/1.1")
    try:
        raise ValueError("http://h/x?code=s3cret")
    except ValueError:
        log.exception("It failed")
    assert "s3cret" not in stream.getvalue()
    assert stream.getvalue().count("***") == 6


def test_the_code_of_a_link_is_blotted_out_whole() -> None:
    code = link_code(link_secret("k"), "Hub", "getStatus", "one")
    link = f"http://h/instances/one?taskHub=Hub&code={code}&showInput=false"
    assert without_secrets(link) == "http://h/instances/one?taskHub=Hub&code=***&showInput=false"


def test_the_key_in_a_client_binding_is_blotted_out() -> None:
    binding = ClientBinding("Hub", lambda: "s3cret").text("http://h")
    assert "s3cret" not in without_secrets(binding)
    assert json.loads(without_secrets(binding))["requiredQueryStringParameters"] == "code=***"


def test_libraries_log_in_the_same_shape() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    logging.getLogger("uvicorn").warning("served %d", 5)
    assert 'level=warning event="served 5" logger=uvicorn' in stream.getvalue()


def test_a_log_that_nobody_can_read_stops_nobody() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    stream.close()
    logger(__name__).error("unheard")
    logging.getLogger("uvicorn").error("unheard")


def test_text_without_keys_stays_what_it_is() -> None:
    assert without_secrets("decode=1 code=5") == "decode=1 code=5"
