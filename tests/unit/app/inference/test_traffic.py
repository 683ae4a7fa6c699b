"""What a worker counts of its traffic, and what it costs."""

import dataclasses
import threading

import pytest

from app.contract import Chunk
from app.inference.engine import predict
from app.inference.traffic import MAX_SAVED_S, Traffic
from app.models.loader import load
from tests.models import LIMITS, build_model, entry
from tests.references import measured
from tests.unit.app.inference.test_engine import PoisonedPredictor


class Clock:
    """Time of the test's: how late it is, and how much work was done."""

    def __init__(self, cost_s=0.0):
        self.moment, self.worked, self.cost_s = 0.0, 0.0, cost_s

    def now(self):
        return self.moment

    def spent(self):
        self.worked += self.cost_s
        return self.worked


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = build_model(tmp_path_factory.mktemp("models"))
    return measured(load(entry(path), LIMITS), path)


def answer(model, texts, traffic, deadline=10.0, batch=4):
    chunk = Chunk(ref=model.ref, texts=texts, deadline=deadline, request_ids=["r"])
    return predict(model, chunk, max_batch_size=batch, now=lambda: 0.0, traffic=traffic)


def test_every_answered_text_is_counted_once(model):
    traffic = Traffic()

    answer(model, ["good day", "bad night", "table"] * 3, traffic)
    (taken,) = traffic.take().values()

    assert (taken.ref, taken.texts) == ("tiny-v1", 9)
    assert {sum(counts) for name, counts in taken.counts.items() if name != "unknown_tokens"} == {9}
    assert taken.counts["labels"] == [3, 3, 3]


def test_what_was_taken_is_not_taken_again(model):
    traffic = Traffic()
    answer(model, ["good day"], traffic)

    assert list(traffic.take()) == [model.measures.key]
    assert traffic.take() == {}


def test_failed_and_expired_texts_are_not_counted(model):
    traffic = Traffic()
    watched = dataclasses.replace(model, predictor=PoisonedPredictor(model.predictor))

    answer(watched, ["good day", "poison pill", "table"], traffic)
    answer(watched, ["good day"], traffic, deadline=0.0)

    (taken,) = traffic.take().values()
    assert taken.texts == sum(taken.counts["labels"]) == 2


def test_version_without_reference_is_answered_and_not_counted(model):
    traffic = Traffic()

    result = answer(dataclasses.replace(model, measures=None), ["good day"], traffic)

    assert result.outcomes[0].probabilities
    assert traffic.take() == {}


def test_fault_while_measuring_costs_no_answer_and_shows_no_text(model, caplog):
    class Broken:
        key = "k"

        def places(self, texts, *_):
            raise ValueError(texts[0])

    traffic = Traffic()

    result = answer(dataclasses.replace(model, measures=Broken()), ["secret words"], traffic)

    assert result.outcomes[0].probabilities
    assert "texts were not measured" in caplog.text
    assert "secret" not in caplog.text


def test_measuring_takes_a_hundredth_of_the_time_at_most(model):
    clock = Clock(cost_s=0.001)
    traffic = Traffic(clock.now, clock.spent)
    passed_s, chunks = 2.0, 200
    for _ in range(chunks):
        clock.moment += passed_s / chunks
        answer(model, ["good day"], traffic)

    # Each costs a step of the clock; what was saved up comes on top.
    (taken,) = traffic.take().values()
    assert taken.texts == pytest.approx((0.01 * passed_s + MAX_SAVED_S) / 0.001, abs=2)


def test_burst_after_a_quiet_time_is_measured_whole(model):
    clock = Clock(cost_s=0.0002)
    traffic = Traffic(clock.now, clock.spent)
    for _ in range(100):
        answer(model, ["good day"] * 4, traffic)

    (taken,) = traffic.take().values()
    assert taken.texts == 400


def test_threads_lose_no_count(model):
    traffic, taken = Traffic(), []
    threads = [
        threading.Thread(target=answer, args=(model, ["good day"] * 8, traffic)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        taken += traffic.take().values()
        thread.join()
    taken += traffic.take().values()

    assert sum(row.texts for row in taken) == sum(sum(row.counts["labels"]) for row in taken) == 64
