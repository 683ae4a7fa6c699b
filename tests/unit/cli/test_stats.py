"""`mlserve stats`: what is on the picture, and how it is shown again and again."""

import io
import json
import os
import signal

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli.main import main
from cli.picture import NO_RATE, Line, Look, Pace, picture, table
from cli.stats import drawing
from tests.unit.cli.stats_server import JOB, StatsServer, answer

URL = "http://127.0.0.1:8000"


def shown(found, before=None, seconds=2.0):
    look = Look(found, 100.0 + seconds)
    return [line.text for line in picture(look, before and Look(before, 100.0), URL)]


def line_of(lines, start):
    (line,) = [line for line in lines if line.startswith(start)]
    return line


def later(requests=110, chunks=104):
    found = answer()
    found["counts"]["requests"] += requests - 100
    found["counts"]["latency"][0]["requests"] += 5
    found["workers"][0]["chunks"] = chunks
    return found


def test_busy_service_with_jobs_fits_a_small_terminal():
    drift = {"sentiment-v1": "insufficient_data", "sentiment-v2": "alarm", "sentiment-v3": "ok"}
    troubled = answer(
        drift=drift, jobs=[JOB] * 2, health={"status": "degraded", "reasons": ["one", "two"]}
    )
    rare = [{"route": f"/{n}", "requests": n, "p50_ms": 1, "p95_ms": 2, "p99_ms": 3}
            for n in range(20)]  # fmt: skip
    troubled["counts"]["latency"] += rare
    troubled["workers"] *= 2

    lines = shown(troubled, answer())

    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    routes = [line.split()[0] for line in lines if line.startswith("/")]
    assert routes == ["/predict", "/19", "/18", "/17"]


def test_parts_are_set_apart_where_there_is_room():
    assert "" in shown(answer())


def test_picture_begins_with_health_and_its_reasons():
    down = answer(health={"status": "down", "reasons": ["no worker is running"]})

    head, reason, *_ = shown(down)

    assert head.startswith(f"DOWN  {URL}, counting for 1 h 2 min")
    assert reason == "  no worker is running"


def test_figures_are_those_of_the_answer():
    lines = shown(answer())

    assert line_of(lines, "requests") == "requests  100: 97 x 200, 3 x 503"
    assert line_of(lines, "errors") == "errors    3 overloaded"
    assert line_of(lines, "cache") == "cache     41.0% of 100 texts remembered"
    assert line_of(lines, "queues") == "queues    predict.cpu 12 for 1.2 s"
    assert line_of(lines, "/predict").split() == ["/predict", "90", "4.2", "40.0", "48.0"]
    assert line_of(lines, "sentiment-v2").split() == ["sentiment-v2", "all", "2", "9", "9",
                                                      "positive"]  # fmt: skip
    assert line_of(lines, "cpu1@vm").split()[1:3] == ["cpu", "jobs+predict"]
    assert line_of(lines, "sentiment-v3") == "sentiment-v3 failed on all 2: torch is missing"


def test_rates_are_those_since_the_last_look():
    lines = shown(later(), answer())

    assert line_of(lines, "requests").startswith("requests  110, 5.0/s")
    assert line_of(lines, "ROUTE").split()[2:4] == ["PER", "S"]
    assert line_of(lines, "/predict").split()[2] == "2.5"
    assert line_of(lines, "cpu1@vm").split()[4] == "2.0"


def test_processes_that_began_anew_have_no_rate_rather_than_a_wrong_one():
    lines = shown(later(requests=3, chunks=1), answer())

    assert "/s" not in line_of(lines, "requests")
    assert line_of(lines, "cpu1@vm").split()[4] == NO_RATE


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.floats(0.1, 1e4))
def test_rate_is_never_negative(was, now, seconds):
    pace = Pace(Look({"n": now}, seconds), Look({"n": was}, 0.0))

    rate = pace(now, lambda found: found["n"])

    assert rate == NO_RATE if now < was else float(rate) >= 0


def test_jobs_show_how_far_they_are():
    line = line_of(shown(answer(jobs=[JOB])), JOB["id"])

    assert line.split()[1:] == ["in_progress", "42%", "200000", "1", "min", "5", "s"]


