"""Twice of what the workers can do: who is let in is answered in time, the rest hears no at once.

The model sleeps 20 ms for each text, so what the workers can do does not depend on the machine.
"""

import json
import socket
from collections import Counter

import pytest

from benchmarks.open_loop import Schedule, run
from tests.integration.jobs import SETTINGS, build_deadly
from tests.processes import ApiProcess, RedisServer, WorkerProcess, side_by_side
from tests.waiting import eventually

TEXT_S = 0.020
WORKERS = 2
TIMEOUT_S = 2.0
LEFT = "status=499"
SECONDS = 4.0
MAX_TEXTS = 160
ENV = SETTINGS | {
    "MLSERVE_REQUEST_TIMEOUT_MS": str(round(TIMEOUT_S * 1000)),
    "MLSERVE_LIMITS__MAX_BATCH_TEXTS": str(MAX_TEXTS),
}


class SlowTexts:
    """As `benchmarks.texts.Texts`."""

    def at(self, number):
        return f"slower good {number}"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    models_dir = tmp_path_factory.mktemp("slow")
    build_deadly(models_dir)
    with RedisServer() as redis:
        where = (redis.url, models_dir)
        workers = [WorkerProcess(*where, hostname=f"w{n}@slow", env=ENV) for n in range(WORKERS)]
        api = ApiProcess(*where, env=ENV)
        with side_by_side(*workers, api):
            eventually(lambda: statuses(ask(api.port, 1, 10)) == {200: 1})
            yield api


def test_caller_who_left_is_not_computed_for(api):
    """It would be answered after 1.6 s."""
    body = json.dumps({"texts": [f"slower bad {number}" for number in range(MAX_TEXTS)]})
    head = f"POST /batch-predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", api.port), timeout=0.5) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())
        with pytest.raises(TimeoutError):
            connection.recv(1)

    eventually(lambda: LEFT in api.logs())


def ask(port, rate, first, seconds=1.0):
    """`rate` texts a second, whether or not answers come."""
    connections = round(2 * rate * TIMEOUT_S)
    return run(Schedule(port, rate, connections, seconds, first), SlowTexts())


def statuses(answers):
    return Counter(answer.status for answer in answers)


@pytest.mark.alone
def test_nobody_is_let_in_who_cannot_be_answered_in_time(api, figures):
    capacity = WORKERS / TEXT_S

    answers = ask(api.port, 2 * capacity, 1000, SECONDS)

    found = statuses(answers)
    figures(**{f"status_{status}": count for status, count in found.items()})
    assert found[503] > 0
    assert found[200] > found.total() / 3
    assert found[200] + found[503] == found.total()
