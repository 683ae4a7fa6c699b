"""The door: who is refused unread, and who never is."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.door import MAX_AGE_S, MAX_AT_ONCE, MAX_LAG_S, Door
from app.errors import Overloaded
from app.inference.admission import Admission
from app.inference.drain import Line
from app.settings import Limits
from tests.unit.app.api.asgi import JSON, Exchange, encode, pieces, scope
from tests.unit.app.api.test_front_life import turns_until, waiting
from tests.unit.app.api.test_predict_routes import Answering

SHORT, LONG = b"99999", b"100000"
WAIT_S = 5.0


class House:
    """What the door asks of predictions."""

    def __init__(self, most, waits_s):
        self.admission, self._line = Admission(most), Line(waits_s, 0.0)

    def shortest_line(self):
        return self._line


def is_let_in(door, now, length=SHORT):
    try:
        door.enter(now, length)
    except Overloaded:
        return False
    return True


def door_of(most, waiting=0, lag_s=2 * MAX_LAG_S, waits_s=0.0):
    """At second 0 of a process in which a request just waited `lag_s` for its turn."""
    predictions = House(most, waits_s)
    if waiting:
        predictions.admission.enter(waiting, WAIT_S)
    door = Door(predictions, WAIT_S)
    door.enter(-lag_s, SHORT)
    door.leave(-lag_s, 0.0)
    return door


@given(st.integers(1, 30), st.data())
def test_as_many_are_let_in_as_there_is_room_for(most, data):
    waiting = data.draw(st.integers(0, most))
    door = door_of(most, waiting)

    let_in = [is_let_in(door, 0.0) for _ in range(most + 3)]

    room = most - waiting
    assert let_in == [True] * room + [False] * (most + 3 - room)


@pytest.mark.parametrize(("waits_s", "is_in"), [(WAIT_S / 2, True), (WAIT_S, False)])
def test_nobody_is_let_in_where_every_line_is_too_long(waits_s, is_in):
    assert is_let_in(door_of(100, waits_s=waits_s), 0.0) == is_in


def test_who_was_read_leaves_its_place_to_the_next():
    door = door_of(1)
    assert is_let_in(door, 0.0)
    assert not is_let_in(door, 0.0)

    door.leave(0.0, 2 * MAX_LAG_S)

    assert is_let_in(door, 2 * MAX_LAG_S)


@pytest.mark.parametrize("lag_s", [0.0, MAX_LAG_S / 2])
def test_all_are_let_in_while_the_process_keeps_up(lag_s):
    """They may be remembered, which takes no worker."""
    assert is_let_in(door_of(1, waiting=1, lag_s=lag_s), 0.0)


def test_somebody_is_let_in_to_see_whether_it_keeps_up_again():
    door = door_of(1, waiting=1)

    assert not is_let_in(door, MAX_AGE_S / 2)
    assert is_let_in(door, MAX_AGE_S)


@pytest.mark.parametrize("length", [LONG, None, b""])
def test_body_that_has_to_be_read_before_the_answer_is_let_in(length):
    assert is_let_in(door_of(1, waiting=1), 0.0, length)


def test_few_are_refused_in_one_turn_of_the_loop():
    async def main():
        door, counts = door_of(1), [0]
        waits = [asyncio.create_task(door.wait()) for _ in range(3 * MAX_AT_ONCE)]
        while counts[-1] < len(waits):
            await asyncio.sleep(0)
            counts.append(sum(task.done() for task in waits))
        return counts

    counts = asyncio.run(main())

    assert max(after - before for before, after in pairwise(counts)) == MAX_AT_ONCE


def test_client_that_leaves_before_it_is_refused_keeps_nobody_waiting():
    async def main():
        door = door_of(1)
        waits = [asyncio.create_task(door.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waits[0].cancel()
        return await asyncio.wait(waits, timeout=10)

    _, pending = asyncio.run(main())

    assert not pending


class LateExchange(Exchange):
    """Its body comes when the process has been busy with other things for a while."""

    async def receive(self):
        loop = asyncio.get_running_loop()
        until = loop.time() + 2 * MAX_LAG_S
        await turns_until(lambda: loop.time() > until)
        return await super().receive()


def predict(text, kind=Exchange):
    body = encode({"text": text})
    headers = JSON | {"Content-Length": str(len(body))}
    return kind(scope("/predict", headers=headers.items()), pieces(body))


def test_flood_is_told_503_unread_and_counted(make_front):
    front = make_front(Answering(), limits=Limits(max_queued_texts=1, max_batch_texts=1))
    flood = [predict(f"text {number}") for number in range(5)]

    async def main():
        first = asyncio.create_task(predict("first", LateExchange).run(front))
        await turns_until(lambda: waiting(front) == 1)
        answers = [await exchange.run(front) for exchange in flood]
        first.cancel()
        await asyncio.wait([first])
        return answers

    answers = asyncio.run(main())

    assert {(answer.status, answer.json["code"]) for answer in answers} == {(503, "overloaded")}
    assert all(answer.header("Retry-After") == "1" for answer in answers)
    assert [exchange.taken for exchange in flood] == [0] * 5
    rejected = front._services.metrics.rejected.labels("overloaded")
    assert rejected._value.get() == 5
