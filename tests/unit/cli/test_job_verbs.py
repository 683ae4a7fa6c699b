"""`mlserve job ...` against a real server that fails as the service may."""

import io
import json
import os
import re
import signal
import tracemalloc

import pytest
from rich.console import Console

from cli import progress
from cli.records import Source
from cli.upload import Upload

CSV = 'id,review,custom_id\n1,good,a\n2,,b\n3,"bad\nday",c\n4,poison,\n'
TEXTS = ["good", "bad", "poison", "good again"]


@pytest.fixture
def reviews(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def job_id(server):
    return server.submit("key", {}, [{"text": text} for text in TEXTS])


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


def test_refused_submission_is_one_line(mlserve, server, reviews):
    server.refused = [422]

    result = mlserve("job", "submit", reviews, "--column", "review")

    assert result.exit_code == 1
    assert result.stderr == "Error: the service answered 422 a_code: a reason\n"


BAD_FILES = {
    "not JSON": ("x.jsonl", '{"text": "a"}\n{', "line 2 is not JSON"),
    "no text": ("x.jsonl", '{"text": "a"}\n{"txt": "b"}', "line 2 has no text under 'text'"),
    "not UTF-8": ("x.txt", b"good\n\xff\n", "can't decode"),
    "too many cells": ("x.csv", "text\na\nb,c\n", "line 3 has more columns"),
    "one name twice": ("x.csv", "text,text\na,b\n", "same name"),
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


def test_status_shows_counts_times_and_metadata(mlserve, server):
    server.step = 1
    job_id = server.submit("key", {"metadata": '{"team": "a"}'}, [{"text": "good"}] * 3)

    result = mlserve("job", "status", job_id)

    rows = [re.split(" {2,}", line) for line in result.stdout.splitlines()]
    assert rows[1:4] == [
        ["status", "in_progress"],
        ["version", "sentiment-v2"],
        ["texts", "3 total, 1 completed, 0 failed, 0 cancelled"],
    ]
    assert {"texts/s", "left", "created", "in progress", "expires"} <= {row[0] for row in rows}
    assert rows[-1] == ["metadata team", "a"]
    assert json.loads(mlserve("job", "status", job_id, "--json").stdout)["id"] == job_id


def test_unknown_job_is_one_line(mlserve):
    result = mlserve("job", "status", "../nothing")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the service answered 404 job_not_found")


def test_watch_prints_lines_until_the_end(mlserve, server, job_id):
    server.step = 1

    result = mlserve("job", "watch", job_id)

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "in_progress: 2 of 4 texts, 100 texts/s, 0 s left",
        "completed: 4 of 4 texts, 1 failed, 100 texts/s",
        f"`mlserve job errors {job_id}` says why texts failed",
        f"`mlserve job results {job_id}` prints the results",
    ]


def test_watch_as_json_is_one_document(mlserve, job_id):
    assert json.loads(mlserve("job", "watch", job_id, "--json").stdout)["status"] == "completed"


def test_watch_of_a_cancelled_job_fails(mlserve, server, job_id):
    server.jobs[job_id]["status"] = "cancelled"

    assert mlserve("job", "watch", job_id).exit_code == 1


def test_watch_outlives_a_service_that_restarts(mlserve, server, job_id):
    server.step, statuses = 1, [503, 502, 503]
    look = server.look

    def failing(job_id):
        server.refused = statuses[-1:]
        del statuses[-1:]
        return look(job_id)

    server.look = failing
    result = mlserve("job", "watch", job_id)

    assert result.exit_code == 0, result.output
    assert statuses == []
    assert "completed: 4 of 4 texts" in result.stdout


def test_service_that_stays_away_is_given_up(mlserve, server, job_id, monkeypatch):
    monkeypatch.setattr("cli.jobs.MAX_OUTAGE_S", 0.05)
    server.step, look = 1, server.look

    def failing(job_id):
        server.refused = [503] * 1000
        return look(job_id)

    server.look = failing
    result = mlserve("job", "watch", job_id)

    assert result.exit_code == 1
    assert "503" in result.stderr
    assert f"the job goes on: `mlserve job watch {job_id}` comes back to it" in result.stderr


def test_bar_shows_counts_rate_and_what_is_left(server, job_id):
    server.step = 1
    screen = io.StringIO()
    looks = [dict(server.look(job_id), eta_s=95.0) for _ in range(3)] + [server.look(job_id)]

    last = progress.draw(looks, Console(file=screen, force_terminal=True, width=120))

    assert last["status"] == "completed"
    assert "completed" in screen.getvalue()
    assert "4 of 4 texts, 1 failed, 100 texts/s" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (95, "1 min 35 s"), (7260, "2 h 1 min")], ids=str
)
def test_time_that_is_left_is_readable(server, job_id, seconds, text, capsys):
    progress.Lines()(server.jobs[job_id] | {"eta_s": seconds})

    assert capsys.readouterr().out.endswith(f", {text} left\n")


