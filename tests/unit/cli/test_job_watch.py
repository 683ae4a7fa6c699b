"""`mlserve job watch` against a real server, also one that restarts or stays away."""

import io
import json
import os
import signal

import pytest
from rich.console import Console

from cli import progress


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
