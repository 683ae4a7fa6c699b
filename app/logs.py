"""Shared. One line an event, human or JSON, with the ids of the requests it belongs to."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from app.settings import Logging

_request_ids: ContextVar[tuple[str, ...]] = ContextVar("request_ids", default=())

# These log a line per task at INFO, with its result.
CHATTY_LOGGERS = ("celery.app.trace", "celery.worker.strategy", "celery.redirected")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "request_id",
    "data",
}


@contextmanager
def request_scope(*request_ids: str) -> Iterator[None]:
    """Every line logged inside carries these ids."""
    token = _request_ids.set(request_ids)
    try:
        yield
    finally:
        _request_ids.reset(token)


def configure(settings: Logging, process: str) -> None:
    """Send all records of this process to standard error in the configured format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_annotate)
    handler.setFormatter(_formatter(settings.format, process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _annotate(record: logging.LogRecord) -> bool:
    record.request_id = ",".join(_request_ids.get()) or "-"
    return True


def _formatter(style: str, process: str) -> logging.Formatter:
    if style == "json":
        return JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            static_fields={"process": process},
        )
    return HumanFormatter(process)


class HumanFormatter(logging.Formatter):
    """`time level process logger [request id] sentence key=value ...`."""

    def __init__(self, process: str) -> None:
        super().__init__(
            f"%(asctime)s %(levelname)-7s {process} %(name)s [%(request_id)s] %(message)s%(data)s"
        )

    def format(self, record: logging.LogRecord) -> str:
        """Append what the caller passed as `extra`."""
        record.data = "".join(f" {key}={value}" for key, value in _extra(record).items())
        return super().format(record)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}
