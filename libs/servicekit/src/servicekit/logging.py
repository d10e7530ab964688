"""Structured logs: one line per event, as JSON or for a person at a console.

Everything ends in one handler: our own events, uvicorn's, any library's, and Python's warnings.
Libraries have no say at `debug`: what they write there holds keys and what people wrote.
Inside `request_context` every line carries the request's id. A traceback shows no values of
variables, because those hold what people wrote.
"""

import logging
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal, TextIO

import structlog
from pydantic import BeforeValidator
from structlog.typing import Processor


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
LogFormat = Annotated[Literal["json", "console"], BeforeValidator(_lower)]

# At `info` these write each URL they call, and a URL may hold a token; or who opens a WebSocket.
QUIET_LOGGERS = ("httpx", "httpcore", "httpx2", "httpcore2", "uvicorn.error")
# At `warning` it writes a line for each malformed form that anybody sends.
SILENT_LOGGERS = ("python_multipart",)
# uvicorn gives these handlers of their own unless it is started with log_config=None.
UVICORN_LOGGERS = ("uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error")


def configure(level: LogLevel = "info", format: LogFormat = "json", stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (standard error). Calling it again replaces the set-up before."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_common_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(_is_no_chatter)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_common_processors(),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(format)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in UVICORN_LOGGERS:
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in SILENT_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.captureWarnings(True)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger by its module's name; it may be made before `configure` is called."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def new_request_id() -> str:
    return uuid.uuid4().hex


@contextmanager
def request_context(request_id: str) -> Iterator[None]:
    """Put the request's id on every line that this task, and those it starts, log meanwhile."""
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        yield


def _is_no_chatter(record: logging.LogRecord) -> bool:
    """Whether a line may go out: at `debug`, libraries write statements with their values, and headers."""
    ours = isinstance(record.msg, dict)
    return ours or record.levelno >= logging.INFO


def _common_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(format: LogFormat) -> list[Processor]:
    if format == "console":
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
