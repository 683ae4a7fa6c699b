"""The cache of one process, its keys, and what it believes of what others stored."""

import math

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.broker import redis_client
from app.contract import EXPIRED, Failure, Outcome
from app.inference.cache import KEY_BYTES, Cache, believe, cache_key
from app.settings import Cache as CacheSettings
from app.settings import Redis, Settings

GOOD = Outcome([0.25, 0.75])
DIGESTS = ("00" * 32, "01" + "00" * 31)


def nowhere(timeout_s):
    """A Redis that is not there."""
    return redis_client(Settings(redis=Redis(url="unix:///nonexistent/redis.sock")), timeout_s)


@pytest.fixture
def make():
    made = []

    def make(**changes):
        made.append(Cache(CacheSettings(**changes), nowhere))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


def key(number):
    return cache_key(DIGESTS[0], str(number))


def test_kept_answer_is_remembered_here_though_redis_is_gone(make):
    cache = make()

    cache.keep([(key(1), GOOD)])

    assert cache.get(key(1)) == GOOD
    assert cache.get(key(2)) is None


def test_fetch_finds_what_was_computed_here_meanwhile_without_redis(make):
    cache = make()
    cache.keep([(key(1), GOOD)])

    assert cache.fetch([key(1)], 2) == {key(1): GOOD}
    assert cache.fetch([key(1), key(2)], 2) == {key(1): GOOD}


def test_answer_is_forgotten_after_its_time(make, monkeypatch):
    moment = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: moment[0])
    cache = make(ttl_seconds=10)
    cache.keep([(key(1), GOOD)])

    moment[0] += 9.9
    assert cache.get(key(1)) == GOOD
    moment[0] += 0.2
    assert cache.get(key(1)) is None


@given(st.integers(1, 10), st.lists(st.integers(0, 20), max_size=40))
def test_no_more_than_max_size_answers_are_kept_and_the_last_is_one_of_them(size, numbers):
    cache = Cache(CacheSettings(max_size=size), nowhere)
    for number in numbers:
        cache.keep([(key(number), Outcome([number / 100, 1 - number / 100]))])
        assert cache.get(key(number)) == Outcome([number / 100, 1 - number / 100])

    kept = [number for number in range(21) if cache.get(key(number)) is not None]
    assert len(kept) == min(size, len(set(numbers)))
    cache.close()


def test_disabled_cache_remembers_nothing_and_never_asks_redis():
    def refuse(timeout_s):
        raise AssertionError("connected")

    cache = Cache(CacheSettings(enabled=False), refuse)
    cache.keep([(key(1), GOOD)])

    assert cache.get(key(1)) is None
    assert cache.fetch([key(1)], 2) == {}
    assert cache.shared_is_available
    cache.close()


@pytest.mark.parametrize("failure", [EXPIRED, Outcome(error=Failure("text_failed", "bad"))])
def test_failures_are_not_kept(make, failure):
    cache = make()

    cache.keep([(key(1), failure), (key(2), GOOD)])

    assert cache.get(key(1)) is None
    assert cache.get(key(2)) == GOOD


def test_missing_redis_is_no_error_and_is_told(make):
    cache = make()
    assert cache.shared_is_available

    assert cache.fetch([key(1)], 2) == {}

    assert not cache.shared_is_available


@given(st.sampled_from(DIGESTS), st.text(), st.sampled_from(DIGESTS), st.text())
def test_keys_are_equal_exactly_for_the_same_model_and_text(model, text, other_model, other_text):
    is_same = (model, text) == (other_model, other_text)

    assert (cache_key(model, text) == cache_key(other_model, other_text)) == is_same
    assert len(cache_key(model, text)) == KEY_BYTES


@pytest.mark.parametrize("texts", [("a", "A"), ("a", "a "), ("é", "e\u0301")])
def test_texts_that_only_look_alike_have_keys_of_their_own(texts):
    assert len({cache_key(DIGESTS[0], text) for text in texts}) == 2


def is_probable(outcome, labels):
    probabilities = outcome.probabilities
    return (
        len(probabilities) == labels
        and all(math.isfinite(p) and 0 <= p <= 1 for p in probabilities)
        and math.isclose(sum(probabilities), 1, abs_tol=1e-3)
    )


@example(b"\x81\xa1\xff", 2)  # an object whose only name is not UTF-8
@given(st.binary(max_size=64), st.integers(2, 4))
def test_any_bytes_are_probabilities_or_nothing(value, labels):
    found = believe(value, labels)

    assert found is None or is_probable(found, labels)


numbers = st.one_of(st.floats(), st.integers(-9, 9), st.none(), st.text(max_size=3), st.booleans())


@given(st.lists(numbers, max_size=4), st.integers(2, 4))
def test_any_list_is_probabilities_or_nothing(values, labels):
    found = believe(msgspec.msgpack.encode(values), labels)

    assert found is None or is_probable(found, labels)


@given(st.lists(st.floats(1e-6, 1), min_size=2, max_size=6))
def test_probabilities_come_back_as_they_were_stored(weights):
    probabilities = [weight / sum(weights) for weight in weights]
    stored = msgspec.msgpack.encode(probabilities)

    assert believe(stored, len(weights)) == Outcome(probabilities)
    assert believe(stored, len(weights) + 1) is None
    assert believe(stored[:-1], len(weights)) is None


def test_stored_answer_of_a_truncated_text_still_says_so():
    stored = msgspec.msgpack.encode({"truncated": [0.25, 0.75]})

    assert believe(stored, 2) == Outcome([0.25, 0.75], truncated=True)
    assert believe(msgspec.msgpack.encode({"truncated": [0.25, 0.5]}), 2) is None


def test_labels_with_probabilities_of_their_own_need_not_sum_to_one():
    stored = msgspec.msgpack.encode([0.9, 0.8])

    assert believe(stored, 2, sums_to_one=False) == Outcome([0.9, 0.8])
    assert believe(stored, 2) is None
    assert believe(msgspec.msgpack.encode([0.9, 1.8]), 2, sums_to_one=False) is None


@pytest.mark.parametrize(
    "value",
    [None, b"", b"\xc0", b"[0.5,0.5]", b"\x93\x01", msgspec.msgpack.encode([math.nan, 1.0])],
)
def test_what_is_no_answer_is_not_believed(value):
    assert believe(value, 2) is None
