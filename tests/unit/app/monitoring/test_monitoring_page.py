"""The page, the dashboard and the alerts have the names, types and labels of the code."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from app.contract import PREDICT_QUEUES
from app.models.catalog import Catalog
from app.monitoring.drift.metrics import DriftCollector
from app.monitoring.feedback.metrics import FeedbackCollector
from app.monitoring.fleet_metrics import FleetCollector
from app.monitoring.metrics import Metrics
from app.monitoring.redis_metrics import RedisCollector
from app.settings import Redis, Settings
from tests.models import build_model
from tests.unit.app.monitoring.test_fleet_metrics import SEEN

ROOT = Path(__file__).parents[4]
DEPLOY = ROOT / "deploy"
PROMTOOL = shutil.which("promtool")
ROW = re.compile(r"^\| `(mlserve_\w+)` \| (\w+) \| ([^|]*) \|", re.MULTILINE)
# What Prometheus adds, and what makes a histogram's series.
OUTSIDE = {"job", "instance", "le"}
SERIES = {"histogram": ("_bucket", "_sum", "_count")}
# A selector's matchers, and the lists of labels that follow `by`, `on` and the like.
MATCHERS = re.compile(r"(mlserve_\w+)(?:\{([^}]*)\})?")
GROUPED = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


class Declared(NamedTuple):
    """What a metric is."""

    type: str
    labels: frozenset


@pytest.fixture
def declared(redis_server, redis_client, tmp_path):
    """Every metric by its name, as a process declares or a collector makes it."""
    build_model(tmp_path, "tiny", "v1")
    build_model(tmp_path, "tiny", "v2").joinpath("model.yaml").write_text("no")
    found = {}
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name + ("_total" if metric._type == "counter" else "")
            found[name] = Declared(metric._type, frozenset(metric._labelnames))
    settings, catalog = Settings(redis=Redis(url=redis_server.url)), Catalog(tmp_path, "tiny")
    collectors = (
        FleetCollector(catalog, lambda: SEEN),
        RedisCollector(lambda timeout_s: redis_client),
        DriftCollector(settings, catalog, lambda: SEEN),
        FeedbackCollector(settings, catalog),
    )
    for collector in collectors:
        found |= dict(map(described, collector.collect()))
    return found


def described(family):
    """The name and the declaration of one that a collector makes, with or without samples."""
    # The labels of an info are those that its samples have.
    if family.type == "info":
        sample = family.samples[0]
        return sample.name, Declared(family.type, frozenset(sample.labels))
    name = family.name + ("_total" if family.type == "counter" else "")
    return name, Declared(family.type, frozenset(family._labelnames))


def expressions():
    """Every PromQL expression of the dashboard and the alerts, by where it stands."""
    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]
    page = (ROOT / "docs/monitoring.md").read_text()
    for code in re.findall(r"`([^`\n]*mlserve_[^`\n]*\([^`\n]*)`", page):
        yield "page", code


def family_of(series, declared):
    """The metric that a series belongs to; None where there is none."""
    for name, metric in declared.items():
        if series in {name + suffix for suffix in SERIES.get(metric.type, ("",))}:
            return metric
    return None


def test_page_has_every_metric_with_its_type_and_labels(declared):
    rows = {
        name: Declared(kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall((ROOT / "docs/monitoring.md").read_text())
    }

    assert rows == declared


def test_names_have_units_and_counters_end_in_total(declared):
    units = ("_seconds", "_bytes", "_ratio", "_texts", "_chunks", "_total", "_info")
    plain = {
        *("mlserve_workers", "mlserve_redis_up", "mlserve_model_hosts", "mlserve_jobs_open"),
        *("mlserve_model_generation", "mlserve_model_generation_reached"),
        *("mlserve_job_texts_pending", "mlserve_webhooks_waiting"),
        *("mlserve_drift_level", "mlserve_drift_score", "mlserve_feedback_accuracy_degraded"),
    }

    assert {name for name in declared if not name.endswith(units)} == plain
    for name, metric in declared.items():
        assert name.endswith("_total") == (metric.type == "counter")


def test_expressions_use_only_metrics_and_labels_that_exist(declared):
    checked = 0
    for where, expression in expressions():
        labels = set()
        for series, matchers in MATCHERS.findall(expression):
            metric = family_of(series, declared)
            assert metric is not None, f"{where}: {series}"
            named = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert named <= metric.labels | OUTSIDE, f"{where}: {named - metric.labels}"
            labels |= metric.labels
            checked += 1
        for listed in GROUPED.findall(expression):
            grouped = set(re.findall(r"\w+", listed))
            assert grouped <= labels | OUTSIDE, f"{where}: {grouped - labels}"
    assert checked > 60


def test_dashboard_shows_every_metric(declared):
    shown = " ".join(expr for where, expr in expressions() if where.startswith("panel"))

    assert [name for name in declared if not re.search(rf"\b{name}", shown)] == []


def test_alerts_say_what_happened_and_how_bad_it_is():
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"][0]["rules"]

    assert len({rule["alert"] for rule in rules}) == len(rules) == 16
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"].endswith(".")
    assert all(re.fullmatch("predict[.].*", queue) for queue in PREDICT_QUEUES.values())


@pytest.mark.skipif(PROMTOOL is None, reason="Prometheus is not installed")
def test_promtool_accepts_configuration_and_alerts():
    for check in (("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")):
        done = subprocess.run(
            [PROMTOOL, *check], cwd=DEPLOY / "prometheus", capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
