"""Where the time of a chunk went, and what was in it."""

import msgspec
import pytest

from app.contract import EXPIRED, ChunkResult, Failure, Outcome
from app.inference.batching import BatchLimits
from app.inference.lanes import Flight, Route
from app.inference.slots import Ask, Slot, Waiting
from app.monitoring.metrics import CONFIDENCE_BUCKETS, Distribution, Metrics
from app.monitoring.stages import JOB, Computations, Flights

LIMITS = BatchLimits(max_batch_size=3, max_hold_s=0.01)
LABELS = ["no", "yes"]
RESULT = ChunkResult(
    ref="tiny-v1",
    labels=LABELS,
    outcomes=[Outcome([0.2, 0.8]), Outcome([0.55, 0.45]), EXPIRED],
    preprocess_s=0.002,
    inference_s=0.003,
    queued_s=0.004,
)


@pytest.fixture
def metrics():
    return Metrics()


def flight(*held_at, sent_at=100.0, is_cut=False):
    slots = [
        Slot(Ask(b"key", "text", Waiting(1, None), 0, 1e12, "r"), moment) for moment in held_at
    ]
    return Flight(Route("tiny-v1", "cpu"), slots, sent_at, 1e12, is_cut)


def read(metrics):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
    }


def stages(metrics):
    name = "mlserve_request_stage_duration_seconds_sum"
    return {key[1]: value for key, value in read(metrics).items() if key[0] == name and value}


def test_api_sees_how_long_texts_were_held_and_what_the_reply_took(metrics):
    Flights(metrics, LIMITS).observe(flight(99.995, 99.998), RESULT, 100.010)

    found = stages(metrics)
    assert found["batch_wait"] == pytest.approx(0.005)
    assert found["reply"] == pytest.approx(0.001)


def test_clocks_that_differ_make_no_negative_times(metrics):
    Flights(metrics, LIMITS).observe(flight(100.001), RESULT, 100.005)

    assert stages(metrics) == {}


def test_chunk_that_no_worker_had_has_no_reply(metrics):
    nobody = ChunkResult(ref="tiny-v1", labels=[], outcomes=[], preprocess_s=0.0, inference_s=0.0)

    Flights(metrics, LIMITS).observe(flight(99.0), nobody, 105.0)

    assert list(stages(metrics)) == ["batch_wait"]


@pytest.mark.parametrize(
    ("held_at", "is_cut", "cause"),
    [
        ((99.999, 100.0), False, "idle"),
        ((99.9, 100.0, 100.0), False, "full"),
        ((99.98, 100.0), True, "cost"),
        ((99.98, 100.0), False, "timer"),
    ],
)
def test_chunks_are_counted_by_why_they_left(metrics, held_at, is_cut, cause):
    Flights(metrics, LIMITS).observe(flight(*held_at, is_cut=is_cut), RESULT, 100.1)

    found = {key[1]: n for key, n in read(metrics).items() if key[0] == "mlserve_batch_flush_total"}
    assert {name for name, count in found.items() if count} == {cause}


def test_worker_sees_queue_work_size_and_confidence(metrics):
    Computations(metrics).answered(RESULT)

    found, sums = read(metrics), stages(metrics)
    assert sums == {"queue": 0.004, "preprocess": 0.002, "inference": 0.003}
    assert found["mlserve_batch_size_texts_sum", "predict"] == 3
    assert found["mlserve_prediction_confidence_ratio_count", "tiny", "v1"] == 2
    assert found["mlserve_prediction_confidence_ratio_sum", "tiny", "v1"] == pytest.approx(1.35)


def test_padding_is_the_share_of_tokens_that_are_none_of_a_text(metrics):
    worker = Computations(metrics)
    worker.answered(RESULT)
    worker.computed(msgspec.structs.replace(RESULT, tokens=60, padded_tokens=80), JOB)

    found = read(metrics)
    assert found["mlserve_batch_padding_ratio_count", "tiny", "v1"] == 1
    assert found["mlserve_batch_padding_ratio_sum", "tiny", "v1"] == 0.25


def test_batches_of_jobs_are_no_stages_of_requests(metrics):
    Computations(metrics).computed(RESULT, JOB)

    assert read(metrics)["mlserve_batch_size_texts_sum", "job"] == 3
    assert stages(metrics) == {}


def test_results_of_jobs_are_predictions_and_failures(metrics):
    outcomes = [*RESULT.outcomes[:2], Outcome([0.9, 0.1]), Outcome(error=Failure("bad", "no"))]

    Computations(metrics).committed("tiny-v1", LABELS, outcomes)

    found = read(metrics)
    assert found["mlserve_predictions_total", "tiny", "v1", "no"] == 2
    assert found["mlserve_predictions_total", "tiny", "v1", "yes"] == 1
    assert found["mlserve_prediction_failures_total", "tiny", "v1", "bad"] == 1


@pytest.mark.parametrize("amounts", [[], [0.05], [0.1, 0.1, 0.5, 1.0, 1.5, 0.999], [0.0] * 5])
def test_many_amounts_are_observed_as_one_after_the_other(amounts):
    one, all_at_once = (
        Distribution("name", "help", buckets=CONFIDENCE_BUCKETS, registry=None) for _ in range(2)
    )

    for amount in amounts:
        one.observe(amount)
    all_at_once.observe_all(amounts)

    assert [s.value for s in one.collect()[0].samples] == pytest.approx(
        [s.value for s in all_at_once.collect()[0].samples]
    )
