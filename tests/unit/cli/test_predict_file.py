"""`mlserve predict --output`: every row of a file, with its prediction beside it."""

import csv
import json
import os
import shlex
import signal

import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from tests.models import activate, build_model

CSV = 'id,review,label\n1,good,x\n2,,y\n3,"bad, and\nlong",z\n4,poison,\n'
ADDED = ["predicted_label", "confidence", "truncated", "error"]


@pytest.fixture
def reviews(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(CSV)
    return path


def rows_of(path, delimiter=","):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_csv_keeps_its_columns_and_gets_what_was_predicted(mlserve, server, reviews, tmp_path):
    output = tmp_path / "out.csv"

    result = mlserve("predict", "--file", reviews, "--column", "review", "--output", output)

    assert result.exit_code == 1  # two texts have none
    assert result.stdout.splitlines()[-2:] == [
        f"4 rows written to {output}, 2 of them failed",
        "answered by sentiment-v2",
    ]
    rows = rows_of(output)
    assert list(rows[0]) == ["id", "review", "label", *ADDED]
    assert [row["label"] for row in rows] == ["x", "y", "z", ""]
    assert [row["predicted_label"] for row in rows] == ["positive", "", "negative", ""]
    assert [row["confidence"] for row in rows] == ["0.75", "", "0.75", ""]
    assert rows[1]["error"] == "invalid_fields: Must not be blank."
    assert rows[2]["review"] == "bad, and\nlong"
    assert rows[3]["error"] == "text_failed: it could not"


KINDS = {
    ".csv": "text,n\ngood,1\nbad,2\n",
    ".tsv": "text\tn\ngood\t1\nbad\t2\n",
    ".jsonl": '{"text": "good", "n": "1"}\n{"text": "bad", "n": "2"}\n',
}


@pytest.mark.parametrize("wanted", KINDS)
@pytest.mark.parametrize("given", KINDS)
def test_every_kind_of_file_becomes_every_other(mlserve, tmp_path, given, wanted):
    source, output = tmp_path / f"in{given}", tmp_path / f"out{wanted}"
    source.write_text(KINDS[given])

    result = mlserve("predict", "--file", source, "--column", "text", "--output", output)

    assert result.exit_code == 0, result.output
    if wanted == ".jsonl":
        rows = list(map(json.loads, output.read_text().splitlines()))
        assert [row["confidence"] for row in rows] == [0.75, 0.75]
    else:
        rows = rows_of(output, "," if wanted == ".csv" else "\t")
    assert list(rows[0]) == ["text", "n", "label", "confidence", "truncated", "error"]
    assert [(row["n"], row["label"]) for row in rows] == [("1", "positive"), ("2", "negative")]


def test_plain_lines_become_a_table(mlserve, tmp_path):
    source, output = tmp_path / "in.txt", tmp_path / "out.csv"
    source.write_text("good\n\nbad\n")

    assert mlserve("predict", "--file", source, "--output", output).exit_code == 0

    assert [(row["text"], row["label"]) for row in rows_of(output)] == [
        ("good", "positive"),
        ("bad", "negative"),
    ]


def test_output_is_known_by_its_name_in_any_case(mlserve, reviews, tmp_path):
    output = tmp_path / "OUT.CSV"

    mlserve("predict", "--file", reviews, "--column", "review", "--output", output)

    assert len(rows_of(output)) == 4


@pytest.mark.parametrize("content", ["", "\n \n"], ids=["empty", "blank lines"])
def test_file_without_texts_is_named(mlserve, server, tmp_path, content):
    source = tmp_path / "empty.txt"
    source.write_text(content)

    result = mlserve("predict", "--file", source)

    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"Error: {source} has no texts"
    assert server.requests == []


def test_json_is_one_document(mlserve, reviews, tmp_path):
    args = ("--file", reviews, "--column", "review", "--output", tmp_path / "out.csv", "--json")

    shown = json.loads(mlserve("predict", *args).stdout)

    assert (shown["rows"], shown["failed"], shown["status"]) == (4, 2, "completed")


def test_job_that_was_submitted_before_is_not_submitted_again(mlserve, server, reviews, tmp_path):
    args = ("predict", "--file", reviews, "--column", "review", "--output", tmp_path / "out.csv")
    mlserve(*args)
    (job_id,) = server.jobs

    mlserve(*args, "--job", job_id)

    assert list(server.jobs) == [job_id]
    assert len(rows_of(tmp_path / "out.csv")) == 4


def test_results_of_a_cancelled_job_say_so_row_by_row(mlserve, server, reviews, tmp_path):
    args = ("predict", "--file", reviews, "--column", "review", "--output", tmp_path / "out.csv")
    mlserve(*args)
    (job,) = server.jobs.values()
    job["status"] = "cancelled"

    assert json.loads(mlserve(*args, "--job", job["id"], "--json").stdout)["status"] == "cancelled"


@pytest.mark.parametrize("rows", ["5,good,\n", ""], ids=["longer", "shorter"])
def test_file_that_was_changed_meanwhile_is_no_output(mlserve, server, reviews, tmp_path, rows):
    output = tmp_path / "out.csv"
    args = ("predict", "--file", reviews, "--column", "review", "--output", output)
    mlserve(*args)
    (job_id,) = server.jobs
    output.unlink()
    reviews.write_text(CSV + rows if rows else "id,review,label\n1,good,x\n")

    result = mlserve(*args, "--job", job_id)

    assert result.exit_code == 2
    assert "was it changed?" in result.stderr
    assert not output.exists()


def test_broken_connection_costs_no_row(mlserve, server, reviews, tmp_path):
    server.rows_per_connection = 1

    mlserve("predict", "--file", reviews, "--column", "review", "--output", tmp_path / "out.csv")

    assert len(rows_of(tmp_path / "out.csv")) == 4


def test_interrupted_prediction_says_how_to_come_back(mlserve, server, reviews, tmp_path):
    server.look = lambda job_id: os.kill(os.getpid(), signal.SIGINT)
    args = ["--file", str(reviews), "--column", "review", "--output", str(tmp_path / "a file.csv")]

    result = mlserve("predict", *args)

    (job_id,) = server.jobs
    command = result.stderr.split("`")[1]
    assert result.exit_code == 1
    assert shlex.split(command) == ["mlserve", "predict", *args, "--job", job_id]


def test_what_fails_behind_the_submission_says_how_to_come_back(mlserve, server, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "good"}\n{"text": "bad", "n": 1}\n')
    args = ["--file", str(source), "--output", str(tmp_path / "out.csv")]

    result = mlserve("predict", *args)

    (job_id,) = server.jobs
    last = result.stderr.splitlines()[-1]
    assert result.exit_code == 2
    assert "'n' is not in the first row; write JSON lines; the job is not lost: " in last
    assert shlex.split(last.split("`")[1]) == ["mlserve", "predict", *args, "--job", job_id]


@pytest.mark.parametrize("directory", ["absent", "a_file", "/proc"])
def test_output_that_cannot_be_written_is_refused_before_there_is_a_job(
    mlserve, server, reviews, tmp_path, directory
):
    (tmp_path / "a_file").touch()
    output = tmp_path / directory / "out.csv"

    result = mlserve("predict", "--file", reviews, "--column", "review", "--output", output)

    assert result.exit_code == 2
    assert f"{output}: {output.parent}: " in result.stderr
    assert server.requests == []


@pytest.mark.parametrize("name", ["-", "pipe", "."])
def test_file_that_can_be_read_only_once_is_refused_before_there_is_a_job(
    mlserve, server, tmp_path, name
):
    os.mkfifo(tmp_path / "pipe")
    source = name if name == "-" else tmp_path / name

    result = mlserve("predict", "--file", source, "--output", tmp_path / "out.csv", input="good\n")

    assert result.exit_code == 2
    assert "it is read twice" in result.stderr
    assert server.requests == []


@pytest.mark.parametrize("status", [404, 410])
def test_job_that_is_not_there_is_nothing_to_come_back_to(
    mlserve, server, reviews, tmp_path, status
):
    server.refused = [status]
    args = ("--file", reviews, "--column", "review", "--output", tmp_path / "out.csv")

    result = mlserve("predict", *args, "--job", "gone")

    assert result.stderr == f"Error: the service answered {status} a_code: a reason\n"


def test_job_is_not_waited_for_where_the_service_is_away_at_once(
    mlserve, server, reviews, tmp_path
):
    args = ("predict", "--file", reviews, "--column", "review", "--output", tmp_path / "out.csv")
    mlserve(*args)
    (job_id,) = server.jobs
    server.refused = [503]

    result = mlserve(*args, "--job", job_id)

    assert result.exit_code == 1
    assert result.stderr == "Error: the service answered 503 a_code: a reason\n"


@pytest.mark.parametrize("extra", ["predicted_label", "error"])
def test_row_with_a_key_that_is_to_be_added_is_refused(mlserve, tmp_path, extra):
    source = tmp_path / "in.jsonl"
    first = {"text": "good", "label": "x"}
    source.write_text(f"{json.dumps(first)}\n{json.dumps(first | {extra: 'y'})}\n")

    result = mlserve("predict", "--file", source, "--output", tmp_path / "out.jsonl")

    assert result.exit_code == 2
    assert "row 2" in result.stderr


def test_local_needs_no_service(tmp_path, reviews):
    build_model(tmp_path / "models", "sentiment", "v1")
    activate(tmp_path / "models", sentiment="v1")
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump({"models_dir": str(tmp_path / "models"), "server": {"port": 1}})
    )
    output = tmp_path / "out.csv"
    args = ["--file", str(reviews), "--column", "review", "--output", str(output), "--local"]

    result = CliRunner().invoke(main, ["--config", str(config), "predict", *args])

    assert "answered by sentiment-v1" in result.output
    rows = rows_of(output)
    assert [bool(row["predicted_label"]) for row in rows] == [True, False, True, True]
    assert rows[0]["predicted_label"] == "positive"
