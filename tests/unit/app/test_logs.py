"""Log lines: one an event, JSON that is JSON, the ids of the request, and no text of a user."""

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from contextlib import contextmanager

import pytest
from celery import Celery
from celery.app.task import Context
from celery.app.trace import TraceInfo
from hypothesis import given
from hypothesis import strategies as st

from app import logs
from app.errors import ModelUnavailable
from app.settings import Logging
from tests.processes import ROOT

HUMAN, JSON = Logging(format="human"), Logging(format="json")
SECRET = "a user's own words"
GRANIAN = """
import json, logging
from granian.log import LogLevels, configure_logging, logger
configure_logging(LogLevels.error, json.load(open("app/api/granian.json")))
logger.error("Unexpected exit from worker-1")
"""


@contextmanager
def written(settings):
    """What a logger named "any" writes; the lines come when the block is left."""
    logger, stream, lines = logging.getLogger("any"), io.StringIO(), []
    handler = logs.make_handler(settings, "worker")
    handler.setStream(stream)
    logger.handlers, logger.propagate, logger.level = [handler], False, logging.DEBUG
    try:
        yield logger, lines
    finally:
        logger.handlers, logger.propagate = [], True
        lines += stream.getvalue().splitlines()


def one_json(settings, log):
    with written(settings) as (logger, lines):
        log(logger)
    (line,) = lines
    return json.loads(line, parse_constant=pytest.fail)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.tuples(st.integers()), inner),
    max_leaves=5,
)


@given(message=st.text(), value=VALUES)
def test_line_is_json_whatever_is_logged(message, value):
    line = one_json(JSON, lambda logger: logger.info("%s", message, extra={"value": value}))

    assert line["message"] == message
    assert "value" in line


@given(message=st.text(st.characters(exclude_categories=["Cs"])), value=st.text())
def test_event_is_one_human_line_that_moves_no_cursor(message, value):
    with written(HUMAN) as (logger, lines):
        logger.info("%s", message, extra={"value": value})

    assert len(lines) == 1
    assert lines[0].isprintable()


def test_json_line_has_time_level_process_logger_and_what_was_given():
    line = one_json(JSON, lambda logger: logger.warning("said", extra={"ref": "tiny-v1"}))

    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "WARNING", "logger": "any", "request_id": "-", "message": "said",
        "process": "worker", "ref": "tiny-v1",
    }  # fmt: skip


@pytest.mark.parametrize("settings", [HUMAN, JSON], ids=["human", "json"])
def test_line_has_the_ids_of_its_scope_and_of_no_other(settings):
    with written(settings) as (logger, lines):
        with logs.request_scope("r1", "r2", chunk_id="c1", ref="tiny-v1"):
            logger.info("inside")
            logger.info("otherwise", extra={"ref": "tiny-v9"})
        logger.info("outside")

    inside, otherwise, outside = lines
    assert all(name in inside for name in ("r1,r2", "c1", "tiny-v1"))
    assert "tiny-v9" in otherwise
    assert "tiny-v1" not in otherwise
    assert not any(name in outside for name in ("r1", "c1", "tiny"))


def fail(logger):
    try:
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise KeyError(SECRET) from error
    except KeyError:
        logger.exception("it failed")


def test_exception_is_one_field_of_a_json_line():
    line = one_json(JSON, fail)

    assert line["exc_info"].startswith("Traceback")
    assert "ValueError" in line["exc_info"]


@pytest.mark.parametrize("settings", [HUMAN, JSON], ids=["human", "json"])
def test_exception_inside_a_request_is_told_without_its_words(settings):
    with written(settings) as (logger, lines), logs.request_scope("r1"):
        fail(logger)

    told = "\n".join(lines)
    assert SECRET not in told
    assert "ValueError" in told
    assert told.index("ValueError") < told.index("which led to") < told.index("KeyError")
    assert "in fail" in told
    assert (len(lines) == 1) == (settings is JSON)


def test_error_of_ours_keeps_its_sentence():
    error = ModelUnavailable("tiny-v1", "broken")

    assert logs.without_words(error).endswith(f"ModelUnavailable: {error}")


@pytest.mark.parametrize("settings", [HUMAN, JSON], ids=["human", "json"])
def test_task_that_failed_is_told_by_celery_without_a_text(settings):
    task = Celery("any", set_as_current=False).task(fail, name="any.task")
    request = Context(id="c1", hostname="w1", args=(SECRET,), kwargs={}, argsrepr=SECRET)
    trace = logging.getLogger(logs.CELERY_TRACE)
    with written(settings) as (logger, lines):
        trace.handlers, trace.propagate = logger.handlers, False
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            TraceInfo("FAILURE", error).handle_failure(
                task, request, store_errors=False, call_errbacks=False
            )
        trace.handlers, trace.propagate = [], True

    told = "\n".join(lines)
    assert all(word in told for word in ("task failed", "any.task", "c1", "ValueError"))
    assert "own words" not in told


def test_server_and_warnings_come_in_the_same_form(monkeypatch, capsys):
    root, server = logging.getLogger(), logging.getLogger("_granian")
    before, showing = (root.handlers[:], root.level), warnings.showwarning
    server.handlers, server.propagate = [logging.StreamHandler(sys.stdout)], False
    try:
        logs.configure(JSON, "api")
        server.error("gone")
        logging.getLogger("py.warnings").warning("%s", "one\ntwo")
    finally:
        logging.captureWarnings(False)
        root.handlers[:], root.level = before
        warnings.showwarning = showing

    seen = capsys.readouterr()
    assert seen.out == ""
    assert [json.loads(line)["message"] for line in seen.err.splitlines()] == ["gone", "one\ntwo"]


def test_lines_of_the_server_itself_are_configured_by_a_file():
    env = os.environ | {"MLSERVE_LOGGING__FORMAT": "json", "PYTHONPATH": str(ROOT)}

    run = subprocess.run(
        [sys.executable, "-c", GRANIAN], cwd=ROOT, env=env, capture_output=True, text=True
    )

    line = json.loads(run.stderr)
    assert (line["process"], line["logger"]) == ("web", "_granian")
    assert line["message"] == "Unexpected exit from worker-1"
