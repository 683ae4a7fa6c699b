"""What `mlserve serve` prints of the lines of its processes."""

import io
import json

import pytest

from cli.lines import LinePrinter


def printed(*lines, as_json=False):
    stream = io.StringIO()
    printer = LinePrinter(["redis", "worker.1"], stream, as_json)
    for name, line in lines:
        printer(name, line)
    return stream.getvalue().splitlines()


def test_each_line_stands_behind_the_name_of_its_process():
    assert printed(("redis", "up"), ("worker.1", "ready")) == ["redis    | up", "worker.1 | ready"]


def test_json_line_of_a_process_keeps_its_fields_and_gets_its_name():
    (line,) = printed(("worker.1", '{"message": "\u00fc", "process": "worker"}'), as_json=True)

    assert json.loads(line) == {"message": "\u00fc", "process": "worker.1"}


@pytest.mark.parametrize("line", ["1:M * Ready to accept connections", "{cut", '"text"', ""])
def test_line_that_is_no_json_becomes_one(line):
    (made,) = printed(("redis", line), as_json=True)

    event = json.loads(made)
    assert (event["message"], event["process"]) == (line, "redis")
    assert event["time"].endswith("Z")
