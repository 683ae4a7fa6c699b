"""Metrics of several processes are one exposition."""

import os
import subprocess
import sys

from prometheus_client import generate_latest

from app.monitoring.metrics import LATENCY_BUCKETS_S, Metrics
from app.settings import Settings

COUNT = """
import os, sys
from app.monitoring.metrics import Metrics
from app.monitoring.stats import counts
metrics = Metrics()
for _ in range(int(sys.argv[1])):
    metrics.requests.labels("POST", "/predict", "200").inc()
    metrics.request_seconds.labels("POST", "/predict").observe(0.004)
    metrics.count_texts("sentiment-v2", "positive")
found = counts(metrics.readable())
print(found.requests, found.latency[0].requests, found.predictions[0].texts, found.uptime_s >= 0)
"""


def test_counts_of_all_processes_are_summed_also_of_ended_ones(tmp_path):
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    argv = [sys.executable, "-W", "error", "-c", COUNT]

    outputs = [
        subprocess.run([*argv, count], env=env, check=True, capture_output=True, text=True).stdout
        for count in ("3", "4")
    ]

    assert outputs == ["3 3 3 True\n", "7 7 7 True\n"]


def test_names_follow_the_conventions_of_prometheus():
    metrics = Metrics()
    metrics.count_texts("sentiment-v2", "positive")
    metrics.requests.labels("GET", "/livez", "200").inc()

    names = {line.split()[2] for line in generate_latest(metrics.registry).decode().splitlines()
             if line.startswith("# TYPE")}  # fmt: skip

    assert all(name.startswith("mlserve_") for name in names)
    assert not any(name.endswith("_created") for name in names)
    assert {name.rpartition("_")[2] for name in names} <= {"total", "seconds", "ratio", "texts"}


def test_buckets_reach_beyond_the_default_timeout():
    assert LATENCY_BUCKETS_S[-1] > Settings().request_timeout_ms / 1000
    assert list(LATENCY_BUCKETS_S) == sorted(set(LATENCY_BUCKETS_S))
