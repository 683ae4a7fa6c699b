"""Texts for predictions and benchmarks."""

from itertools import islice
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.texts import made_up_texts, read_texts, slices


def test_text_file_gives_its_lines_without_blank_ones(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("one\n\n  \ntwo, with a comma\r\nthree")

    assert read_texts(file, None) == ["one", "two, with a comma", "three"]


@pytest.mark.parametrize(
    ("suffix", "separator"), [(".csv", ","), (".tsv", "\t"), (".CSV", ","), (".TSV", "\t")]
)
def test_table_gives_the_chosen_column(tmp_path, suffix, separator):
    file = tmp_path / f"texts{suffix}"
    rows = [("id", "review"), ("1", "good"), ("2", '"two\nlines"'), ("3", "")]
    file.write_text("\n".join(separator.join(row) for row in rows))

    assert read_texts(file, "review") == ["good", "two\nlines"]


@pytest.mark.parametrize("suffix", [".jsonl", ".JSONL", ".NdJson"])
def test_json_lines_are_known_by_the_name_in_any_case(tmp_path, suffix):
    file = tmp_path / f"texts{suffix}"
    file.write_text('{"text": "good"}\n')

    assert read_texts(file, None) == ["good"]


@pytest.mark.parametrize("column", [None, "text"])
def test_csv_without_the_column_names_those_that_exist(tmp_path, column):
    file = tmp_path / "texts.csv"
    file.write_text("id,review\n1,good\n")

    with pytest.raises(click.UsageError, match="id, review"):
        read_texts(file, column)


def test_file_that_cannot_be_read_is_a_usage_error(tmp_path):
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\x00")

    for path in (binary, Path("/nonexistent.txt")):
        with pytest.raises(click.UsageError, match=str(path)):
            read_texts(path, None)


def test_made_up_texts_differ_and_are_the_same_for_the_same_seed():
    texts = list(islice(made_up_texts(), 2000))

    assert len(set(texts)) == 2000
    assert texts == list(islice(made_up_texts(), 2000))


@given(st.lists(st.text()), st.integers(1, 10))
def test_slices_keep_every_text_in_order_and_their_size(texts, size):
    parts = list(slices(texts, size))

    assert [text for part in parts for text in part] == texts
    assert all(1 <= len(part) <= size for part in parts)
