"""Bodies that stop coming: who sends nothing for too long is refused, and holds nobody up."""

import asyncio

import pytest

from app.api import create_front
from app.api.reading import MAX_PAUSE_S, MIN_BYTES_PER_S, Patience
from tests.bad_inputs import BATCH, TOO_LARGE
from tests.unit.app.api.asgi import JSON, Exchange, encode, pieces, scope
from tests.unit.app.api.test_front_life import turns_until

LIMIT_S = 0.02
THROUGH_FLASK = "/models/load"
BODY = encode({"text": "good day"})
LENGTH = {"Content-Length": "100"} | JSON
CHUNKED = {"Transfer-Encoding": "chunked"} | JSON


@pytest.fixture(scope="module")
def impatient(settings, gateway):
    return create_front(settings, gateway, patience=Patience(LIMIT_S))


def post(path, messages, headers=LENGTH):
    """A POST whose sender stays, and sends nothing after `messages`."""
    return Exchange(scope(path, headers=headers.items()), messages)


@pytest.mark.parametrize("path", ["/predict", BATCH, THROUGH_FLASK, "/jobs"])
@pytest.mark.parametrize("headers", [LENGTH, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("sent", [(), (b"{",), (b"{", b'"te')], ids=len)
def test_body_that_stops_coming_is_refused(impatient, path, headers, sent):
    messages = pieces(*sent)[:-1]

    answer = asyncio.run(post(path, messages, headers).run(impatient))

    assert (answer.status, answer.json["code"]) == (400, "malformed_body")
    # On a busy machine the pieces themselves may come too slowly.
    reasons = (f"nothing more of it came for {LIMIT_S} s", f"less than {MIN_BYTES_PER_S} bytes/s")
    assert any(reason in answer.json["detail"] for reason in reasons)


@pytest.mark.parametrize("path", ["/predict", THROUGH_FLASK])
def test_rest_of_a_body_that_is_too_large_is_not_waited_for_without_limit(impatient, path):
    headers = {"Content-Length": str(2 * len(TOO_LARGE))} | JSON

    answer = asyncio.run(post(path, pieces(TOO_LARGE)[:-1], headers).run(impatient))

    assert answer.status == 400


def test_rest_of_a_job_that_stopped_coming_is_not_waited_for_again(impatient):
    """A submission that fails throws away what is left of its body before it is answered."""
    exchange, waits = post("/jobs", ()), []

    async def receive():
        waits.append(1)
        await asyncio.Event().wait()

    exchange.receive = receive

    assert asyncio.run(exchange.run(impatient)).status == 400
    assert len(waits) == 1


def test_bodies_that_stop_coming_take_no_thread_from_others_for_good(impatient):
    threads = impatient._flask.executor._max_workers

    async def ask():
        stalled = [post(THROUGH_FLASK, pieces(b"{")[:-1]) for _ in range(threads)]
        held = [asyncio.create_task(one.run(impatient)) for one in stalled]
        await turns_until(lambda: all(one.taken for one in stalled))
        other = await Exchange(scope("/models", "GET"), pieces()).run(impatient)
        return other, await asyncio.gather(*held)

    other, refused = asyncio.run(ask())

    assert other.status == 200
    assert [answer.status for answer in refused] == [400] * threads


def test_request_that_the_server_cancels_while_its_body_comes_is_not_answered(front):
    exchange = post("/predict", pieces(b"{")[:-1])

    async def leave():
        task = asyncio.create_task(exchange.run(front))
        await turns_until(lambda: exchange.taken)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(leave())
    assert exchange.sent == []


class Slow(Exchange):
    """Each of its pieces takes `pause_s` of the event loop's clock, and none of anybody's time."""

    def __init__(self, pause_s, *given):
        super().__init__(*given)
        self.pause_s, self.now_s = pause_s, 0.0

    def ask(self, front):
        """The answer of `front`, on an event loop with that clock."""
        with asyncio.Runner() as runner:
            runner.get_loop().time = lambda: self.now_s
            runner.run(front(self.scope, self.receive, self.send))
        return self.answer

    async def receive(self):
        self.now_s += self.pause_s
        # What is due by then is done.
        for _ in range(3):
            await asyncio.sleep(0)
        return await super().receive()


@pytest.mark.parametrize(("pause_s", "status"), [(MAX_PAUSE_S - 1, 200), (MAX_PAUSE_S + 1, 400)])
def test_first_piece_of_a_body_may_take_its_time(front, pause_s, status):
    slow = Slow(pause_s, scope("/predict", headers=CHUNKED.items()), [*pieces(BODY)[:-1], LAST])

    assert slow.ask(front).status == status


BIG = BODY.replace(b": ", b":" + b" " * 200 * MIN_BYTES_PER_S)
LAST = {"type": "http.request", "body": b"", "more_body": False}


def slow_pieces(body, number):
    """`body` in so many pieces of equal size, and then the empty one."""
    size = -(-len(body) // number)
    return pieces(*(body[at : at + size] for at in range(0, len(body), size)))


@pytest.mark.parametrize("path", ["/predict", THROUGH_FLASK])
def test_body_that_trickles_is_refused(front, path):
    """No pause is too long, but nobody waits for ever."""
    slow = Slow(MAX_PAUSE_S / 4, scope(path, headers=CHUNKED.items()), slow_pieces(BODY, len(BODY)))

    answer = slow.ask(front)

    assert (answer.status, answer.json["code"]) == (400, "malformed_body")
    assert f"less than {MIN_BYTES_PER_S} bytes/s" in answer.json["detail"]
    assert slow.now_s <= 2 * MAX_PAUSE_S


@pytest.mark.parametrize("path", ["/predict", THROUGH_FLASK])
def test_large_body_may_take_long_while_it_keeps_coming(front, path):
    slow = Slow(MAX_PAUSE_S - 1, scope(path, headers=CHUNKED.items()), slow_pieces(BIG, 3))

    assert slow.ask(front).json.get("code") == (None if path == "/predict" else "invalid_fields")
    assert slow.now_s > 3 * MAX_PAUSE_S


def test_who_still_sends_is_read_while_others_have_stopped(impatient):
    async def ask():
        held = asyncio.create_task(post("/predict", pieces(b"{")[:-1]).run(impatient))
        answers = []
        # As many as it takes until the limit has ended the first one.
        while not held.done():
            await asyncio.sleep(0)
            answers.append(
                await post("/predict", pieces(BODY[:9], BODY[9:]), CHUNKED).run(impatient)
            )
        return await held, answers

    stopped, answers = asyncio.run(ask())

    assert stopped.status == 400
    assert {answer.status for answer in answers} == {200}
