"""GET /models/<ref>/drift, and drift in /metrics, over windows in a real Redis."""

import socket
import time

import pytest

from app.contract import HeldModel, HostState
from app.fleet import READY, Fleet
from app.models import reference
from app.models.catalog import Catalog, read_manifest
from app.monitoring.drift.metrics import LOOK_EVERY_S, REDIS_TIMEOUT_S, DriftCollector
from app.monitoring.drift.windows import Windows
from app.settings import Drift, Redis, Settings
from tests.hosts import Hosts
from tests.models import activate, build_model
from tests.references import give_reference
from tests.unit.app.api.test_metrics_routes import samples

SAME = {"labels": [400, 200, 400], "confidence": [0, 200, 300, 500]}
OTHER = SAME | {"labels": [50, 150, 800]}
HOST = HostState(
    hostname="w1@test",
    pid=1,
    device="cpu",
    queues=[],
    models=[HeldModel("sentiment-v1", "0", READY)],
    started_at=0.0,
    beat_at=0.0,
    memory_bytes=0,
    chunks=0,
)


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """sentiment-v1 has a reference, sentiment-v2 has none."""
    root = tmp_path_factory.mktemp("models")
    give_reference(build_model(root, "sentiment", "v1"))
    build_model(root, "sentiment", "v2")
    activate(root, sentiment="v1")
    return root


@pytest.fixture
def drifting(connect, redis_client, versions, monkeypatch):
    """A client of an app, and a function that counts traffic of sentiment-v1."""
    # A machine that runs tests may take longer than Prometheus should wait.
    monkeypatch.setattr("app.monitoring.drift.metrics.REDIS_TIMEOUT_S", 5.0)
    Hosts(redis_client, versions).hold("w1@test", "sentiment-v1", "sentiment-v2")
    folder = versions / "sentiment" / "v1"
    key = reference.read(folder, read_manifest(folder)).key
    client = connect(models_dir=str(versions))

    def count(counts):
        windows = Windows(redis_client, Drift().window_seconds)
        windows.add(redis_client.time()[0], {key: counts})

    return client, count


def test_drift_judges_the_traffic_that_was_counted(drifting):
    client, count = drifting
    count(SAME)
    usual = client.get("/models/sentiment-v1/drift").json
    count(OTHER)
    count(OTHER)

    drifted = client.get("/models/sentiment/drift").json

    assert (usual["verdict"], usual["live_texts"]) == ("ok", 1000)
    assert usual["performance"] is None
    assert (drifted["model_version"], drifted["verdict"]) == ("sentiment-v1", "alarm")
    assert (drifted["live_texts"], drifted["reference_texts"]) == (3000, 1000)
    labels, confidence = drifted["features"]
    assert (labels["feature"], labels["verdict"], labels["test"]) == (
        "labels",
        "alarm",
        "chi_square",
    )
    assert labels["p_value"] < 0.001
    assert [score["method"] for score in labels["scores"]] == ["psi", "jensen_shannon"]
    assert labels["scores"][0]["value"] > labels["scores"][0]["alarm"] == 0.25
    assert labels["bins"][0] == {"name": "negative", "reference": 0.4, "live": 0.166667}
    assert (confidence["verdict"], confidence["test"]) == ("ok", "ks")
    assert [score["method"] for score in confidence["scores"]] == ["psi", "jensen_shannon", "ks"]


def test_drift_of_little_traffic_is_insufficient_data(drifting):
    client, count = drifting
    nothing = client.get("/models/v1/drift").json
    count({"labels": [10, 10, 10]})

    few = client.get("/models/v1/drift").json

    assert (nothing["verdict"], nothing["features"]) == ("insufficient_data", [])
    assert (few["verdict"], few["live_texts"], few["min_samples"]) == ("insufficient_data", 30, 200)
    assert few["features"][0]["scores"] == []