@pytest.mark.parametrize("part", ["drift", "JOB"])
def test_part_that_the_answer_has_not_is_not_mentioned(part):
    assert not any(line.startswith(part) for line in shown(answer()))


@pytest.mark.parametrize(
    ("verdicts", "told", "style"),
    [
        (["ok", "insufficient_data", "alarm"], "a-v2 alarm, a-v0 ok, no verdict on 1", "bold red"),
        (["warn", "ok"], "a-v0 warn, a-v1 ok", "yellow"),
        (["no_reference"] * 2, "no verdict on 2", ""),
    ],
)
def test_drift_is_told_the_worst_first(verdicts, told, style):
    drift = {f"a-v{number}": verdict for number, verdict in enumerate(verdicts)}
    lines = picture(Look(answer(drift=drift), 0.0), None, URL)

    assert Line(f"drift     {told}", style) in lines


def test_service_that_counts_nothing_or_has_no_redis_is_shown_all_the_same():
    lines = shown(answer(counts=None, redis_reachable=False, workers=[], jobs=None,
                         queue_age_s=None, drift=None))  # fmt: skip

    assert "monitoring is disabled: nothing is counted" in lines
    assert line_of(lines, "queues") == "queues    unknown: Redis cannot be reached"


def test_table_without_rows_has_no_head():
    assert table(("a", "b"), []) == []


@pytest.fixture
def mlserve(tmp_path):
    """Runs `stats` against a server."""

    def run(server, *args):
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump({"server": {"port": server.port}}))
        return CliRunner().invoke(main, ["--config", str(config), "stats", *args])

    return run


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_one_look_prints_the_picture(mlserve):
    with StatsServer(answer()) as server:
        done = mlserve(server)

    assert done.exit_code == 0
    assert done.output.startswith(f"OK  http://127.0.0.1:{server.port}")


def test_one_look_as_json_is_the_answer(mlserve):
    with StatsServer(answer()) as server:
        assert json.loads(mlserve(server, "--json").output) == answer()


def test_watch_prints_a_block_each_time_where_there_is_no_terminal_until_ctrl_c(mlserve):
    with StatsServer(answer(), later(), enough=interrupt) as server:
        done = mlserve(server, "--watch", "--every", "0.1")

    blocks = done.output.split("\n\n\n") if "\n\n\n" in done.output else [done.output]
    assert done.exit_code == 0
    assert done.output.count("OK  http") >= 2
    assert "/s: " in done.output
    assert "Aborted" not in "".join(blocks)


def test_watch_outlives_a_service_that_restarts(mlserve):
    with StatsServer(answer(), None, None, later(), enough=interrupt) as server:
        done = mlserve(server, "--watch", "--every", "0.1")

    before, away, again = done.output.partition("as it was")
    assert done.exit_code == 0
    assert "cannot reach the service" in before
    assert away
    assert again.count("OK  http") >= 1


def test_watch_as_json_is_a_document_a_line(mlserve):
    with StatsServer(answer(), None, later(), enough=interrupt) as server:
        done = mlserve(server, "--watch", "--every", "0.1", "--json")

    first, away, again, *_ = [json.loads(line) for line in done.output.splitlines()]
    assert (first, again) == (answer(), later())
    assert "cannot reach" in away["error"]


def test_terminal_is_drawn_over_and_left_as_it_was():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=30, height=3, color_system="standard")
    lines = [Line("x" * 99, "red"), *[Line(f"line {n}") for n in range(9)]]

    with drawing(console) as show:
        show(lines)
        show(lines)

    drawn = stream.getvalue()
    assert drawn.startswith("\x1b[?1049h")
    assert "\x1b[?1049l" in drawn
    assert "\x1b[2J" not in drawn.partition("line 0")[2]
    assert "\x1b[31m" in drawn
    assert "x" * 31 not in drawn
    assert "line 5" not in drawn


def test_no_colour_where_no_color_asks_for_none(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()

    with drawing(Console(file=stream, force_terminal=True, color_system="standard")) as show:
        show([Line("bad", "red")])

    assert "bad" in stream.getvalue()
    assert "\x1b[31m" not in stream.getvalue()
