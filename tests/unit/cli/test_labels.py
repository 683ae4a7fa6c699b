"""True labels on their way: in batches without an id twice, counted by what became of them."""

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli.labels import BATCH_ROWS, Row, Sent, Totals, _batches
from cli.main import main

words = st.sampled_from(["a", "b", "c", ""])


@given(st.lists(st.tuples(words, words)))
def test_batches_keep_all_rows_in_their_order_and_no_id_twice(pairs):
    rows = [Row(number, *pair) for number, pair in enumerate(pairs)]

    batches = list(_batches(iter(rows)))

    assert [row for batch in batches for row in batch] == rows
    for batch in batches:
        ids = [row.prediction_id for row in batch if not row.is_blank]
        assert len(ids) == len(set(ids))


def test_batches_are_bounded():
    rows = [Row(number, str(number), "a") for number in range(BATCH_ROWS + 1)]

    assert list(map(len, _batches(iter(rows)))) == [BATCH_ROWS, 1]


def test_totals_tell_each_reason_once_with_its_first_row():
    totals = Totals(now=lambda: 0.0)

    for number, outcome in enumerate(["recorded", "duplicate", None, "recorded", None], 1):
        totals.add(Sent(number, outcome, None if outcome else "no such id"))

    assert totals.as_data() == {
        "rows": 5,
        "recorded": 2,
        "corrected": 0,
        "duplicate": 1,
        "skipped": 0,
        "refused": 2,
        "reasons": [{"reason": "no such id", "rows": 2, "first_row": 3}],
    }


def test_progress_is_told_every_few_seconds():
    times = iter([0.0, 1.0, 6.0, 6.0, 7.0])
    totals = Totals(now=lambda: next(times))

    assert [totals.add(Sent(1, "recorded", None)) for _ in range(3)] == [False, True, False]


@pytest.mark.parametrize("args", [(), ("a.csv", "--show", "v2")])
def test_either_a_file_or_show(args):
    result = CliRunner().invoke(main, ["feedback", *args])

    assert result.exit_code == 2
    assert "give a FILE, or --show" in result.stderr


def test_row_without_label_column_is_refused_before_anything_is_sent(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("prediction_id,truth\nx,positive\n")

    result = CliRunner().invoke(main, ["feedback", str(file)])

    assert result.exit_code == 2
    assert "row 1 has no text under 'label'" in result.stderr