def test_version_without_reference_is_no_error(drifting):
    client, _ = drifting

    answer = client.get("/models/v2/drift")

    assert (answer.status_code, answer.json["verdict"]) == (200, "no_reference")
    assert answer.json["features"] == []


def test_drift_of_an_unknown_version_is_404(drifting):
    client, _ = drifting

    answer = client.get("/models/v7/drift")

    assert (answer.status_code, answer.json["code"]) == (404, "model_not_found")


def test_drift_without_redis_is_503(make_client, versions):
    answer = make_client(models_dir=str(versions)).get("/models/v1/drift")

    assert (answer.status_code, answer.json["code"]) == (503, "broker_unavailable")


def test_metrics_have_scores_and_the_verdict_of_what_workers_hold(drifting, redis_client):
    client, count = drifting
    count(OTHER)
    Windows(redis_client, 60).drop({"sentiment-v1": 7})

    found = samples(client)

    version = (("model", "sentiment"), ("version", "v1"))
    scores = {key[1:]: value for key, value in found.items() if key[0] == "mlserve_drift_score"}
    assert len(scores) == 5
    psi = scores[(("feature", "labels"), ("method", "psi"), *version)]
    assert psi > 0.25
    assert found["mlserve_drift_level", *version] == 2
    assert found["mlserve_drift_window_texts", *version] == 1000
    assert found["mlserve_drift_dropped_texts_total", *version] == 7
    assert ("mlserve_drift_level", ("model", "sentiment"), ("version", "v2")) not in found


def test_stats_have_the_verdict_on_each_version_that_workers_hold(drifting):
    client, count = drifting
    count(OTHER)

    assert client.get("/stats").json["drift"] == {
        "sentiment-v1": "alarm",
        "sentiment-v2": "no_reference",
    }


def test_metrics_have_no_score_of_too_few_texts(drifting):
    client, count = drifting
    count({"labels": [10, 10, 10]})

    found = {key[0] for key in samples(client)}

    assert "mlserve_drift_window_texts" in found
    assert not {"mlserve_drift_score", "mlserve_drift_level"} & found


def test_metrics_look_at_redis_every_ten_seconds(drifting, redis_client):
    client, count = drifting
    now = [0.0]
    has = client.application.extensions["mlserve"]
    predictions = has.predictions
    collector = DriftCollector(has.settings, predictions.catalog, predictions.fleet, lambda: now[0])

    def texts():
        return sum(
            sample.value
            for family in collector.collect()
            for sample in family.samples
            if sample.name == "mlserve_drift_window_texts"
        )

    before = texts()
    count(SAME)
    unseen = texts()
    now[0] = LOOK_EVERY_S

    assert (before, unseen, texts()) == (0, 0, 1000)


def test_metrics_are_there_without_redis(make_client):
    answer = make_client().get("/metrics")

    assert answer.status_code == 200
    assert "mlserve_drift_score{" not in answer.text


def test_metrics_wait_a_moment_for_a_redis_that_hangs_and_then_leave_it_alone(versions):
    now, seen = [0.0], Fleet(reachable=True, hosts=[HOST])
    with socket.create_server(("127.0.0.1", 0)) as mute:
        where = Redis(url=f"redis://127.0.0.1:{mute.getsockname()[1]}/0")
        settings = Settings(models_dir=str(versions), redis=where)
        catalog = Catalog(versions, "sentiment")
        collector = DriftCollector(settings, catalog, lambda: seen, lambda: now[0])

        looks = []
        for moment in (0.0, 0.1, LOOK_EVERY_S - 0.1):
            now[0] = moment
            began = time.perf_counter()
            assert [family.samples for family in collector.collect()] == [[]] * 4
            looks.append(time.perf_counter() - began)

    # Far below the socket timeout of everybody else; the later ones do not even try.
    assert looks[0] < Redis().socket_timeout_s
    assert max(looks[1:]) < REDIS_TIMEOUT_S
