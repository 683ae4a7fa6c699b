"""What a control command asks for is carried out soon, once, and not when it is too old."""

import redis

from app.errors import SwapInProgress
from tasks.requests import MAX_AGE_S, MAX_OUTCOMES, Requests
from tests.waiting import eventually


def test_request_is_carried_out_by_the_thread():
    requests = Requests()
    requests.start()

    requests.ask("swap", lambda: "rollout 1")

    outcomes = eventually(requests.outcomes)
    requests.stop()
    assert outcomes == [{"request": "swap", "outcome": "rollout 1"}]


def test_refusals_are_outcomes_and_the_next_request_is_carried_out(caplog):
    requests = Requests()

    def refuse():
        raise SwapInProgress("tiny", "tiny-v2")

    def fail():
        raise redis.ConnectionError("gone")

    requests.ask("a", refuse)
    requests.ask("b", fail)
    requests.ask("c", lambda: "done")
    requests.carry_out()

    assert [row["outcome"] for row in requests.outcomes()] == [
        "refused: tiny is being changed to tiny-v2; try again later",
        "refused: gone",
        "done",
    ]
    assert [record.request for record in caplog.records] == ["a", "b"]


def test_request_that_is_too_old_is_not_carried_out():
    """All workers get a broadcast; one that comes to it late must not undo what came after."""
    moment, done = [0.0], []
    requests = Requests(now=lambda: moment[0])
    requests.ask("old", lambda: done.append("old") or "done")
    moment[0] = MAX_AGE_S + 0.1
    requests.ask("new", lambda: done.append("new") or "done")

    requests.carry_out()

    assert done == ["new"]
    assert requests.outcomes()[0]["outcome"] == "refused: it is too old"


def test_only_the_last_outcomes_are_remembered():
    requests = Requests()
    for number in range(MAX_OUTCOMES + 5):
        requests.ask(str(number), lambda: "done")

    requests.carry_out()

    assert [row["request"] for row in requests.outcomes()] == [
        str(number) for number in range(5, MAX_OUTCOMES + 5)
    ]
