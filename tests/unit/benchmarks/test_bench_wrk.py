"""What wrk prints becomes rates, milliseconds and counts of failures."""

import json

import pytest

from benchmarks.stages import between
from benchmarks.stages import parse as parse_stages
from benchmarks.wrk import Load, WrkFailed, failures, parse

RESULT = {
    "requests": 1000,
    "duration_us": 2_000_000,
    "bytes": 5000,
    "texts_used": 1001,
    "errors": {"connect": 1, "read": 2, "write": 0, "status": 100, "timeout": 4},
    "p50_us": 1500,
    "p90_us": 2000,
    "p99_us": 9000,
    "max_us": 20_000,
    "mean_us": 1700.5,
}


def output(*results: object) -> str:
    lines = ["Running 2s test", *(f"RESULT {json.dumps(result)}" for result in results)]
    return "\n".join([*lines, "Transfer/sec: 1KB"])


def test_rates_count_only_good_answers_where_they_say_so() -> None:
    result = parse(output(RESULT))

    assert (result["requests_per_s"], result["good_per_s"]) == (500, 450)


def test_latencies_become_milliseconds() -> None:
    result = parse(output(RESULT))

    assert (result["p50_ms"], result["p99_ms"], result["max_ms"]) == (1.5, 9, 20)
    assert not [key for key in result if key.endswith("_us") and key != "duration_us"]


def test_failures_are_errors_of_every_kind() -> None:
    assert failures(parse(output(RESULT))) == 107


@pytest.mark.parametrize("printed", [output(), output(RESULT, RESULT), ""])
def test_output_without_one_result_is_refused(printed: str) -> None:
    with pytest.raises(WrkFailed, match=r"unable to connect|no output|RESULT|Running"):
        parse(printed, "unable to connect" if printed else "")


def test_options_that_are_not_set_are_not_given_to_the_script(tmp_path) -> None:
    load = Load("/predict", 4, 2, first=7, rate=10.5)

    assert load.script_options(tmp_path) == [
        f"texts={tmp_path}",
        "first=7",
        "batch=0",
        "rate=10.5",
        "deadline_ms=5000",
    ]


def exposition(queue_s: float, number: int) -> str:
    name = "mlserve_request_stage_duration_seconds"
    return (
        f"# TYPE {name} histogram\n"
        f'{name}_bucket{{stage="queue",le="+Inf"}} {number}\n'
        f'{name}_sum{{stage="queue"}} {queue_s}\n{name}_count{{stage="queue"}} {number}\n'
        "# TYPE other_total counter\nother_total 5\n"
    )


def test_stage_means_are_of_what_was_counted_in_between() -> None:
    before, after = parse_stages(exposition(1.0, 100)), parse_stages(exposition(1.5, 200))

    assert between(before, after) == {"queue": pytest.approx(5.0)}


def test_stage_without_new_requests_is_left_out() -> None:
    stages = parse_stages(exposition(1.0, 100))

    assert between(stages, stages) == {}
