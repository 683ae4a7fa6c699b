"""`mlserve job status|cancel|list` against a real server: what they print of jobs."""

import json
import re


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
