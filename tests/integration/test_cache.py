"""The shared tier of the cache on a real Redis, shared by processes and in trouble."""

import time

import msgspec
import pytest

from app.broker import redis_client as connect
from app.contract import Outcome
from app.inference.breaker import OPEN_S
from app.inference.cache import (
    MAX_FRUITLESS,
    REDIS_PREFIX,
    SHARED_TIMEOUT_S,
    SPARSE,
    Cache,
    cache_key,
)
from app.settings import Cache as CacheSettings
from app.settings import Redis, Settings
from tests.processes import RedisServer
from tests.waiting import eventually

GOOD = Outcome([0.25, 0.75])
KEY = cache_key("00" * 32, "a text")
STORED = REDIS_PREFIX + KEY


@pytest.fixture
def make(server):
    """A cache as one API process has it."""
    made, settings = [], Settings(redis=Redis(url=server.url))

    def make(**changes):
        made.append(Cache(CacheSettings(**changes), lambda timeout_s: connect(settings, timeout_s)))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


def timed(call):
    """What `call` returns, and the seconds it took."""
    started = time.monotonic()
    return call(), time.monotonic() - started


def test_answer_of_one_process_is_found_by_another_and_then_remembered_there(make, client):
    one, other = make(), make()

    one.keep([(KEY, GOOD)])

    assert eventually(lambda: other.fetch([KEY], 2)) == {KEY: GOOD}
    client.flushall()
    assert other.get(KEY) == GOOD


def test_only_what_is_known_is_found(make):
    one, other = make(), make()
    keys = [cache_key("00" * 32, str(number)) for number in range(10)]
    known = {key: Outcome([number / 10, 1 - number / 10]) for number, key in enumerate(keys[::2])}

    one.keep(known.items())

    assert eventually(lambda: other.fetch(keys, 2)) == known


def test_stored_answers_expire_and_hold_no_text(make, client):
    cache = make(ttl_seconds=50)

    cache.keep([(KEY, GOOD)])
    cache.close()

    assert client.keys() == [STORED]
    assert 0 < client.ttl(STORED) <= 50
    assert msgspec.msgpack.decode(client.get(STORED)) == GOOD.probabilities


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff\xff",
        b"garbage",
        b'{"label": "positive"}',
        msgspec.msgpack.encode([0.25, 0.75])[:-2],
        msgspec.msgpack.encode([0.9, 0.9]),
        msgspec.msgpack.encode([-1.0, 2.0]),
        msgspec.msgpack.encode([0.2, 0.3, 0.5]),
    ],
)
def test_corrupt_value_is_computed_again_and_replaced(make, client, value):
    client.set(STORED, value)
    cache, other = make(), make()

    assert cache.fetch([KEY], 2) == {}
    cache.keep([(KEY, GOOD)])

    assert eventually(lambda: other.fetch([KEY], 2)) == {KEY: GOOD}
    assert cache.shared_is_available


def test_value_of_another_kind_is_computed_again_and_replaced(make, client):
    client.rpush(STORED, "a list of somebody else")
    cache, other = make(), make()

    assert cache.fetch([KEY], 2) == {}
    cache.keep([(KEY, GOOD)])

    assert eventually(lambda: other.fetch([KEY], 2)) == {KEY: GOOD}


def test_truncated_answer_is_shared_as_one(make, client):
    cache, other = make(), make()
    cut = Outcome([0.25, 0.75], truncated=True)

    cache.keep([(KEY, cut)])

    assert eventually(lambda: other.fetch([KEY], 2)) == {KEY: cut}


def test_corrupt_value_does_not_hide_its_neighbours(make, client):
    keys = [cache_key("00" * 32, str(number)) for number in range(3)]
    client.mset({REDIS_PREFIX + key: msgspec.msgpack.encode([0.25, 0.75]) for key in keys})
    client.set(REDIS_PREFIX + keys[1], b"\xc1")

    assert make().fetch(keys, 2) == {keys[0]: GOOD, keys[2]: GOOD}


@pytest.mark.alone
def test_frozen_redis_is_left_out_soon_and_asked_again_when_it_is_back(make, server, client):
    cache, other = make(), make()
    cache.keep([(KEY, GOOD)])
    assert eventually(lambda: other.fetch([KEY], 2))
    new = cache_key("00" * 32, "new")
    server.pause()

    found, took_s = timed(lambda: cache.fetch([new], 2))

    assert found == {}
    assert took_s < 2 * SHARED_TIMEOUT_S + 0.1  # with room for a machine that does other work
    assert not cache.shared_is_available
    assert timed(lambda: cache.fetch([new], 2))[1] < SHARED_TIMEOUT_S
    assert cache.get(KEY) == GOOD
    server.resume()
    eventually(lambda: cache.shared_is_available, 2 * OPEN_S)
    other.keep([(new, GOOD)])
    assert eventually(lambda: cache.fetch([new], 2)) == {new: GOOD}


@pytest.mark.alone
def test_keeping_does_not_wait_for_a_frozen_redis(make, server):
    cache = make()
    server.pause()

    took_s = [timed(lambda n=n: cache.keep([(bytes([n]) * 16, GOOD)]))[1] for n in range(50)]

    assert sum(took_s) < SHARED_TIMEOUT_S
    assert all(cache.get(bytes([n]) * 16) == GOOD for n in range(50))
    eventually(lambda: not cache.shared_is_available)
    server.resume()


def test_full_redis_is_no_error(make, server, client):
    client.config_set("maxmemory", "1")
    cache = make()

    cache.keep([(KEY, GOOD)])

    eventually(lambda: not cache.shared_is_available)
    assert cache.get(KEY) == GOOD
    client.config_set("maxmemory", "0")
    eventually(lambda: cache.shared_is_available, 2 * OPEN_S)


def test_restarted_redis_is_used_again():
    with RedisServer() as server:
        settings = Settings(redis=Redis(url=server.url))
        cache = Cache(CacheSettings(), lambda timeout_s: connect(settings, timeout_s))
        cache.fetch([KEY], 2)
        server.kill()
        assert cache.fetch([KEY], 2) == {}
        assert not cache.shared_is_available

        server.start()
        eventually(lambda: cache.shared_is_available, 2 * OPEN_S)
        cache.keep([(KEY, GOOD)])

        with server.client() as client:
            eventually(lambda: client.exists(STORED))
        cache.close()


def test_redis_is_asked_less_while_it_never_knows_and_always_again_once_it_does(make, client):
    one, other = make(), make()
    unknown = [cache_key("11" * 32, str(number)) for number in range(2 * MAX_FRUITLESS)]
    client.config_resetstat()
    for key in unknown:
        other.fetch([key], 2)
    asked = client.info("commandstats")["cmdstat_mget"]["calls"]
    one.keep([(KEY, GOOD)])
    eventually(lambda: client.exists(STORED))

    found = [bool(other.fetch([KEY], 2)) for _ in range(SPARSE)]
    other.fetch([unknown[0]], 2)
    other.fetch([unknown[1]], 2)

    assert asked <= MAX_FRUITLESS + MAX_FRUITLESS // SPARSE
    assert sum(found) >= 1
    assert client.info("commandstats")["cmdstat_mget"]["calls"] == asked + 3
