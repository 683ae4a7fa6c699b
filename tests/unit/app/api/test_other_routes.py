"""Models, health, docs, request ids."""

import logging

import pytest

from app.inference.local import LocalGateway
from app.logs import _annotate
from app.models.registry import Registry
from app.settings import Limits
from tests.unit.app.api.test_predict_routes import Unreachable


@pytest.fixture
def without_workers():
    return LocalGateway(Registry(Limits(), "cpu"), max_batch_size=1)


def test_models_lists_every_version_with_status_and_holders(client):
    listed = client.get("/models").json

    rows = {row["ref"]: row for row in listed["models"]}
    assert listed["default_model"] == "sentiment"
    assert list(rows) == ["broken-v1", "sentiment-v1", "sentiment-v2"]
    assert [row["status"] for row in rows.values()] == ["failed", "ready", "ready"]
    assert "model.yaml" in rows["broken-v1"]["reason"]
    assert rows["broken-v1"]["code"] == "manifest_invalid"
    assert [row["active"] for row in rows.values()] == [True, False, True]
    assert [row["default"] for row in rows.values()] == [False, False, True]
    assert [holder["hostname"] for holder in rows["sentiment-v2"]["workers"]] == ["local"]


@pytest.mark.parametrize("ref", ["sentiment-v2", "sentiment", "v2"])
def test_model_is_found_by_every_way_to_name_it(client, ref):
    model = client.get(f"/models/{ref}").json

    assert model["ref"] == "sentiment-v2"
    assert len(model["digest"]) == 64
    assert model["metadata"]["accuracy"] == 0.9
    assert model["labels"] == ["negative", "neutral", "positive"]


def test_unknown_model_is_told_which_exist(client):
    answer = client.get("/models/sentiment-v7")

    assert answer.status_code == 404
    assert "sentiment-v1, sentiment-v2" in answer.json["detail"]


def test_model_that_no_worker_holds_yet_is_loading(make_client, without_workers):
    model = make_client(without_workers).get("/models/sentiment-v2").json

    assert (model["status"], model["reason"], model["workers"]) == ("loading", None, [])


def test_models_say_why_they_are_unavailable_without_redis(make_client):
    model = make_client(Unreachable()).get("/models/sentiment-v2").json

    assert (model["status"], model["reason"]) == ("unavailable", "Redis cannot be reached")


@pytest.mark.parametrize("path", ["/health/live", "/livez"])
def test_live_needs_neither_redis_nor_workers(make_client, path):
    answer = make_client(Unreachable()).get(path)

    assert (answer.status_code, answer.json) == (200, {"live": True})


@pytest.mark.parametrize("path", ["/health/ready", "/readyz", "/healthz"])
def test_ready_when_the_default_model_can_predict(client, path):
    answer = client.get(path)

    assert answer.status_code == 200
    assert (answer.json["ready"], answer.json["model"]) == (True, "sentiment-v2")
    assert answer.json["cache"] in ("shared", "in-process only")


def test_not_ready_without_a_worker_and_says_so(make_client, without_workers):
    answer = make_client(without_workers).get("/health/ready")

    assert (answer.status_code, answer.json["code"]) == (503, "not_ready")
    assert answer.json["errors"] == {"no_worker": ["no worker holds sentiment-v2"]}
    assert "Retry-After" in answer.headers


def test_not_ready_without_redis_and_says_so(make_client):
    answer = make_client(Unreachable()).get("/health/ready")

    assert answer.json["errors"] == {"broker_unavailable": ["Redis cannot be reached"]}


def test_not_ready_when_the_default_model_does_not_exist(make_client):
    answer = make_client(default_model="nothing").get("/health/ready")

    assert answer.status_code == 503
    assert list(answer.json["errors"]) == ["model_not_found"]


@pytest.mark.parametrize(
    ("path", "status"), [("/predict", 405), ("/nothing", 404), ("/livez", 200)]
)
def test_request_id_is_echoed_on_every_answer(client, path, status):
    answer = client.get(path, headers={"X-Request-ID": "a.Good_id-1"})

    assert (answer.status_code, answer.headers["X-Request-ID"]) == (status, "a.Good_id-1")
    assert status == 200 or answer.json["request_id"] == "a.Good_id-1"


@pytest.mark.parametrize("given", ["", "a b", "<script>", "x" * 129, "é", 'a"b'])
def test_request_id_that_is_not_well_formed_is_replaced(client, given):
    answer = client.get("/livez", headers={"X-Request-ID": given})

    assert answer.headers["X-Request-ID"] != given
    assert len(answer.headers["X-Request-ID"]) == 32
    assert client.get("/livez").headers["X-Request-ID"] != answer.headers["X-Request-ID"]


def test_log_lines_carry_the_request_id_but_never_the_text(client, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.handler.addFilter(_annotate)
    secret = "a very private text"

    client.post("/predict", json={"text": secret}, headers={"X-Request-ID": "my-id"})
    client.post("/predict", json={"text": secret, secret: 1}, headers={"X-Request-ID": "my-id"})

    lines = [record for record in caplog.records if record.name == "app.api.access"]
    assert [(r.request_id, r.route, r.status) for r in lines] == [
        ("my-id", "/predict", 200),
        ("my-id", "/predict", 422),
    ]
    assert not any(secret in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(("path", "levels"), [("/nothing", [logging.INFO]), ("/readyz", [])])
def test_refusals_are_logged_but_probes_are_not(make_client, without_workers, caplog, path, levels):
    caplog.set_level(logging.INFO, "app.api.access")

    assert make_client(without_workers).get(path).status_code >= 400

    assert [record.levelno for record in caplog.records] == levels


def test_root_leads_to_the_docs_page(client):
    answer = client.get("/", follow_redirects=True)

    assert answer.request.path == "/docs"
    assert "openapi.json" in answer.text


def test_docs_page_asks_nobody_but_us(client):
    page = client.get("/docs").text

    assert "://" not in page
    assert '"validatorUrl": null' in page
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"):
        assert f"/docs/assets/{name}" in page
        with client.get(f"/docs/assets/{name}") as asset:
            assert asset.status_code == 200
            assert len(asset.data) > 100_000


def test_docs_assets_are_only_those_of_the_page(client):
    assert client.get("/docs/assets/index.html").status_code == 404
