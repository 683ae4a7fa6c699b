"""`mlserve drift` against a real server that gives one answer."""

import json

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from app.monitoring.drift.reports import DriftReport
from app.monitoring.drift.verdict import judge
from app.monitoring.drift.windows import Window
from app.monitoring.feedback.quality import Figure, Performance
from app.monitoring.feedback.quality import Window as QualityWindow
from app.settings import Drift
from cli.main import main
from tests.local_server import Handler, LocalServer
from tests.models import LABELS
from tests.references import make_reference

SAME = {
    "labels": [400, 200, 400],
    "confidence": [0, 200, 300, 500],
    "unknown_tokens": [700, 200, 100, 0],
}
WARN = SAME | {"labels": [260, 320, 420]}
ALARM = SAME | {"unknown_tokens": [100, 200, 100, 600]}
FEW = {"labels": [4, 2, 4]}


FIGURE = Figure("accuracy", 0.5, 0.8, -0.4, -0.2, "degraded")
BY_FEEDBACK = Performance(
    "tiny-v1", "degraded", 1000, [QualityWindow(86_400, 300, "degraded", [FIGURE])]
)


def report(counts, performance=None):
    window, settings = Window(), Drift()
    window.add(counts)
    verdict, features = judge(make_reference(), LABELS, window, settings)
    told = DriftReport(
        model_version="tiny-v1",
        verdict=verdict if counts else "no_reference",
        window_seconds=3600,
        min_samples=settings.min_samples,
        significance=settings.significance,
        reference_texts=1000,
        live_texts=sum(counts.get("labels", ())),
        features=features,
        performance=performance,
    )
    return msgspec.json.encode(told)


class Service(LocalServer):
    """Answers every GET with `answer`, and remembers the path."""

    answer, paths = b"", ()


class DriftHandler(Handler):
    def do_GET(self):
        self.server.paths += (self.path,)
        self.answer(200, self.server.answer)


@pytest.fixture
def service():
    with Service(DriftHandler) as server:
        yield server


@pytest.fixture
def drift(service, tmp_path):
    """Runs the verb where the service has counted this."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"server": {"port": service.port}}))

    def run(counts, *args, performance=None):
        service.answer = report(counts, performance)
        return CliRunner().invoke(main, ["--config", str(config), "drift", *args])

    return run


@pytest.mark.parametrize(
    ("counts", "verdict", "exit_code"),
    [
        (SAME, "ok", 0),
        (WARN, "warn", 3),
        (ALARM, "alarm", 4),
        (FEW, "insufficient_data", 0),
        ({}, "no_reference", 0),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["for people", "as json"])
def test_exit_code_follows_the_verdict(drift, counts, verdict, exit_code, form):
    result = drift(counts, *form)

    assert result.exit_code == exit_code
    assert verdict in result.output


def test_scores_stand_beside_their_thresholds_and_histograms_beside_each_other(drift):
    lines = drift(ALARM).output.splitlines()

    assert lines[0] == "tiny-v1: alarm, far from the reference"
    assert lines[1] == "1000 texts in the last 3600 s"
    (unknown,) = [line.split() for line in lines if line.startswith("unknown_tokens  ")]
    assert unknown[:3] == ["unknown_tokens", "alarm", "psi"]
    assert unknown[4:6] == ["0.1", "0.25"]
    at = lines.index("unknown_tokens, from 0 to 0.75 and more")
    assert lines[at + 1 : at + 3] == ["  reference  █▃▂", "  live       ▂▃▂▇"]
    assert any(line.split() == ["negative", "40.0%", "40.0%"] for line in lines)


@pytest.mark.parametrize(("counts", "exit_code"), [(SAME, 0), (ALARM, 4), ({}, 0)])
def test_what_feedback_says_is_told_apart_from_the_verdict_on_traffic(drift, counts, exit_code):
    result = drift(counts, performance=BY_FEEDBACK)

    assert result.exit_code == exit_code
    lines = result.output.splitlines()
    at = lines.index("by feedback")
    assert lines[at + 2].split() == [
        *("24", "h", "300", "accuracy", "0.5000", "0.8000"),
        *("-0.4000", "to", "-0.2000", "degraded"),
    ]
    assert lines[at + 3] == "tiny-v1: degraded"
    assert "by feedback" not in drift(counts).output


def test_json_is_the_answer_of_the_service(drift, service):
    result = drift(WARN, "--json")

    assert json.loads(result.output) == json.loads(service.answer)


def test_model_is_the_default_one_unless_named(drift, service):
    drift(SAME)
    drift(SAME, "v2")
    drift(SAME, "../x")

    assert service.paths == (
        "/models/sentiment/drift",
        "/models/v2/drift",
        "/models/..%2Fx/drift",
    )
