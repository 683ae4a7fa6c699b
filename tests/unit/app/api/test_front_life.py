"""The front: bodies that never end, clients that leave, and its own start and end."""

import asyncio
import gc
import itertools
import logging
import time

import pytest

from app import logs
from app.api.gate import MAX_DRAINED_BYTES
from app.settings import Limits, Monitoring
from tests.bad_inputs import BATCH, TOO_LARGE
from tests.unit.app.api.asgi import DISCONNECT, JSON, Client, Exchange, encode, pieces, scope
from tests.unit.app.api.test_metrics_routes import samples
from tests.unit.app.api.test_predict_routes import Answering

CHUNKED = {"Transfer-Encoding": "chunked"} | JSON


@pytest.fixture
def collector():
    """What a process does to its collector when it starts is undone."""
    threshold = gc.get_threshold()
    gc.unfreeze()
    yield
    gc.set_threshold(*threshold)
    gc.freeze()


def post(messages, headers=None, path="/predict"):
    return Exchange(scope(path, headers=(headers or CHUNKED).items()), messages)


def waiting(front):
    return front._services.predictions.admission.waiting


async def turns_until(condition):
    """Let the event loop go round until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def test_body_without_end_is_refused_after_a_bounded_part_of_it(front):
    piece = {"type": "http.request", "body": b"x" * 65_536, "more_body": True}
    exchange = post(itertools.repeat(piece))

    answer = asyncio.run(exchange.run(front))

    assert (answer.status, answer.json["code"]) == (413, "body_too_large")
    assert exchange.taken < MAX_DRAINED_BYTES + 2 * len(TOO_LARGE)


@pytest.mark.parametrize("length", [len(TOO_LARGE), 10 * len(TOO_LARGE)])
def test_rest_of_a_body_that_is_too_large_is_taken_before_the_answer(front, length):
    """A client that reads only when all is sent would otherwise see a reset connection."""
    exchange = post(pieces(*[TOO_LARGE] * (length // len(TOO_LARGE))),
                    {"Content-Length": str(length)} | JSON)  # fmt: skip

    answer = asyncio.run(exchange.run(front))

    assert answer.status == 413
    assert exchange.taken == length


def test_body_of_another_type_is_not_even_read(front):
    exchange = post(pieces(b"text=a"), {"Content-Type": "text/plain"})

    assert asyncio.run(exchange.run(front)).status == 415
    assert exchange.taken == 0


def test_time_for_a_body_grows_with_its_size_and_not_with_its_square(front):
    """Each byte in a piece of its own."""
    piece = {"type": "http.request", "body": b"x", "more_body": True}
    started = time.process_time()

    answer = asyncio.run(post([*[piece] * 700_000, *pieces()]).run(front))

    assert answer.status == 400
    assert time.process_time() - started < 2.5


@pytest.mark.parametrize("headers", [CHUNKED, {"Content-Length": "100"} | JSON])
def test_body_that_is_cut_off_asks_nothing_of_anybody(make_front, headers):
    """A server says the same where the client has left and where its chunks make no sense."""
    gateway = Answering()
    front = make_front(gateway)
    exchange = post([*pieces(b'{"text": "a"}')[:-1], DISCONNECT], headers)

    answer = asyncio.run(exchange.run(front))

    assert (answer.status, answer.json["code"]) == (400, "malformed_body")
    assert (gateway.futures, waiting(front)) == ([], 0)


def test_client_that_leaves_before_its_body_asks_nothing_either(make_front):
    gateway = Answering()

    answer = asyncio.run(post([DISCONNECT]).run(make_front(gateway)))

    assert answer.status == 400
    assert gateway.futures == []


def test_request_that_the_server_cancels_leaves_its_room_to_others(make_front):
    front = make_front(Answering(), limits=Limits(max_queued_texts=2, max_batch_texts=2))
    exchange = post(pieces(encode({"texts": ["a", "b"]})), path=BATCH)

    async def leave():
        task = asyncio.create_task(exchange.run(front))
        await turns_until(lambda: waiting(front) == 2)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(leave())
    assert (exchange.sent, waiting(front)) == ([], 0)


def test_server_that_cannot_send_any_more_leaves_nothing_behind(make_front):
    """ASGI: sending to a client that left may raise."""
    front = make_front()

    async def send(message):
        raise OSError("gone")

    exchange = post(pieces(encode({"text": "good"})))
    exchange.send = send
    with pytest.raises(OSError, match="gone"):
        asyncio.run(exchange.run(front))

    assert waiting(front) == 0
    assert Client(front).post("/predict", {"text": "good"}).status == 200


def test_hundred_requests_wait_at_the_same_time_and_keep_their_ids(make_front, caplog):
    gateway = Answering()
    front = make_front(gateway, max_batch_size=1)
    caplog.handler.addFilter(logs._annotate)
    caplog.set_level(logging.INFO, "app.api.access")
    exchanges = [
        post(pieces(encode({"text": f"text {number}"})), CHUNKED | {"X-Request-ID": f"r{number}"})
        for number in range(100)
    ]

    async def run():
        tasks = [asyncio.create_task(exchange.run(front)) for exchange in exchanges]
        await turns_until(lambda: waiting(front) == 100)
        await asyncio.to_thread(front._services.predictions.close)
        return await asyncio.gather(*tasks)

    answers = asyncio.run(run())

    assert {answer.json["code"] for answer in answers} == {"shutting_down"}
    assert [answer.json["request_id"] for answer in answers] == [f"r{n}" for n in range(100)]
    lines = [record for record in caplog.records if record.name == "app.api.access"]
    # Of equal failures only the first have a line.
    logged = [record.request_id for record in lines]
    assert logged == [f"r{n}" for n in range(len(logged))] != []


async def live(front, requests):
    """Start, call `requests`, shut down; the messages that were sent."""
    sent, told = [], asyncio.Queue()

    async def send(message):
        sent.append(message["type"])

    life = asyncio.create_task(front({"type": "lifespan"}, told.get, send))
    await told.put({"type": "lifespan.startup"})
    await turns_until(lambda: sent)
    await requests()
    await told.put({"type": "lifespan.shutdown"})
    await life
    return sent


class Recording(Answering):
    """Knows how often it was looked at and whether it was closed."""

    looks, is_closed = 0, False

    def fleet(self):
        self.looks += 1
        return super().fleet()

    def close(self):
        self.is_closed = True


@pytest.mark.usefixtures("collector")
def test_start_looks_at_the_fleet_and_end_closes_everything(make_front):
    gateway = Recording()
    front, seen = make_front(gateway), []

    async def requests():
        seen.append((gateway.looks, gateway.is_closed, gc.get_freeze_count() > 0))
        inside = asyncio.create_task(post(pieces(encode({"text": "a"}))).run(front))
        await turns_until(lambda: gateway.futures)
        seen.append(inside)

    async def run():
        sent = await live(front, requests)
        return sent, await seen[1]

    sent, inside = asyncio.run(run())

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert seen[0] == (1, False, True)
    assert gateway.is_closed
    assert (inside.status, inside.json["code"]) == (503, "shutting_down")
    assert Client(front).post("/predict", {"text": "b"}).json["code"] == "shutting_down"


REQUESTS = [
    ("/predict", {"text": "good day"}),
    ("/predict", {"text": "good day"}),
    ("/predict", {}),
    ("/predict", {"text": "good", "model_version": "v9"}),
    (BATCH, {"texts": ["good", "bad", "bad"]}),
    (BATCH, {"texts": []}),
    ("/nothing", {}),
]


def logged(caplog):
    found = [
        (record.levelname, record.method, record.route, record.status, record.ms >= 0)
        for record in caplog.records
        if record.name == "app.api.access"
    ]
    caplog.clear()
    return found


def counts(client):
    """What was counted; not times, nor why a chunk left when it did, which is a matter of time."""
    found = samples(client).items()
    times = ("_sum", "_bucket", "_created", "_bytes", "_seconds", "_flush_total")
    return {key: value for key, value in found if not key[0].endswith(times)}


def test_hot_requests_are_counted_and_logged_as_through_flask(make_client, make_front, caplog):
    caplog.set_level(logging.DEBUG, "app.api.access")
    flask, front = make_client(), Client(make_front())

    for path, body in REQUESTS:
        flask.post(path, json=body)
    lines = logged(caplog)
    for path, body in REQUESTS:
        front.post(path, body)

    assert logged(caplog) == lines
    assert len(lines) == len(REQUESTS)
    counted = counts(flask)
    assert counts(front) == counted
    assert counted["mlserve_errors_total", ("code", "invalid_fields")] == 2


def test_front_answers_where_monitoring_is_off(make_front):
    client = Client(make_front(monitoring=Monitoring(enabled=False)))

    assert client.post("/predict", {"text": "good"}).status == 200
    assert client.post("/predict", {}).status == 422
    assert client.get("/metrics").status == 404
