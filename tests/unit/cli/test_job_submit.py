"""`mlserve job submit` against a real server that fails as the service may."""

import json
import os
import tracemalloc

import pytest

from cli.records import Source
from cli.upload import Upload

CSV = 'id,review,custom_id\n1,good,a\n2,,b\n3,"bad\nday",c\n4,poison,\n'


@pytest.fixture
def reviews(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(CSV)
    return path


def sent(server):
    return [texts for command, _, _, texts in server.requests if command == "POST"]


def test_submit_sends_the_column_and_prints_the_id(mlserve, server, reviews):
    result = mlserve("job", "submit", reviews, "--column", "review")

    assert result.exit_code == 0
    assert result.stdout.split() == list(server.jobs)
    assert "3 texts for sentiment-v2, 1 blank ones left out" in result.stderr
    assert sent(server) == [
        [
            {"text": "good", "custom_id": "a"},
            {"text": "bad\nday", "custom_id": "c"},
            {"text": "poison"},
        ]
    ]


FILES = {
    "lines": ("texts.txt", "good\n\n bad day\r\n"),
    "tsv": ("texts.tsv", "text\tid\ngood\t1\n bad day\t2\n"),
    "json lines": ("texts.jsonl", '{"text": "good"}\n{"n": [1], "text": " bad day"}\n'),
    "ndjson": ("texts.ndjson", '\n{"text": "good"}\n\n{"text": " bad day"}'),
    "byte order mark": ("texts.txt", "\ufeffgood\n bad day"),
}


@pytest.mark.parametrize(("name", "content"), FILES.values(), ids=FILES)
def test_submit_reads_every_kind_of_file(mlserve, server, tmp_path, name, content):
    (tmp_path / name).write_text(content, newline="")
    column = ["--column", "text"] if name.endswith("tsv") else []

    assert mlserve("job", "submit", tmp_path / name, *column).exit_code == 0

    assert [item["text"] for item in sent(server)[0]] == ["good", " bad day"]


def test_submit_reads_standard_input(mlserve, server):
    assert mlserve("job", "submit", "-", input="good\nbad\n").exit_code == 0

    assert sent(server) == [[{"text": "good"}, {"text": "bad"}]]


def test_submit_passes_on_what_is_wanted(mlserve, server, reviews):
    options = ["--model", "v1", "--metadata", "team=a=b", "--webhook", "https://a.org/?b=c&d"]
    options += ["--idempotency-key", "mine", "--column", "review", "--json"]

    shown = json.loads(mlserve("job", "submit", reviews, *options).stdout)

    assert (shown["model_version"], shown["metadata"]) == ("v1", {"team": "a=b"})
    ((_, path, headers, _),) = server.requests
    assert "webhook=https%3A%2F%2Fa.org%2F%3Fb%3Dc%26d" in path
    assert headers["Idempotency-Key"] == '"mine"'
    assert headers["Content-Encoding"] == "gzip"


def test_submit_makes_a_key_for_each_call(mlserve, server, reviews):
    for _ in range(2):
        mlserve("job", "submit", reviews, "--column", "review")

    assert len(server.keys) == len(server.jobs) == 2


@pytest.mark.parametrize("fault", ["lost_answers", "busy"])
def test_submission_whose_answer_got_lost_is_one_job(mlserve, server, reviews, fault):
    setattr(server, fault, 2)

    result = mlserve("job", "submit", reviews, "--column", "review")

    assert result.exit_code == 0, result.output
    assert len(sent(server)) == 3
    assert len({headers["Idempotency-Key"] for _, _, headers, _ in server.requests}) == 1
    assert result.stdout.split() == list(server.jobs)


def test_standard_input_is_not_sent_twice(mlserve, server):
    server.lost_answers = 1

    result = mlserve("job", "submit", "-", input="good\n")

    assert result.exit_code == 1
    assert len(sent(server)) == 1


def test_pipe_is_not_sent_twice(mlserve, server):
    server.lost_answers = 1
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as file:
        file.write("good\n")

    with os.fdopen(reader):
        result = mlserve("job", "submit", f"/dev/fd/{reader}")

    assert result.exit_code == 1
    assert len(sent(server)) == 1


def test_refused_submission_is_one_line(mlserve, server, reviews):
    server.refused = [422]

    result = mlserve("job", "submit", reviews, "--column", "review")

    assert result.exit_code == 1
    assert result.stderr == "Error: the service answered 422 a_code: a reason\n"


WRONG_TEXTS = {
    "lines": ("x.txt", "good\n\n  \nwrong\n"),
    "cell of two lines": ("x.csv", 'text\n"a\nb"\nwrong\n'),
    "first of its two lines": ("x.csv", 'text,n\n\na,1\nwrong,"1\n2"\n'),
    "blank cells": ("x.tsv", "text\tn\n\t1\na\t2\nwrong\t3\n"),
    "json lines": ("x.jsonl", '{"text": "a"}\n\n{"text": " "}\n{"text": "wrong"}\n'),
}


@pytest.mark.parametrize(("name", "content"), WRONG_TEXTS.values(), ids=WRONG_TEXTS)
def test_refused_text_is_told_by_the_line_of_the_file(mlserve, server, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    server.wrong_text = "wrong"

    column = ["--column", "text"] if name != "x.txt" else []
    result = mlserve("job", "submit", tmp_path / name, *column)

    said = "Error: the service answered 422 invalid_fields: line 4: text: Has too much.\n"
    assert result.stderr == said


def test_refused_text_of_standard_input_is_told_by_its_number(mlserve, server):
    server.wrong_text = "wrong"

    result = mlserve("job", "submit", "-", input="good\n\nwrong\n")

    assert result.stderr.endswith("invalid_fields: text 2: text: Has too much.\n")


BAD_FILES = {
    "not JSON": ("x.jsonl", '{"text": "a"}\n{', "line 2 is not JSON"),
    "no text": ("x.jsonl", '{"text": "a"}\n{"txt": "b"}', "line 2 has no text under 'text'"),
    "one key twice": ("x.jsonl", '{"text": "a"}\n{"text": "", "text": ""}', "line 2 has the same"),
    "not UTF-8": ("x.txt", b"good\n\xff\n", "can't decode"),
    "too many cells": ("x.csv", "text\na\nb,c\n", "line 3 has more columns"),
    "too many cells behind two lines": ("x.csv", 'text\n"a\n\nb",c\n', "line 2 has more columns"),
    "one name twice": ("x.csv", "text,a,a\nb,1,2\n", "same name, 'a'"),
}


@pytest.mark.parametrize(("name", "content", "line"), BAD_FILES.values(), ids=BAD_FILES)
def test_file_that_goes_wrong_in_the_midst_is_no_job(
    mlserve, server, tmp_path, name, content, line
):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    column = ["--column", "text"] if name.endswith("csv") else []

    result = mlserve("job", "submit", tmp_path / name, *column)

    assert result.exit_code == 2
    assert line in result.stderr
    assert server.jobs == {}


def test_upload_is_never_in_memory_as_a_whole(tmp_path):
    path = tmp_path / "large.txt"
    with path.open("w") as file:
        file.writelines(f"text number {number} {number * 7919}\n" for number in range(60_000))

    tracemalloc.start()
    size = sum(map(len, Upload(Source(path), lambda record: True).pieces()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size > 300_000
    assert peak < 600_000
