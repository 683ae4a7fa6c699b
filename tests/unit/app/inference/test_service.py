"""Predictions: what a caller gets, from where, and how soon; over real models or a hand gateway."""

import threading
import time
from collections import Counter

import msgspec
import pytest

from app.errors import BrokerUnavailable, ModelNotFound, NoWorker, Overloaded, PredictionTimeout
from app.inference.local import LocalGateway
from app.inference.service import Predictions
from app.models.catalog import Catalog
from app.models.registry import Registry
from app.settings import Cache, Limits, Redis, Settings
from tests.models import LABELS, activate, build_model
from tests.unit.app.inference.callers import ANSWERS, REFS, Call, Hand
from tests.waiting import eventually


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    build_model(root, "tiny", "v1", strength=1.0)
    build_model(root, "tiny", "v2")
    activate(root, tiny="v2")
    return root


@pytest.fixture
def make(models_dir):
    made = []

    def make(gateway, **changes):
        settings = Settings(default_model="tiny", redis=Redis(url="unix:///nonexistent/redis.sock"))
        settings = msgspec.structs.replace(settings, **changes)
        made.append(Predictions(settings, Catalog(models_dir, "tiny"), gateway))
        return made[-1]

    yield make
    for predictions in made:
        predictions.close()


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture(scope="module")
def local(models_dir):
    registry = Registry(Limits(), "cpu")
    registry.reconcile(Catalog(models_dir, "tiny").entries(fresh=True))
    return LocalGateway(registry, max_batch_size=32)


def ask(predictions, *texts, version=None, wait_s=None):
    return predictions.predict(list(texts), version, "r1", wait_s)


def test_second_request_is_answered_from_memory_with_the_same_numbers(make, local):
    predictions = make(local)

    first, second = (ask(predictions, "good day", "bad night") for _ in range(2))

    assert (first.source, second.source) == ("miss", "hit")
    assert second.outcomes == first.outcomes
    assert (second.ref, second.labels) == ("tiny-v2", list(LABELS))


def test_one_new_text_among_remembered_ones_is_a_miss_and_alone_is_computed(make, hand):
    predictions = make(hand)
    first = Call(predictions, "a", "b")
    eventually(lambda: len(hand.texts()) == 2)
    hand.land()
    first.result()

    second = Call(predictions, "a", "new", "b")
    eventually(lambda: hand.texts() == ["a", "b", "new"])
    hand.land()

    assert second.result().source == "miss"
    assert second.result().remembered == 2
    assert second.result().outcomes == [ANSWERS["tiny-v2"]] * 3


def test_text_that_is_just_being_computed_is_shared(make, hand):
    predictions = make(hand)
    calls = [Call(predictions, "a")]
    eventually(hand.texts)
    calls += [Call(predictions, "a") for _ in range(20)]
    eventually(lambda: predictions.admission.waiting == 21)
    hand.land()

    sources = sorted(call.result().source for call in calls)
    assert sources == ["coalesced"] * 20 + ["miss"]
    assert hand.texts() == ["a"]


def test_text_that_lands_between_a_look_into_the_cache_and_the_queue_is_not_computed_again(
    make, hand
):
    predictions = make(hand)
    first = Call(predictions, "a")
    eventually(hand.texts)

    def fleet():
        """Asked after the cache, and before the text is queued."""
        hand.land()
        first.result()
        return Hand.fleet(hand)

    hand.fleet = fleet

    assert ask(predictions, "a").outcomes == first.result().outcomes
    assert hand.texts() == ["a"]


def test_text_from_many_threads_is_computed_once_however_they_meet(make, local):
    """Before it is sent, while it is computed, just as it lands, or afterwards."""
    computed, started = Counter(), threading.Barrier(8)

    class Counting(LocalGateway):
        def submit(self, chunk, device):
            computed.update(chunk.texts)
            return local.submit(chunk, device)

        fleet, now = local.fleet, local.now

    predictions = make(Counting(None, 1))

    def client():
        started.wait(5)
        for number in range(150):
            ask(predictions, f"good day {number}")

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(computed) == 150
    assert set(computed.values()) == {1}