def test_interrupted_watch_says_how_to_come_back(mlserve, server, job_id):
    server.step, look = 1, server.look

    def interrupt(job_id):
        if server.done(server.jobs[job_id]) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return look(job_id)

    server.look = interrupt
    result = mlserve("job", "watch", job_id)

    assert result.exit_code == 1
    assert f"`mlserve job watch {job_id}` comes back to it" in result.stderr
    assert f"`mlserve job cancel {job_id}` ends it" in result.stderr


def test_results_are_lines_in_the_order_of_texts(mlserve, server, job_id):
    server.look(job_id)

    rows = list(map(json.loads, mlserve("job", "results", job_id).stdout.splitlines()))

    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    assert [row.get("label") for row in rows] == ["positive", "negative", None, "positive"]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_results_as_json_are_one_document(mlserve, server, count):
    job_id = server.submit("key", {}, [{"text": "good"}] * count)
    server.look(job_id)

    assert len(json.loads(mlserve("job", "results", job_id, "--json").stdout)) == count


def test_results_go_on_where_the_connection_broke(mlserve, server, job_id):
    server.look(job_id)
    server.rows_per_connection = 1

    rows = list(map(json.loads, mlserve("job", "results", job_id).stdout.splitlines()))

    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    paths = [
        path.partition("/results")[2] for _, path, _, _ in server.requests if "results" in path
    ]
    assert paths == ["", "?after=0", "?after=1", "?after=2"]


def test_results_of_a_running_job_end_with_where_to_go_on(mlserve, server, job_id):
    server.step = 2

    result = mlserve("job", "results", job_id, "--after", "0")

    assert [json.loads(line)["index"] for line in result.stdout.splitlines()] == [1]
    assert f"`mlserve job results {job_id} --after 1` goes on" in result.stderr


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_results_are_written_to_a_file(mlserve, server, job_id, tmp_path, suffix):
    server.look(job_id)
    output = tmp_path / f"out{suffix}"

    result = mlserve("job", "results", job_id, "--output", output)

    assert result.stdout == f"4 rows written to {output}\n"
    lines = output.read_text().splitlines()
    if suffix == ".jsonl":
        assert [json.loads(line)["index"] for line in lines] == [0, 1, 2, 3]
    else:
        comma = "," if suffix == ".csv" else "\t"
        columns = ["index", "custom_id", "label", "confidence", "truncated", "error"]
        assert lines[0] == comma.join(columns)
        assert lines[3] == comma.join(["2", "", "", "", "", "text_failed: it could not"])
    assert not output.with_name(f"{output.name}.part").exists()


def test_errors_are_lines_with_their_reason(mlserve, server):
    texts = [{"text": "good"}, {"text": "poison", "custom_id": "x"}, {"text": "poison"}]
    job_id = server.submit("key", {}, texts)
    server.look(job_id)

    result = mlserve("job", "errors", job_id)

    assert result.stdout.splitlines() == [
        "1 (x): text_failed: it could not",
        "2: text_failed: it could not",
    ]
    assert len(json.loads(mlserve("job", "errors", job_id, "--json", "--after", 1).stdout)) == 1


def test_cancel_says_what_is_kept(mlserve, server, job_id):
    server.step = 1
    server.look(job_id)

    result = mlserve("job", "cancel", job_id)

    assert result.stdout == f"{job_id} is cancelled; 1 of 4 texts have their results\n"


def test_job_that_cannot_be_cancelled_is_one_line(mlserve, server, job_id):
    server.refused = [409]

    result = mlserve("job", "cancel", job_id)

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_list_shows_the_newest_first(mlserve, server, job_id):
    newer = server.submit("other", {}, [{"text": "poison"}])
    server.look(newer)

    lines = mlserve("job", "list").stdout.splitlines()

    assert [line.split()[0] for line in lines[1:]] == [newer, job_id]
    assert lines[1].split()[1:6] == ["completed", "1", "of", "1", "1"]
    shown = json.loads(mlserve("job", "list", "--json", "--limit", "1").stdout)
    assert [job["id"] for job in shown["jobs"]] == [newer]


def test_list_is_asked_for_with_the_token_of_the_operator_and_nothing_else_is(
    mlserve, server, job_id, monkeypatch
):
    monkeypatch.setenv("MLSERVE_ADMIN__TOKEN", "correct-horse-battery-staple")

    mlserve("job", "list")
    mlserve("job", "status", job_id)

    given = [headers.get("Authorization") for _, _, headers, _ in server.requests]
    assert given == ["Bearer correct-horse-battery-staple", None]
