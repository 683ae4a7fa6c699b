"""Predictions: what a caller gets, from where, and how soon; over real models or a hand gateway."""

import asyncio
import shutil
import threading
from collections import Counter

import pytest

from app.errors import BrokerUnavailable, NoWorker
from app.inference.local import LocalGateway
from app.inference.service import Predictions
from app.models.catalog import Catalog
from app.models.desired import Desired, write_copy
from app.models.registry import Registry
from app.settings import Cache, Limits, Redis, Settings
from tests.models import LABELS, activate, build_model
from tests.unit.app.inference.callers import ANSWERS, REFS, Hand, ask
from tests.waiting import eventually


def test_second_request_is_answered_from_memory_with_the_same_numbers(make_predictions, local):
    predictions = make_predictions(local)

    first, second = (ask(predictions, "good day", "bad night") for _ in range(2))

    assert (first.source, second.source) == ("miss", "hit")
    assert second.outcomes == first.outcomes
    assert (second.ref, second.labels) == ("tiny-v2", list(LABELS))


def test_one_new_text_among_remembered_ones_is_a_miss_and_alone_is_computed(
    make_predictions, hand, call
):
    predictions = make_predictions(hand)
    first = call(predictions, "a", "b")
    eventually(lambda: len(hand.texts()) == 2)
    hand.land()
    first.result()

    second = call(predictions, "a", "new", "b")
    eventually(lambda: hand.texts() == ["a", "b", "new"])
    hand.land()

    assert second.result().source == "miss"
    assert second.result().remembered == 2
    assert second.result().outcomes == [ANSWERS["tiny-v2"]] * 3


def test_text_that_is_just_being_computed_is_shared(make_predictions, hand, call):
    predictions = make_predictions(hand)
    calls = [call(predictions, "a")]
    eventually(hand.texts)
    calls += [call(predictions, "a") for _ in range(20)]
    eventually(lambda: predictions.admission.waiting == 21)
    hand.land()

    sources = sorted(one.result().source for one in calls)
    assert sources == ["coalesced"] * 20 + ["miss"]
    assert hand.texts() == ["a"]


def test_text_that_lands_between_a_look_into_the_cache_and_the_queue_is_not_computed_again(
    make_predictions, hand, call
):
    predictions = make_predictions(hand)
    first = call(predictions, "a")
    eventually(hand.texts)

    def now():
        """Asked after the cache, and before the text is queued."""
        hand.land()
        first.result()
        return Hand.now(hand)

    hand.now = now

    assert ask(predictions, "a").outcomes == first.result().outcomes
    assert hand.texts() == ["a"]


def in_threads(client):
    """Each caller has a thread and an event loop of its own, as under a WSGI server."""
    started = threading.Barrier(8)

    def run():
        started.wait(5)
        asyncio.run(client())

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def on_one_loop(client):
    async def run():
        await asyncio.gather(*(client() for _ in range(8)))

    asyncio.run(run())


@pytest.mark.parametrize("run", [in_threads, on_one_loop])
def test_text_of_many_callers_is_computed_once_however_they_meet(make_predictions, local, run):
    """Before it is sent, while it is computed, just as it lands, or afterwards."""
    computed, answered = Counter(), []

    class Counting(LocalGateway):
        def submit(self, chunk, device):
            computed.update(chunk.texts)
            return local.submit(chunk, device)

        fleet, now = local.fleet, local.now

    predictions = make_predictions(Counting(None, 1))

    async def client():
        for number in range(150):
            answered.append(await predictions.predict([f"good day {number}"], None, "r1"))

    run(client)

    assert len(answered) == 8 * 150
    assert len(computed) == 150
    assert set(computed.values()) == {1}


def test_a_text_twice_in_one_request_is_a_miss(make_predictions, hand, call):
    asked = call(make_predictions(hand), "a", "a")
    eventually(hand.texts)
    hand.land()

    assert asked.result().source == "miss"
    assert hand.texts() == ["a"]


