"""Callers who leave before their answer."""

import asyncio
import logging

import pytest

from app.contract import ChunkResult, Outcome
from app.inference.departures import Departures
from tests.unit.app.api.asgi import DISCONNECT, JSON, Exchange, encode, pieces, scope
from tests.unit.app.api.test_front_life import turns_until, waiting
from tests.unit.app.api.test_predict_routes import Answering

RESULT = ChunkResult(
    ref="sentiment-v2",
    labels=["a", "b"],
    outcomes=[Outcome([0.5, 0.5])],
    preprocess_s=0.0,
    inference_s=0.0,
)
PREDICT = pieces(encode({"text": "a"}), more_body=False)


class Leaving(Exchange):
    """A client that leaves when the test says so."""

    def __init__(self, messages):
        super().__init__(scope("/predict", headers=JSON.items()), messages)
        self.leaves = asyncio.Event()
        self.was_asked = False

    async def receive(self):
        message = next(self._messages, None)
        if message is not None:
            return message
        self.was_asked = True
        await self.leaves.wait()
        return DISCONNECT


@pytest.fixture
def make_watchful(make_front):
    """A front that looks after those who wait at once."""

    def make(gateway):
        front = make_front(gateway)
        front._services.predictions._departures = Departures(watched_after_s=0.0)
        return front

    return make


def test_caller_who_leaves_makes_room_and_is_told_in_the_log(make_watchful, caplog):
    front, exchange = make_watchful(Answering()), Leaving(PREDICT)

    async def leave():
        asked = asyncio.create_task(exchange.run(front))
        await turns_until(lambda: waiting(front) == 1 and exchange.was_asked)
        exchange.leaves.set()
        return await asked

    with caplog.at_level(logging.INFO):
        assert asyncio.run(leave()) is None

    assert waiting(front) == 0
    lines = [record for record in caplog.records if record.message == "answered"]
    assert [(line.route, line.status) for line in lines] == [("/predict", 499)]


def test_caller_who_stays_is_answered(make_watchful):
    gateway = Answering()
    front, exchange = make_watchful(gateway), Leaving(PREDICT)

    async def stay():
        asked = asyncio.create_task(exchange.run(front))
        await turns_until(lambda: exchange.was_asked and gateway.futures)
        gateway.futures[0].set_result(RESULT)
        answer = await asked
        return answer, asyncio.all_tasks() - {asyncio.current_task()}

    answer, left_behind = asyncio.run(stay())

    assert answer.status == 200
    assert not {task for task in left_behind if not task.cancelling()}


def test_nobody_is_looked_after_who_is_answered_soon(make_front):
    exchange = Leaving(PREDICT)

    answer = asyncio.run(exchange.run(make_front(Answering(Outcome([0.5, 0.5])))))

    assert answer.status == 200
    assert not exchange.was_asked


def test_request_that_is_cancelled_by_somebody_else_is_so(make_watchful, caplog):
    front, exchange = make_watchful(Answering()), Leaving(PREDICT)

    async def cancel():
        asked = asyncio.create_task(exchange.run(front))
        await turns_until(lambda: exchange.was_asked)
        asked.cancel()
        await asyncio.wait([asked])
        return asked.cancelled()

    with caplog.at_level(logging.INFO):
        assert asyncio.run(cancel())
    assert waiting(front) == 0
    assert "answered" not in caplog.text


def test_all_who_wait_are_watched_whenever_they_came(make_watchful):
    front = make_watchful(Answering())
    exchanges = [Leaving(list(PREDICT)) for _ in range(5)]

    async def leave():
        asked = []
        for exchange in exchanges:
            asked.append(asyncio.create_task(exchange.run(front)))
            await turns_until(lambda exchange=exchange: exchange.was_asked)
        for exchange in exchanges:
            exchange.leaves.set()
        return await asyncio.gather(*asked)

    assert asyncio.run(leave()) == [None] * 5
    assert waiting(front) == 0
    kept = vars(front._services.predictions._departures)
    assert not any(kept[name] for name in ("_waiting", "_watchers", "_left"))
