import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import TypeAdapter, ValidationError

from servicekit.logging import LogLevel, configure, get_logger, new_request_id, request_context


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the logs go; the set-up of logging before the test comes back after it."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    get_logger("ai_core.api").info("request finished", status=200, text="deux\nlignes")
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request finished",
        "level": "info",
        "logger": "ai_core.api",
        "status": 200,
        "text": "deux\nlignes",
    }


def test_the_level_holds_for_our_events_and_for_others(stream: io.StringIO) -> None:
    configure("warning", "json", stream)
    get_logger("a").info("no")
    logging.getLogger("b").info("no")
    get_logger("a").warning("yes")
    logging.getLogger("b").warning("yes %d", 2)
    assert [line["event"] for line in lines(stream)] == ["yes", "yes 2"]


def test_uvicorn_speaks_through_the_same_handler(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn").handlers = [logging.StreamHandler(io.StringIO())]
    logging.getLogger("uvicorn.access").propagate = False
    configure("info", "json", stream)
    logging.getLogger("uvicorn.error").warning("Started server process [%d]", 7)
    logging.getLogger("uvicorn.access").info("GET /livez")
    assert [line["event"] for line in lines(stream)] == ["Started server process [7]", "GET /livez"]


def test_a_client_library_does_not_log_urls(stream: io.StringIO) -> None:
    configure("debug", "json", stream)
    logging.getLogger("httpx").info("HTTP Request: POST https://example.org/bot123:token/sendMessage")
    assert stream.getvalue() == ""


def test_what_strangers_can_provoke_at_will_fills_no_log(stream: io.StringIO) -> None:
    configure("debug", "json", stream)
    logging.getLogger("python_multipart.multipart").warning("Did not find CR at end of boundary")
    assert stream.getvalue() == ""


async def test_the_request_id_stays_with_its_task(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    log = get_logger("a")

    async def request(request_id: str) -> None:
        with request_context(request_id):
            await asyncio.sleep(0)
            log.info("working", own=request_id)
            logging.getLogger("library").info("called")

    await asyncio.gather(*(request(new_request_id()) for _ in range(5)))
    log.info("between requests")
    found = lines(stream)
    assert all(line["own"] == line["request_id"] for line in found if line["event"] == "working")
    assert sum("request_id" in line for line in found if line["event"] == "called") == 5
    assert "request_id" not in found[-1]


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_shows_no_values(stream: io.StringIO, format: Any) -> None:
    configure("info", format, stream)

    def fail(question: str) -> None:
        raise RuntimeError("broken")

    try:
        fail("mon patron me harcèle".upper())
    except RuntimeError:
        get_logger("a").exception("request failed")
    text = stream.getvalue()
    assert "RuntimeError: broken" in text
    assert "Traceback" in text
    assert "HARC" not in text


def test_values_that_json_does_not_know_are_shown_by_their_repr(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    get_logger("a").info("odd", value={1, 2}, surrogate="\udcff")
    (line,) = lines(stream)
    assert line["value"] == "{1, 2}"
    assert line["surrogate"] == "\udcff"


def test_warnings_are_log_lines_too(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    (line,) = lines(stream)
    assert line["level"] == "warning"
    assert "old thing" in line["event"]


def test_configuring_twice_does_not_write_twice(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    configure("info", "json", stream)
    get_logger("a").info("once")
    assert len(lines(stream)) == 1


def test_levels_are_read_in_either_case() -> None:
    level: TypeAdapter[str] = TypeAdapter(LogLevel)
    assert level.validate_python("INFO") == "info"
    with pytest.raises(ValidationError):
        level.validate_python("loud")


def test_a_library_says_nothing_at_debug_and_uvicorn_not_who_connects(stream: io.StringIO) -> None:
    configure("debug", stream=stream)
    logging.getLogger("aiosqlite").debug("executing INSERT ... ('secret')")
    logging.getLogger("uvicorn.error").info('192.0.2.1:46638 - "WebSocket /ws" [accepted]')
    get_logger("ours").debug("heard")
    assert [line["event"] for line in map(json.loads, stream.getvalue().splitlines())] == ["heard"]
