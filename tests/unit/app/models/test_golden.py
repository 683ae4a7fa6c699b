"""Golden texts: a version that answers them otherwise is not ready."""

import os

import msgspec
import numpy as np
import pytest

from app.errors import ArtifactInvalid, ArtifactUnsafe, GoldenMismatch
from app.models import golden
from app.models.golden import GOLDEN_FILE, MAX_GOLDEN_BYTES, Golden
from app.models.loader import load
from tests.models import LABELS, LIMITS, build_model, entry

REF = "tiny-v1"


def check(rows, answers):
    golden.check(rows, REF, LABELS, lambda texts: np.array(answers))


def row(label="positive", text="good day", **more):
    return Golden(text=text, label=label, **more)


def test_answers_within_the_tolerance_pass():
    expected = {"negative": 0.1, "positive": 0.9}

    check([row(probabilities=expected, tolerance=0.02)], [[0.115, 0.0, 0.885]])
    check([], [])


def test_label_alone_is_enough():
    check([row()], [[0.3, 0.3, 0.4]])


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ([0.9, 0.0, 0.1], "golden text 1 is 'negative', expected 'positive'"),
        ([0.1, 0.1, 0.8], r"golden text 1 is 'positive' with 0\.8000.*, expected 0\.9000.* \+- 0"),
        ([0.0, float("nan"), 0.9], "golden text 1 has a probability that is not finite"),
        ([float("inf"), 0.0, 0.9], "golden text 1 has a probability that is not finite"),
    ],
)
def test_other_answers_are_told_with_what_was_expected(answer, sentence):
    with pytest.raises(GoldenMismatch, match=f"tiny-v1: {sentence}"):
        check([row(probabilities={"positive": 0.9})], [answer])


def test_second_text_counts_as_the_first():
    with pytest.raises(GoldenMismatch, match="golden text 2"):
        check([row(), row()], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"{", "line 2 of golden.jsonl: "),
        (b"\xff", "line 2 of golden.jsonl: "),
        (b'{"text": "a"}', "line 2 of golden.jsonl: .*missing required field `label`"),
        (b'{"text": "a", "label": "positive", "more": 1}', "unknown field `more`"),
        (b'{"text": "", "label": "positive"}', "length >= 1"),
        (b'{"text": "a", "label": "happy"}', "'happy' is not a label of the model"),
        (b'{"text": "a", "label": "positive", "probabilities": {"sad": 1}}', "'sad' is not a"),
        (b'{"text": "a", "label": "positive", "probabilities": {"positive": 2}}', "<= 1"),
        (b'{"text": "a", "label": "positive", "tolerance": 0}', "> 0"),
        (b"[" * 100_000, "line 2 of golden.jsonl"),
    ],
)
def test_line_that_is_wrong_is_named(line, sentence):
    content = b'{"text": "good day", "label": "positive"}\n' + line + b"\n"

    with pytest.raises(GoldenMismatch, match=sentence):
        golden.decode(content, REF, LABELS)


def test_blank_lines_are_skipped():
    assert golden.decode(b"\n  \r\n", REF, LABELS) == []


def write(path, *rows):
    (path / GOLDEN_FILE).write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def test_version_that_answers_its_golden_texts_is_loaded(tmp_path):
    path = build_model(tmp_path)
    write(path, row(), row(label="negative", text="bad night"))

    assert load(entry(path), LIMITS).ref == REF


def test_version_that_answers_otherwise_is_not_loaded_and_no_text_is_told(tmp_path):
    path = build_model(tmp_path)
    write(path, row(), row(text="a bad secret"))

    with pytest.raises(GoldenMismatch) as caught:
        load(entry(path), LIMITS)

    assert "golden text 2 is 'negative'" in str(caught.value)
    assert "secret" not in str(caught.value)


def replace_by_pipe(file):
    os.mkfifo(file)


def replace_by_link(file):
    file.symlink_to("/etc/hostname")


def replace_by_directory(file):
    file.mkdir()


def make_too_large(file):
    file.write_bytes(b"\n" * (MAX_GOLDEN_BYTES + 1))


def write_other_bytes(file):
    file.write_bytes(b'{"\xff": 1}')


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (replace_by_pipe, ArtifactUnsafe),
        (replace_by_link, ArtifactInvalid),
        (replace_by_directory, ArtifactInvalid),
        (make_too_large, ArtifactUnsafe),
        (write_other_bytes, GoldenMismatch),
    ],
)
@pytest.mark.timeout(20)
def test_golden_set_that_cannot_be_read_keeps_the_version_from_serving(tmp_path, damage, error):
    path = build_model(tmp_path)
    damage(path / GOLDEN_FILE)

    with pytest.raises(error, match=GOLDEN_FILE):
        load(entry(path), LIMITS)
