"""What callers notice while workers and Redis are killed, frozen and restarted under load.

`pytest --soak` runs as long as it takes to believe it: a minute of kills, twenty restarts of Redis.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest

from app import fleet
from tests.e2e.load import Client, Load, new_text, wrong
from tests.models import build_model
from tests.processes import ApiProcess, RedisServer, WorkerProcess, side_by_side
from tests.waiting import eventually

pytestmark = pytest.mark.alone

DEADLINE_S = 2.0
GRACE_S = 0.2
HELD_S = 0.05
ENV = {
    "MLSERVE_DEFAULT_MODEL": "tiny",
    "MLSERVE_REQUEST_TIMEOUT_MS": str(round(DEADLINE_S * 1000)),
}


class Stack:
    """Redis, two workers and two API processes."""

    def __init__(self, models_dir):
        self.redis = RedisServer()
        where = (self.redis.url, models_dir)
        self.workers = [WorkerProcess(*where, hostname=f"w{n}@test", env=ENV) for n in (1, 2)]
        self.apis = [ApiProcess(*where, env=ENV) for _ in range(2)]
        self.ports = [api.port for api in self.apis]

    @contextmanager
    def running(self):
        with self.redis, side_by_side(*self.workers, *self.apis):
            eventually(lambda: len(self.hosts()) == 2)
            yield

    def wait_until_served(self):
        """Until each API process has seen the workers; its look at them may be a second old."""
        for port in self.ports:
            client = Client([port])
            eventually(lambda client=client: client.ask(new_text()).status == 200)
            client.close()

    def hosts(self):
        """The workers, as their heartbeats tell."""
        with self.redis.client() as client:
            return {host.hostname: host for host in fleet.read(client).hosts}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    models_dir = tmp_path_factory.mktemp("models")
    build_model(models_dir, "tiny", "v1")
    stack = Stack(models_dir)
    with stack.running():
        yield stack


@pytest.fixture
def client(stack):
    """Talks to the first API process alone; every one serves."""
    stack.wait_until_served()
    client = Client(stack.ports[:1])
    yield client
    client.close()


def pass_time(until):
    eventually(lambda: time.monotonic() >= until, timeout_s=until - time.monotonic() + 1)


def back_after(client):
    """The seconds until a new text is answered."""
    began_at = time.monotonic()
    eventually(lambda: client.ask(new_text()).status == 200, timeout_s=30)
    return time.monotonic() - began_at


@pytest.mark.timeout(200)
def test_killed_workers_cost_no_wrong_and_no_late_answer(stack, client, soak, figures):
    kills, every_s = (12, 5.0) if soak else (3, 4.0)
    with Load(*stack.ports) as load:
        for number in range(kills):
            next_at = time.monotonic() + every_s
            victim = stack.workers[number % 2]
            # Redis hands it a chunk or two meanwhile: it is killed with work in its hands.
            victim.pause()
            pass_time(time.monotonic() + HELD_S)
            victim.kill()
            victim.start()
            pass_time(next_at)

    counts = load.counts()
    again = sum(api.logs().count("chunk sent again") for api in stack.apis)
    figures(kills=kills, sent_again=again, answers=dict(counts), slowest_s=load.slowest_s())
    assert wrong(load.seen) == []
    assert load.slowest_s() <= DEADLINE_S + GRACE_S
    assert counts["200"] >= 0.99 * counts.total(), counts
    assert again >= 1


def test_hundred_equal_texts_at_once_are_computed_once_by_each_process(stack, client):
    together, text, chunks = Barrier(100), new_text(), sum_of_chunks(stack)

    def ask(number):
        one = Client([stack.ports[number % 2]])
        together.wait(10)
        try:
            return number % 2, one.ask(text)
        finally:
            one.close()

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(ask, range(100)))

    assert {seen.status for _, seen in answers} == {200}
    assert wrong([seen for _, seen in answers]) == []
    for process in range(2):
        misses = [seen for at, seen in answers if at == process and seen.cache == "miss"]
        assert len(misses) <= 1
    assert sum_of_chunks(stack) - chunks <= 2


def sum_of_chunks(stack):
    """What both workers have computed, by heartbeats that are younger than this call."""
    with stack.redis.client() as client:
        seconds, microseconds = client.time()
    now = seconds + microseconds / 1e6
    eventually(lambda: min(host.beat_at for host in stack.hosts().values()) > now)
    return sum(host.chunks for host in stack.hosts().values())


def test_stopped_redis_is_said_quickly_and_cached_texts_are_still_answered(stack, client, figures):
    known = client.ask(new_text())
    stack.redis.kill()
    eventually(lambda: client.ask(new_text()).status == 503)

    refused = [client.ask(new_text()) for _ in range(20)]
    cached = [client.ask(known.text) for _ in range(20)]

    assert {(seen.status, seen.code) for seen in refused} == {(503, "broker_unavailable")}
    assert {(seen.status, seen.cache) for seen in cached} == {(200, "hit")}
    assert [seen.scores for seen in cached] == [known.scores] * 20
    slowest_s = max(seen.took_s for seen in refused + cached)
    stack.redis.start()
    back_s = back_after(client)
    figures(slowest_s=slowest_s, back_s=back_s)
    assert slowest_s < 0.3
    assert back_s < 3
    assert [worker.returncode for worker in stack.workers] == [None, None]


def test_frozen_redis_keeps_nobody_longer_than_the_deadline(stack, client, figures):
    with Load(*stack.ports, clients=8) as load:
        eventually(lambda: load.counts()["200"] > 100)
        stack.redis.pause()
        pass_time(time.monotonic() + 2 * DEADLINE_S)
        stack.redis.resume()
        back_s = back_after(client)

    figures(answers=dict(load.counts()), slowest_s=load.slowest_s(), back_s=back_s)
    assert load.slowest_s() <= DEADLINE_S + GRACE_S
    assert wrong(load.seen) == []
    assert {seen.status for seen in load.seen} <= {200, 503, 504}
    assert back_s < 3


@pytest.mark.timeout(300)
def test_restarted_redis_is_served_from_within_3_s_and_ends_no_worker(stack, client, soak, figures):
    pids, back_s = [worker.pid for worker in stack.workers], []
    with Load(*stack.ports) as load:
        for _ in range(20 if soak else 2):
            stack.redis.kill()
            stack.redis.start()
            back_s.append(back_after(client))
            answered = load.counts()["200"]
            eventually(lambda n=answered: load.counts()["200"] > n + 100)
            assert [worker.returncode for worker in stack.workers] == [None, None]

    figures(answers=dict(load.counts()), slowest_s=load.slowest_s(), back_s=back_s)
    assert max(back_s) < 3
    assert wrong(load.seen) == []
    assert load.slowest_s() <= DEADLINE_S + GRACE_S
    eventually(lambda: sorted(host.pid for host in stack.hosts().values()) == sorted(pids))


def test_rolling_restart_fails_no_request(stack, client, figures):
    with Load(*stack.ports) as load:
        eventually(lambda: load.counts()["200"] > 100)
        for worker, api in zip(stack.workers, stack.apis, strict=True):
            worker.restart()
            api.restart()

    figures(answers=dict(load.counts()), slowest_s=load.slowest_s(), resent=load.resent)
    assert set(load.counts()) == {"200"}
    # What was being answered when the signal came is not among them: that would be one a client.
    assert load.resent <= len(stack.apis)
    assert wrong(load.seen) == []