def test_a_text_twice_in_one_request_is_a_miss(make, hand):
    call = Call(make(hand), "a", "a")
    eventually(hand.texts)
    hand.land()

    assert call.result().source == "miss"
    assert hand.texts() == ["a"]


def test_disabled_cache_computes_every_time(make, local):
    predictions = make(local, cache=Cache(enabled=False))

    assert [ask(predictions, "good day").source for _ in range(2)] == ["miss", "miss"]


def test_remembered_texts_are_answered_without_redis_and_workers(make, hand):
    predictions = make(hand)
    call = Call(predictions, "known")
    eventually(hand.texts)
    hand.land()
    call.result()
    hand.reachable, hand.refs = False, ()

    assert ask(predictions, "known").source == "hit"
    with pytest.raises(BrokerUnavailable):
        ask(predictions, "known", "unknown")
    hand.reachable = True
    with pytest.raises(NoWorker):
        ask(predictions, "unknown")


def test_versions_are_never_mixed(make, hand):
    predictions = make(hand)
    calls = {version: [Call(predictions, "a", "b", version=version) for _ in range(5)]
             for version in ("v1", "v2", None)}  # fmt: skip
    eventually(lambda: predictions.admission.waiting == 30)
    eventually(lambda: len(hand.texts()) == 4)
    hand.land()

    for version, made in calls.items():
        ref = f"tiny-{version or 'v2'}"
        for call in made:
            assert (call.result().ref, call.result().outcomes) == (ref, [ANSWERS[ref]] * 2)
    for ref in REFS:
        again = ask(predictions, "b", "a", version=ref)
        assert (again.source, again.outcomes) == ("hit", [ANSWERS[ref]] * 2)


def test_real_versions_have_answers_of_their_own(make, local):
    predictions = make(local)

    one, other = (ask(predictions, "good day", version=v).outcomes[0] for v in ("v1", "v2"))

    assert one.probabilities != other.probabilities


@pytest.mark.parametrize(
    ("wait_s", "timeout_ms", "expected_ms"), [(0.05, 5000, 50), (600, 50, 50), (None, 50, 50)]
)
def test_the_shorter_of_both_times_counts(make, hand, wait_s, timeout_ms, expected_ms):
    predictions = make(hand, request_timeout_ms=timeout_ms)
    started = time.monotonic()

    with pytest.raises(PredictionTimeout, match=f"within {expected_ms} ms"):
        ask(predictions, "a", wait_s=wait_s)

    assert time.monotonic() - started < 2.5
    assert predictions.admission.waiting == 0


def test_deadline_of_the_message_is_that_of_the_caller(make, hand):
    predictions = make(hand)
    before = hand.now()

    Call(predictions, "a", wait_s=2)

    chunk, _ = eventually(lambda: hand.sent and hand.sent[0])
    assert before + 2 <= chunk.deadline <= hand.now() + 2


def test_full_house_is_refused_at_once_and_open_again_when_it_empties(make, hand):
    predictions = make(hand, limits=Limits(max_queued_texts=2, max_batch_texts=2))
    inside = Call(predictions, "a", "b")
    eventually(lambda: len(hand.texts()) == 2)

    with pytest.raises(Overloaded):
        ask(predictions, "c")

    hand.land()
    inside.result()
    outside = Call(predictions, "c")
    eventually(lambda: len(hand.texts()) == 3)
    hand.land()
    assert outside.result().source == "miss"


def test_remembered_texts_need_no_room(make, hand):
    predictions = make(hand, limits=Limits(max_queued_texts=1, max_batch_texts=1))
    known = Call(predictions, "known")
    eventually(hand.texts)
    hand.land()
    known.result()
    Call(predictions, "fills the house")
    eventually(lambda: len(hand.texts()) == 2)

    assert ask(predictions, "known").source == "hit"


def test_close_fails_whoever_still_waits(make, hand):
    predictions = make(hand)
    call = Call(predictions, "a")
    eventually(hand.texts)

    predictions.close()

    call.join(5)
    assert call.error.code == "shutting_down"
    assert predictions.admission.waiting == 0


def test_unknown_version_costs_nothing(make, hand):
    predictions = make(hand)

    with pytest.raises(ModelNotFound):
        ask(predictions, "a", version="v9")

    assert (hand.sent, predictions.admission.waiting) == ([], 0)
