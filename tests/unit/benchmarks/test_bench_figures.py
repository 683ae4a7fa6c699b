"""Medians over rounds, usage per request, targets, and the page that shows them."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compare import rows
from benchmarks.floors import added
from benchmarks.medians import combine, over_rounds
from benchmarks.mixed import _percentiles
from benchmarks.open_loop import Answer
from benchmarks.report import figure, markdown
from benchmarks.scenarios import best_rate, judge_overload
from benchmarks.swaps import Verdict
from benchmarks.targets import TARGETS, judge
from benchmarks.usage import Process, Usage, per_request, role_of, spent_s


def run(rate: float, p50_ms: float = 1.0, **more: Any) -> dict[str, Any]:
    processes = {"api": {"processes": 1, "cpu_us": 200.0, "rss_bytes": 1 << 20}}
    errors = {"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}
    common = {"errors": errors, "processes": processes, "wrk_cpu_s": 1.0, "requests": 100}
    return {"good_per_s": rate, "p50_ms": p50_ms, "p99_ms": p50_ms * 2.5, **common, **more}


def test_median_of_each_figure_over_the_rounds() -> None:
    rounds = [{"flask": {"single@1": run(rate, p50)}} for rate, p50 in ((5, 9), (7, 1), (6, 2))]

    found = over_rounds(rounds)["flask"]["single@1"]

    assert (found["good_per_s"], found["p50_ms"]) == (6, 2)


def test_errors_and_wrong_answers_are_summed_not_medianed() -> None:
    values = [
        {"errors": {"status": status}, "wrong": wrong, "checked": 5}
        for status, wrong in ((0, []), (9, ["label"]), (0, []))
    ]

    assert combine(values) == {"errors": {"status": 9}, "wrong": ["label"], "checked": 15}


def test_contender_that_failed_in_one_round_keeps_the_others() -> None:
    found = over_rounds([{"a": {"x": {"v": 1}}, "b": {}}, {"b": {"x": {"v": 3}}}])

    assert found == {"a": {"x": {"v": 1}}, "b": {"x": {"v": 3}}}


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=9))
def test_median_lies_within_its_values(values: list[float]) -> None:
    assert min(values) <= combine(values) <= max(values)


def test_usage_is_divided_by_requests_and_added_by_role() -> None:
    before = Usage({(1, 0.0): Process("api", 1.0, 100), (2, 0.0): Process("worker", 5.0, 100)})
    after = Usage(
        {
            (1, 0.0): Process("api", 1.5, 200),
            (2, 9.0): Process("worker", 0.25, 300),
            (3, 0.0): Process("worker", 0.25, 300),
        }
    )

    found = per_request(before, after, 1000)

    assert found == {
        "api": {"processes": 1, "cpu_us": 500, "rss_bytes": 200},
        "worker": {"processes": 2, "cpu_us": 500, "rss_bytes": 600},
    }
    assert spent_s(before, after) == 1.0


def test_role_comes_from_the_command_line_or_the_parent() -> None:
    patterns = {"granian": "api"}

    assert role_of("python -m granian app", "supervisor", patterns) == "api"
    assert role_of("python -c spawn_main()", "api", patterns) == "api"


def overloaded(**statuses: dict[str, float]) -> dict[str, Any]:
    errors = {"connect": 1, "read": 2, "write": 0, "status": 0, "timeout": 0}
    named = {status.removeprefix("s"): found for status, found in statuses.items()}
    return {"statuses": named, "duration_us": 2e6, "never_answered": 3, "errors": errors}


def test_overload_counts_late_lost_and_odd_answers_as_failed() -> None:
    good = {"count": 1000, "in_time": 990, "p99_ms": 4000}
    refused = {"count": 500, "in_time": 500, "p99_ms": 12}
    odd = {"count": 5, "in_time": 5, "p99_ms": 1}

    found = judge_overload(overloaded(s200=good, s503=refused, s504=odd), peak=500.0)

    assert found["in_time_to_peak"] == pytest.approx(0.99)
    assert found["refused_p99_ms"] == 12
    assert found["failed"] == 10 + 5 + 3 + 1 + 2


def test_overload_without_a_refusal_has_no_time_of_refusal() -> None:
    good = {"count": 10, "in_time": 10, "p99_ms": 4}

    assert "refused_p99_ms" not in judge_overload(overloaded(s200=good), peak=5.0)


def test_best_rate_looks_at_single_texts_only() -> None:
    results = {"single@1": run(10), "single@64": run(30), "cache-hits@64": run(99), "check": {}}

    assert (best_rate(results), best_rate({})) == (30, 0)


def medians(rate: float, p50_ms: float) -> dict[str, Any]:
    def single(rate: float, p50_ms: float) -> dict[str, Any]:
        return {f"single@{number}": run(rate, p50_ms) for number in (1, 16, 64)}

    return {
        "mlserve": single(rate, p50_ms),
        "naive-celery": single(100, 50),
        "flask": single(1000, 1.0),
        "litserve": single(800, 4.0),
        "mosec": single(9000, 2.0),
    }


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {row["what"]: row["verdict"] for row in judge(found)}


@pytest.mark.parametrize(
    ("rate", "verdict"), [(1600, "aim"), (1599, "met"), (900, "met"), (899, "missed")]
)
def test_floor_is_judged_by_its_two_bounds(rate: float, verdict: str) -> None:
    found = verdicts(medians(rate, 1.0))

    assert found["requests/s at 64 connections, against naive Celery"] == verdict


@pytest.mark.parametrize(
    ("p50_ms", "verdict"), [(1.5, "aim"), (1.6, "met"), (2.0, "met"), (2.1, "missed")]
)
def test_ceiling_is_judged_by_its_two_bounds(p50_ms: float, verdict: str) -> None:
    found = verdicts(medians(1000, p50_ms))

    assert found["p50 at 1 connection, against Flask in process"] == verdict


def test_best_of_the_servers_in_process_is_what_counts() -> None:
    rows = {row["what"]: row for row in judge(medians(2000, 1.0))}

    row = rows["requests/s at 64 connections, against the best of Flask, FastAPI, LitServe"]
    assert (row["measured"], row["verdict"]) == (2.0, "met")


def test_target_with_an_aim_only_is_never_missed() -> None:
    found = verdicts(medians(1000, 3.0))

    assert found["p50 at 16 connections, against mosec"] == "below aim"
    assert found["CPU a request at 64 connections, API"] == "aim"


def test_what_was_not_measured_has_no_verdict() -> None:
    assert set(verdicts({}).values()) == {"-"}
    assert len(judge({})) == len(TARGETS)


def report(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "started_at": "2026-01-01T00:00:00Z",
        "commit": "abc",
        "machine": {
            "cpu": "Some CPU",
            "cores": 2,
            "memory_bytes": 1 << 34,
            "kernel": "6",
            "wrk": "wrk 4",
            "load_1m": 0.1,
        },
        "plan": {
            "ref": "sentiment-v1",
            "texts": 23_000,
            "source": "x",
            "rounds": 3,
            "seconds": 8,
            "settings": {},
        },
        "rounds_done": 3,
        "targets": judge(found),
        "medians": found,
        "failed": {"litserve": ["did not start"]},
        "contenders": {"mlserve": {"what": "this", "versions": ["celery 5"]}},
    }


def test_page_flags_failures_and_names_reasons() -> None:
    found = medians(1000, 1.0)
    found["flask"]["single@64"]["errors"]["timeout"] = 7

    page = markdown(report(found))

    assert "| flask | 1,000 | 1,000 | 1,000 (7 failed) |" in page
    assert "did not start" in page


def test_page_can_be_written_when_nothing_was_measured() -> None:
    page = markdown(report({}))

    assert "did not start" in page
    assert "| p99 / p50 at 64 connections | - |" in page


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (0.01234, "0.0123"), (12.0, "12"), (12345.6, "12,346")]
)
def test_figures_are_short(value: float | None, shown: str) -> None:
    assert figure(value) == shown


def test_comparison_has_what_both_runs_measured() -> None:
    before = {"medians": {"mlserve": {"single@1": {"good_per_s": 100.0}}}}
    after = {"medians": {"mlserve": {"single@1": run(250.0), "single@64": run(9.0)}}}

    assert list(rows(before, after)) == [("mlserve single@1 good_per_s", "100", "250", "2.50")]


def test_loops_of_several_processes_add_up() -> None:
    assert added([{"1": 10.0, "32": 50.0}, {"1": 11.0, "32": 51.0}]) == {"1": 21.0, "32": 101.0}


def test_percentiles_of_all_benchmarks_are_those_of_the_command() -> None:
    took_s = [number / 1000 for number in range(1, 11)]
    answers = [Answer(number, 200, b"", 0.0, took) for number, took in enumerate(took_s)]

    # The smallest value that 99 % do not exceed: of ten, the largest.
    assert Verdict(answers, Counter(), Counter(), []).p99_ms == pytest.approx(10)
    assert _percentiles(took_s) == pytest.approx({"p50_ms": 5, "p99_ms": 10})
