"""Harness. What mlserve's own metrics say about the stages of a request during a run."""

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.contenders import HOST, Place

STAGES = "mlserve_request_stage_duration_seconds"

# By stage: seconds and requests so far.
Stages = dict[str, tuple[float, float]]


def read(place: Place) -> Stages:
    """The stages so far; empty where mlserve counts none or cannot be asked."""
    try:
        answer = urllib3.request("GET", f"http://{HOST}:{place.port + 1}/metrics", timeout=5.0)
    except urllib3.exceptions.HTTPError:
        return {}
    return parse(answer.data.decode()) if answer.status == 200 else {}


def parse(exposition: str) -> Stages:
    """Sums and counts of the stage histogram."""
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            target = {f"{STAGES}_sum": sums, f"{STAGES}_count": counts}.get(sample.name)
            if target is not None:
                stage = sample.labels.get("stage", "")
                target[stage] = target.get(stage, 0.0) + sample.value
    return {stage: (seconds, counts.get(stage, 0.0)) for stage, seconds in sums.items()}


def between(before: Stages, after: Stages) -> dict[str, float]:
    """Mean milliseconds in each stage of what was counted between two readings."""
    found = {}
    for stage, (seconds, number) in after.items():
        earlier_s, earlier = before.get(stage, (0.0, 0.0))
        if number > earlier:
            found[stage] = (seconds - earlier_s) * 1000 / (number - earlier)
    return found
