"""Shared. One line an event, human or JSON, with the ids of the requests it belongs to.

Lines of libraries, Celery's and granian's too, come in the same form. What a user wrote is in none
of them: inside a request or a chunk, of an exception that is not ours only its kind and place are
told, because its message may quote a text.
"""

import json
import logging
import sys
import time
import traceback
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from app.errors import ConfigError, ServingError
from app.settings import Logging

# These log a line per task at INFO, with its result.
CHATTY_LOGGERS = ("celery.app.trace", "celery.worker.strategy", "celery.redirected")
# This one has a line for a task that failed, with the words of the exception in several places.
CELERY_TRACE = "celery.app.trace"
# Set up by the server before it loads the application.
SERVER_LOGGERS = ("_granian", "granian.access")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "request_id",
    "data",
}


# Named as `contextlib.suppress` is. Entered by each request, and a generator costs twice as much.
class request_scope:
    """Every line logged inside carries these ids, and `details` such as `chunk_id` and `ref`."""

    __slots__ = ("_token", "details", "request_ids")

    def __init__(self, *request_ids: str, **details: str) -> None:
        self.request_ids, self.details = request_ids, details

    def __enter__(self) -> None:
        self._token = _scope.set(self)

    def __exit__(self, *_: object) -> None:
        _scope.reset(self._token)


_NOWHERE = request_scope()
_scope: ContextVar[request_scope] = ContextVar("scope", default=_NOWHERE)


def configure(settings: Logging, process: str) -> None:
    """Send all records of this process to standard error in the configured format."""
    root = logging.getLogger()
    root.handlers[:] = [make_handler(settings, process)]
    root.setLevel(settings.level.upper())
    logging.captureWarnings(True)
    for name in SERVER_LOGGERS:
        server = logging.getLogger(name)
        server.handlers.clear()
        server.propagate = True
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def make_handler(settings: Logging, process: str) -> logging.Handler:
    """What writes the lines of `process`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_annotate)
    is_json = settings.format == "json"
    handler.setFormatter(JsonLines(process) if is_json else HumanFormatter(process))
    return handler


def server_handler(process: str) -> logging.Handler:
    """The same for granian's own lines, which are configured by a file: `app/api/granian.json`.

    Ends the process with a sentence where mlserve's configuration is wrong.
    """
    from app.config import load

    try:
        return make_handler(load().settings.logging, process)
    except ConfigError as error:
        # Anything else would come out in a traceback of `logging`.
        sys.exit(f"mlserve: {error}")


def without_words(error: BaseException) -> str:
    """The traceback of `error` and of what led to it, without the message where it is not ours."""
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found:
        found.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    told = ("".join([*traceback.format_tb(e.__traceback__), _named(e)]) for e in reversed(found))
    return "\nwhich led to\n".join(told)


def _named(error: BaseException) -> str:
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    return f"{kind}: {error}" if isinstance(error, ServingError) else kind


def _annotate(record: logging.LogRecord) -> bool:
    scope = _scope.get()
    record.request_id = ",".join(scope.request_ids) or "-"
    for name, value in scope.details.items():
        vars(record).setdefault(name, value)
    is_celery = record.name == CELERY_TRACE and isinstance(record.args, dict)
    if is_celery:
        _reword(record, record.args)
    if record.exc_info and record.exc_info[1] and (is_celery or scope is not _NOWHERE):
        record.exc_text, record.exc_info = without_words(record.exc_info[1]), None
    return True


def _reword(record: logging.LogRecord, told: Any) -> None:
    record.task, record.chunk_id = told.get("name"), told.get("id")
    record.msg, record.args = "task failed" if record.exc_info else "task ended", ()
    vars(record).pop("data", None)


class JsonLines(JsonFormatter):
    """One JSON object a line, whatever is logged; times are in UTC."""

    def __init__(self, process: str) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            static_fields={"process": process},
            json_serializer=_dumps,
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """RFC 3339, as log collectors read it without being told."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{seconds}.{int(record.msecs):03d}Z"


class HumanFormatter(logging.Formatter):
    """`time level process logger [request id] sentence key=value ...`; a traceback goes below."""

    def __init__(self, process: str) -> None:
        super().__init__(
            f"%(asctime)s %(levelname)-7s {process} %(name)s [%(request_id)s] %(message)s%(data)s"
        )

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Append what the caller passed as `extra`; one line, and nothing that moves a cursor."""
        record.data = "".join(f" {key}={value}" for key, value in _extra(record).items())
        line = " ".join(super().formatMessage(record).split("\n"))
        return printable(line)


def printable(text: str) -> str:
    """`text` in one line, without anything that moves a cursor: that is told as Python shows it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _dumps(data: dict[str, Any], **options: Any) -> str:
    try:
        return json.dumps(data, **options, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        # NaN, a key that is no string, something endless: told as Python shows it.
        plain = {str(key): _plain(value) for key, value in data.items()}
        return json.dumps(plain, allow_nan=False)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bool | int) else repr(value)
