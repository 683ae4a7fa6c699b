"""Feedback in Redis counts what was said last of each prediction, and nothing else."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.models.base import Manifest
from app.models.tally import Tally
from app.monitoring.feedback.counts import (
    ALL_TTL_S,
    OUTCOMES_KEY,
    PREFIX,
    SECRET_KEY,
    FeedbackCounts,
)
from app.monitoring.feedback.ids import Predicted, mark_of, shares_of

NOW = 1_800_000_000.0
TTL_S, WINDOW_S = 7 * 86_400, 86_400
LABELS = ["no", "so", "yes"]
VERSION = Manifest(name="m", version="v1", format="skops", labels=LABELS, artifacts=[])


@pytest.fixture
def counts(redis_client):
    return FeedbackCounts(redis_client, TTL_S, WINDOW_S)


def said(number, shares=(0.1, 0.2, 0.7), at=NOW, ref="m-v1"):
    label = shares.index(max(shares))
    mark = mark_of(VERSION.digest)
    return Predicted(ref, mark, int(at), number, label, shares_of(shares, label))


def window(counts, now=NOW):
    return counts.windows([VERSION], now)[0]


def figures(tally):
    """All that is counted, without what is nothing."""
    rows = {true: {k: n for k, n in row.items() if n} for true, row in tally.confusion.items()}
    rows = {true: row for true, row in rows.items() if row}
    return msgspec.to_builtins(msgspec.structs.replace(tally, confusion=rows))


def test_first_label_is_recorded_and_the_same_again_changes_nothing(counts):
    first = counts.record(said(1), 2, NOW)
    before = figures(window(counts))
    again = counts.record(said(1), 2, NOW)

    assert (first.outcome, again.outcome) == ("recorded", "duplicate")
    assert figures(window(counts)) == before
    assert window(counts).confusion == {"yes": {"yes": 1}}


def test_other_label_moves_the_counts(counts):
    counts.record(said(1), 2, NOW)

    assert counts.record(said(1), 0, NOW).outcome == "corrected"

    assert figures(window(counts))["confusion"] == {"no": {"yes": 1}}
    assert (window(counts).texts, window(counts).hits) == (1, 0)
    assert window(counts).brier == pytest.approx(0.9**2 + 0.2**2 + 0.7**2, abs=1e-4)


steps = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=20)
triples = st.tuples(*[st.integers(1, 100)] * 3)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, drawn=st.lists(triples, min_size=6, max_size=6))
def test_counts_are_those_of_what_was_said_last(redis_client, steps, drawn):
    redis_client.flushall()
    counts = FeedbackCounts(redis_client, TTL_S, WINDOW_S)
    shares = [tuple(part / sum(parts) for part in parts) for parts in drawn]
    last = {}
    for number, label in steps:
        counts.record(said(number, shares[number]), label, NOW)
        last[number] = label

    # As an id has them: rounding may move a confidence over the edge of a bin.
    rows = [(label, said(number, shares[number]).probabilities) for number, label in last.items()]
    known = Tally.of(LABELS, rows)

    for found in (window(counts), counts.all(VERSION)):
        assert figures(found)["confusion"] == known.confusion
        assert [(b.texts, b.hits) for b in found.bins] == [(b.texts, b.hits) for b in known.bins]
        assert found.scored == len(last)
        assert found.brier == pytest.approx(known.brier, abs=1e-3)
        assert found.brier_squares == pytest.approx(known.brier_squares, abs=1e-3)
        sure = [b.confidence for b in known.bins]
        assert [b.confidence for b in found.bins] == pytest.approx(sure, abs=1e-3)


def test_lone_confidence_has_no_brier_score(counts):
    lone = said(1)._replace(shares=(45_900,))

    counts.record(lone, 0, NOW)
    counts.record(lone, 2, NOW)

    assert (window(counts).texts, window(counts).hits, window(counts).scored) == (1, 1, 0)
    assert window(counts).bins[7].texts == 1


def test_certain_and_right_scores_nothing(counts):
    counts.record(said(1, (1.0, 0.0, 0.0)), 1, NOW)
    counts.record(said(1, (1.0, 0.0, 0.0)), 0, NOW)

    assert window(counts).brier == 0
    assert window(counts).bins[9].hits == 1


def test_window_is_about_when_it_was_predicted(counts):
    counts.record(said(1, at=NOW - 3600), 2, NOW)
    counts.record(said(2, at=NOW - WINDOW_S - 3700), 2, NOW)

    assert window(counts).texts == 1
    assert counts.all(VERSION).texts == 2
    assert window(counts, NOW + WINDOW_S + 3700).texts == 0


def test_other_model_under_the_same_ref_has_its_own_counts(counts):
    counts.record(said(1)._replace(mark="00000000"), 2, NOW)

    assert counts.all(VERSION).texts == 0


def test_everything_but_the_counters_goes_by_itself(counts, redis_client):
    counts.record(said(1, at=NOW - 100), 2, NOW, b"secret")

    left_s = {key.decode(): redis_client.ttl(key) for key in redis_client.keys(f"{PREFIX}*")}
    assert left_s.pop(SECRET_KEY) == left_s.pop(OUTCOMES_KEY) == -1
    said_s = left_s.pop(f"{PREFIX}said:{1:016x}")
    all_s = left_s.pop(f"{PREFIX}m-v1:{mark_of(VERSION.digest)}:all")
    ((_, slot_s),) = left_s.items()
    assert TTL_S - 102 < said_s <= TTL_S - 98
    assert all_s <= ALL_TTL_S
    # A correction finds the counts that it has to change.
    assert said_s + WINDOW_S < slot_s <= TTL_S + 2 * WINDOW_S + 1


def test_secret_is_made_once(redis_client):
    first, second = (FeedbackCounts(redis_client, TTL_S, WINDOW_S).secret() for _ in range(2))

    assert first == second
    assert len(first) == 32


def test_emptied_redis_gets_the_secret_back(counts, redis_client):
    assert counts.record(said(1), 2, NOW, b"ours").secret == b"ours"
    assert counts.record(said(2), 2, NOW, b"another").secret == b"ours"
    assert counts.record(said(3), 2, NOW).secret == b"ours"


def test_outcomes_are_counted_by_ref(counts):
    for number, label in ((1, 0), (1, 0), (1, 1), (2, 0)):
        counts.record(said(number), label, NOW)

    assert counts.outcomes() == {
        ("m-v1", "recorded"): 2,
        ("m-v1", "duplicate"): 1,
        ("m-v1", "corrected"): 1,
    }
