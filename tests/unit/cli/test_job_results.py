"""`mlserve job results|errors` against a real server, also when the connection breaks."""

import json

import pytest


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