def test_disabled_cache_computes_every_time(make_predictions, local):
    predictions = make_predictions(local, cache=Cache(enabled=False))

    assert [ask(predictions, "good day").source for _ in range(2)] == ["miss", "miss"]


def test_remembered_texts_are_answered_without_redis_and_workers(make_predictions, hand, call):
    predictions = make_predictions(hand)
    asked = call(predictions, "known")
    eventually(hand.texts)
    hand.land()
    asked.result()
    hand.reachable, hand.refs = False, ()

    assert ask(predictions, "known").source == "hit"
    with pytest.raises(BrokerUnavailable):
        ask(predictions, "known", "unknown")
    hand.reachable = True
    with pytest.raises(NoWorker):
        ask(predictions, "unknown")


def test_versions_are_never_mixed(make_predictions, hand, call):
    predictions = make_predictions(hand)
    calls = {version: [call(predictions, "a", "b", version=version) for _ in range(5)]
             for version in ("v1", "v2", None)}  # fmt: skip
    eventually(lambda: predictions.admission.waiting == 30)
    eventually(lambda: len(hand.texts()) == 4)
    hand.land()

    for version, made in calls.items():
        ref = f"tiny-{version or 'v2'}"
        for asked in made:
            assert (asked.result().ref, asked.result().outcomes) == (ref, [ANSWERS[ref]] * 2)
    for ref in REFS:
        again = ask(predictions, "b", "a", version=ref)
        assert (again.source, again.outcomes) == ("hit", [ANSWERS[ref]] * 2)


@pytest.fixture
def disk(tmp_path):
    """A models directory of the test's own, where tiny-v2 is active."""
    build_model(tmp_path, "tiny", "v1", strength=1.0)
    build_model(tmp_path, "tiny", "v2")
    activate(tmp_path, tiny="v2")
    write_copy(tmp_path, Desired(generation=1, active={"tiny": "v2"}))
    return tmp_path


@pytest.fixture
def on_disk(disk):
    """Predictions by all that is there now."""
    catalog, registry = Catalog(disk, "tiny"), Registry(Limits(), "cpu")
    registry.reconcile(catalog.entries())
    settings = Settings(default_model="tiny", redis=Redis(url="unix:///nonexistent/redis.sock"))
    predictions = Predictions(settings, catalog, LocalGateway(registry, 32))
    yield predictions
    predictions.close()


@pytest.mark.parametrize("version", [None, "tiny", "tiny-v2"])
def test_active_version_that_left_the_disk_answers_new_texts(on_disk, disk, version):
    shutil.rmtree(disk / "tiny" / "v2")
    on_disk.catalog.entries(fresh=True)

    answer = ask(on_disk, f"a new text for {version}", version=version)

    assert (answer.ref, answer.outcomes[0].error) == ("tiny-v2", None)


def test_other_version_that_leaves_the_disk_answers_what_it_has_let_in(on_disk, disk):
    def workers(route):
        """Asked when the chunk is formed."""
        shutil.rmtree(disk / "tiny" / "v1", ignore_errors=True)
        on_disk.catalog.entries(fresh=True)
        return 1

    on_disk._coalescer._hooks = on_disk._coalescer._hooks._replace(workers=workers)

    assert ask(on_disk, "a new text", version="tiny-v1").ref == "tiny-v1"


def test_version_is_not_taken_for_a_model_that_is_called_like_its_ref(on_disk, disk):
    (disk / "tiny-v2" / "v1").mkdir(parents=True)
    on_disk.catalog.entries(fresh=True)

    assert ask(on_disk, "a new text", version="tiny").ref == "tiny-v2"


def test_real_versions_have_answers_of_their_own(make_predictions, local):
    predictions = make_predictions(local)

    one, other = (ask(predictions, "good day", version=v).outcomes[0] for v in ("v1", "v2"))

    assert one.probabilities != other.probabilities
