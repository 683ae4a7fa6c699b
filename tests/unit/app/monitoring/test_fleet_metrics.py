"""Metrics that are read from the fleet."""

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from app.contract import HeldModel, HostState, Refused
from app.fleet import FAILED, READY, RETIRING, Fleet
from app.models.catalog import Catalog, read_manifest
from app.models.desired import Desired
from app.monitoring.fleet_metrics import FleetCollector
from app.monitoring.metrics import MULTIPROC_VARIABLE, Metrics
from tests.models import build_model

HOST = HostState(
    hostname="w1@test",
    pid=1,
    device="cpu",
    queues=[],
    models=[
        HeldModel("tiny-v1", "0", READY),
        HeldModel("tiny-v2", "0", FAILED, error="it lies", code="golden_mismatch"),
        HeldModel("tiny-v3", "0", RETIRING),
    ],
    started_at=0.0,
    beat_at=0.0,
    memory_bytes=100,
    chunks=0,
    generation=4,
)
OTHER = msgspec.structs.replace(HOST, hostname="w2@test", generation=5, models=HOST.models[:2])
SEEN = Fleet(
    reachable=True,
    hosts=[HOST, OTHER],
    desired=Desired(generation=5, active={"tiny": "v2"}),
    refused={"tiny-v2": Refused(reason="no", code="golden_mismatch", at=1.0)},
    rollouts={("tiny", "swap", "done"): 3, ("tiny", "load", "failed"): 1},
)


@pytest.fixture
def read(tmp_path):
    """Samples as {name{labels in order of their names}: value}."""
    build_model(tmp_path, "tiny", "v1")
    build_model(tmp_path, "tiny", "v2")

    def samples(seen, registry=None):
        registry = registry or CollectorRegistry()
        registry.register(FleetCollector(Catalog(tmp_path, "tiny"), lambda: seen))
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(generate_openmetrics(registry).decode())
            for sample in family.samples
        }

    return samples


def test_hosts_are_counted_by_what_they_say_of_a_version(read):
    counted = read(SEEN)

    hosts = {key[1:]: n for key, n in counted.items() if key[0] == "mlserve_model_hosts"}
    assert hosts == {  # code, model, status, version
        ("", "tiny", "ready", "v1"): 2,
        ("golden_mismatch", "tiny", "failed", "v2"): 2,
        ("", "tiny", "retiring", "v3"): 1,
    }


def test_active_version_and_generations_are_told(read):
    counted = read(SEEN)

    assert counted["mlserve_model_active_info", "tiny", "v2"] == 1
    assert counted["mlserve_model_generation",] == 5
    assert counted["mlserve_model_generation_reached",] == 4


def test_valid_versions_on_disk_are_told_with_format_and_digest(read, tmp_path):
    build_model(tmp_path, "tiny", "v3").joinpath("model.yaml").write_text("no")

    counted = read(SEEN)

    digest = read_manifest(tmp_path / "tiny" / "v1").digest
    told = {key[1:] for key in counted if key[0] == "mlserve_model_info"}
    assert ("skops", "tiny", digest, "v1") in told
    assert {(model, version) for _, model, _, version in told} == {("tiny", "v1"), ("tiny", "v2")}


def test_refusals_and_ended_rollouts_are_told(read):
    counted = read(SEEN)

    assert counted["mlserve_model_refused_info", "golden_mismatch", "tiny", "v2"] == 1
    assert counted["mlserve_rollouts_total", "swap", "tiny", "done"] == 3
    assert counted["mlserve_rollouts_total", "load", "tiny", "failed"] == 1


def test_memory_is_that_of_all_workers_of_a_device(read):
    gpu = msgspec.structs.replace(HOST, hostname="g1@test", device="gpu", memory_bytes=7)

    counted = read(msgspec.structs.replace(SEEN, hosts=[HOST, OTHER, gpu]))

    assert counted["mlserve_workers", "cpu"] == 2
    assert counted["mlserve_worker_resident_memory_bytes", "cpu"] == 200
    assert counted["mlserve_worker_resident_memory_bytes", "gpu"] == 7


def test_nothing_is_told_of_a_fleet_that_cannot_be_seen(read):
    assert read(Fleet(reachable=False, reason="away")) == {}


def test_fleet_is_told_once_where_several_processes_count(tmp_path, monkeypatch):
    monkeypatch.setenv(MULTIPROC_VARIABLE, str(tmp_path))
    metrics = Metrics()
    metrics.include(FleetCollector(Catalog(tmp_path, "tiny"), lambda: SEEN))

    for _ in range(2):
        text = generate_latest(metrics.readable()).decode()

    assert text.count('mlserve_rollouts_total{kind="swap"') == 1
