"""Training data is read from three formats, and errors say where they are without the text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import TrainingDataInvalid
from app.training.data import Labelled, is_repetitive, read

ROWS = Labelled(["a, b", 'say "so"', "two\nlines", "é\u2028x"], ["yes", "no", "yes", "no"])
CSV = 'text,label\n"a, b",yes\n"say ""so""",no\n"two\nlines",yes\né\u2028x,no\n'
TSV = "text\tlabel\na, b\tyes\n" + '"say ""so"""\tno\n"two\nlines"\tyes\né\u2028x\tno\n'
JSONL = "".join(
    json.dumps({"text": text, "label": label, "more": None}, ensure_ascii=False) + "\n\n"
    for text, label in zip(ROWS.texts, ROWS.labels, strict=True)
)


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [("d.csv", CSV), ("d.CSV", "\ufeff" + CSV), ("d.tsv", TSV), ("d.jsonl", JSONL)],
    ids=["csv", "csv with a byte order mark", "tsv", "jsonl with empty lines"],
)
def test_read_gives_the_same_rows_from_every_format(tmp_path, name, content):
    dataset = read(write(tmp_path, name, content))

    assert dataset.rows == ROWS
    assert dataset.name == name


def test_read_takes_other_columns_and_whole_numbers_as_labels(tmp_path):
    path = write(tmp_path, "d.jsonl", '{"say": "a", "stars": 1}\n{"say": "b", "stars": 5}')

    assert read(path, "say", "stars").rows == Labelled(["a", "b"], ["1", "5"])


def test_other_columns_may_have_one_name(tmp_path):
    path = write(tmp_path, "d.csv", "text,label,,\ngood,yes,1,2\nbad,no,3,4\n")

    assert read(path).rows == Labelled(["good", "bad"], ["yes", "no"])


def test_long_text_is_read_from_a_table_too(tmp_path):
    long = "word " * 50_000
    path = write(tmp_path, "d.csv", f"text,label\n{long},yes\nshort,no\n")

    assert read(path).rows.texts == [long, "short"]


@given(rows=st.lists(st.tuples(st.text("ab,\t\n\r\"'é"), st.sampled_from("xy")), min_size=1))
def test_read_gives_what_json_lines_hold(tmp_path_factory, rows):
    rows = [(f"text {text}", label) for text, label in [*rows, ("", "x"), ("", "y")]]
    lines = (json.dumps({"text": text, "label": label}) for text, label in rows)
    path = write(tmp_path_factory.mktemp("data"), "d.jsonl", "\n".join(lines))

    found = read(path).rows

    assert list(zip(found.texts, found.labels, strict=True)) == rows


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("d.txt", "x", r"d\.txt: unknown suffix '\.txt'; expected one of \.csv, \.tsv, \.jsonl"),
        (
            "d.csv",
            "words,label\na,b\n",
            r"d\.csv line 2: no column 'text'; there are: words, label",
        ),
        ("d.jsonl", '{"text": "secret"}', r"line 1: no column 'label'; there are: text"),
        ("d.csv", "text,label,text\nsecret,a,b\n", r"line 1: column 'text' is there twice"),
        ("d.tsv", "label\ttext\tlabel\na\tsecret\tb\n", r"column 'label' is there twice"),
        ("d.csv", "text,label\nsecret,a\nsecret\n", r"line 3: does not have 2 columns"),
        ("d.csv", "text,label\nsecret,a,b\n", r"line 2: does not have 2 columns"),
        ("d.csv", 'text,label\n"secret,a\n', r"line 2: unexpected end of data"),
        ("d.csv", '"text,label\nsecret,a\n', r"line 2: unexpected end of data"),
        ("d.csv", "text,label\nsecret,a\n  ,b\n", r"line 3, column 'text': the text is blank"),
        ("d.csv", "text,label\nsecret, \n", r"line 2, column 'label': the label is blank"),
        ("d.jsonl", '{"text": 7, "label": "a"}', r"column 'text': expected a text, got int"),
        ("d.jsonl", '{"text": "secret", "label": 0.5}', r"whole number, got float"),
        ("d.jsonl", '{"text": "secret", "label": true}', r"whole number, got bool"),
        ("d.jsonl", '\n["secret"]', r"line 2: Expected `object`, got `array`"),
        ("d.jsonl", '{"text": "secret}', r"line 1: Input data was truncated"),
        ("d.jsonl", '\n{"text": "secret", "text": "b"}', r"line 2: has the same key twice"),
        ("d.csv", b"text,label\na,b\n\xffsecret,b\n", r"d\.csv line 3: is not UTF-8"),
        ("d.csv", "text,label\nsecret,a\n", r"needs at least 2 different labels, has 1"),
        ("d.csv", "", r"needs at least 2 different labels, has 0"),
        (
            "d.csv",
            "text,label\n" + "".join(f"secret,{n}\n" for n in range(1001)),
            r"1001 different labels, at most 1000; is the column right\?",
        ),
    ],
)
def test_read_refuses_and_says_where_without_the_text(tmp_path, name, content, said):
    with pytest.raises(TrainingDataInvalid, match=said) as caught:
        read(write(tmp_path, name, content))

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "is_so"),
    [
        ('{"a": "b: c, \\"a\\": d", "d" : ":"}', False),
        ('{"a": {"a": [{"a": 1}, {"a": 2}]}}', False),
        ("{}", False),
        ('{"a": 1, "a" :1}', True),
        ('{"a": "b: c", "\\u0061": ""}', True),
        ('{"b": [{"a": {"c": 1, "c": 1}}], "a": 1}', True),
    ],
)
def test_key_that_comes_twice_is_seen_at_every_depth(line, is_so):
    assert is_repetitive(line, json.loads(line)) == is_so


def test_read_of_a_missing_file_says_so(tmp_path):
    with pytest.raises(TrainingDataInvalid, match=r"^d\.csv: No such file"):
        read(tmp_path / "d.csv")
