"""The OpenAPI document is valid, whole, and tells the truth."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from app.settings import Limits
from tests.processes import ROOT
from tests.unit.app.api.test_predict_routes import Unreachable, failed

UNDOCUMENTED = {"/", "/favicon.ico", "/docs", "/docs/assets/{name}", "/openapi.json"}

# What needs no word, and what is there in some cases only.
OF_ANY_BODY = {"Content-Type", "Content-Length", "Cache-Control", "Accept-Ranges"}
SOMETIMES = {
    200: {"Preference-Applied", "Retry-After"},
    202: {"Preference-Applied", "Retry-After", "Idempotency-Replayed"},
    504: {"Location"},
}


@pytest.fixture(scope="module")
def spec(client):
    return client.get("/openapi.json").json


@pytest.fixture(scope="module")
def conforms(spec):
    """Asserts that a value is what a schema of the document says."""
    resource = Resource.from_contents(spec, default_specification=DRAFT4)
    registry = Registry().with_resource("spec", resource)

    def check(schema, value):
        absolute = {"$ref": "spec" + schema["$ref"]} if "$ref" in schema else schema
        errors = list(OAS30Validator(absolute, registry=registry).iter_errors(value))
        assert not errors, [(list(error.path), error.message) for error in errors]

    return check


def operations(spec):
    return [
        (path, method, operation)
        for path, item in spec["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]


def assert_headers(documented, answer):
    """None is sent that is not in the document, and all that are there in every case."""
    told, sent = set(documented["headers"]), set(answer.headers.keys())
    assert sent - OF_ANY_BODY <= told
    assert told - SOMETIMES.get(answer.status_code, set()) <= sent


def test_document_is_valid_openapi(spec):
    validate(spec)


def test_whoever_asks_first_and_at_once_gets_the_whole_document(make_client, spec):
    app = make_client().application

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: app.test_client().get("/openapi.json").json, range(4)))

    assert found == [spec] * 4


def test_every_route_is_documented(client, spec):
    rules = {
        rule.rule.replace("<", "{").replace(">", "}")
        for rule in client.application.url_map.iter_rules()
    }

    assert rules - UNDOCUMENTED == set(spec["paths"])


def test_every_operation_has_a_summary_and_documented_errors(spec):
    for path, _, operation in operations(spec):
        assert operation["summary"], path
        assert {"200", "202", "204"} & set(operation["responses"]), path
        assert "500" in operation["responses"], path


def test_every_error_is_documented_as_problem_details(spec):
    for path, _, operation in operations(spec):
        for status, response in operation["responses"].items():
            kinds = set(response.get("content", {}))
            assert status[0] == "2" or kinds == {"application/problem+json"}, (path, status)


def test_every_error_and_route_is_in_the_page_for_people(spec):
    page = (ROOT / "docs" / "http-api.md").read_text()
    codes = {
        code
        for _, _, operation in operations(spec)
        for response in operation["responses"].values()
        for media in response.get("content", {}).values()
        for code in media.get("examples", {})
    }

    assert len(codes) > 10
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []
    shown = [path.replace("{", "<").replace("}", ">") for path in spec["paths"]]
    assert [path for path in shown if path not in page] == []


def test_every_example_conforms_to_its_schema(spec, conforms):
    for _, _, operation in operations(spec):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media in [m for body in bodies for m in body.get("content", {}).values()]:
            examples = [example["value"] for example in media.get("examples", {}).values()]
            for example in examples + ([media["example"]] if "example" in media else []):
                conforms(media["schema"], example)


def test_documented_requests_are_accepted(client, spec):
    for path in ("/predict", "/batch-predict"):
        media = spec["paths"][path]["post"]["requestBody"]["content"]["application/json"]

        assert client.post(path, json=media["example"]).status_code == 200


def test_documented_jobs_are_accepted(job_client, spec):
    for kind, media in spec["paths"]["/jobs"]["post"]["requestBody"]["content"].items():
        body = json.dumps(media["example"])

        assert job_client.post("/jobs", data=body, content_type=kind).status_code == 202


def test_rollouts_are_what_the_document_says(fleet_client, hosts, spec, conforms):
    for hostname in ("w1@test", "w2@test"):
        hosts.hold(hostname, "sentiment-v1", "sentiment-v2")
    swapped, status = ("/models/{name}/swap", "post"), ("/rollouts/{rollout_id}", "get")
    begun = fleet_client.post("/models/sentiment/swap", json={"version": "v1"})
    later = fleet_client.post("/models/sentiment/rollback", headers={"Prefer": "respond-async"})
    told = fleet_client.get(f"/rollouts/{begun.json['id']}")

    for (path, method), answer in ((swapped, begun), (swapped, later), (status, told)):
        documented = spec["paths"][path][method]["responses"][str(answer.status_code)]
        conforms(documented["content"][answer.mimetype]["schema"], answer.json)
        assert_headers(documented, answer)


@pytest.mark.parametrize(
    ("operation", "status", "header"),
    [
        ("post /predict", "200", "Preference-Applied"),
        ("post /predict", "504", "Location"),
        ("post /batch-predict", "504", "Location"),
        ("post /models/{name}/swap", "200", "Preference-Applied"),
        ("post /models/{name}/swap", "401", "WWW-Authenticate"),
        ("get /jobs", "401", "WWW-Authenticate"),
        ("get /rollouts/{rollout_id}", "200", "Retry-After"),
        ("post /jobs", "409", "Retry-After"),
        ("post /jobs", "507", "Retry-After"),
    ],
)
def test_header_that_is_sent_in_some_cases_is_documented(spec, operation, status, header):
    method, path = operation.split()

    assert header in spec["paths"][path][method]["responses"][status]["headers"]


@pytest.mark.parametrize(
    "operation",
    [
        *("post /predict", "post /batch-predict", "get /tasks/{task_id}"),
        *("post /jobs", "get /jobs/{job_id}", "get /jobs/{job_id}/results"),
        *("post /models/{name}/swap", "delete /models/{ref}", "get /rollouts/{rollout_id}"),
    ],
)
def test_what_an_upgrade_may_refuse_is_documented(spec, operation):
    method, path = operation.split()
    refusals = spec["paths"][path][method]["responses"]["503"]["content"]

    assert "message_refused" in refusals["application/problem+json"]["examples"]


def test_header_is_documented_of_no_error_that_never_has_it(spec):
    answers = spec["paths"]["/models/{name}/swap"]["post"]["responses"]

    assert set(answers["404"]["headers"]) == set(answers["409"]["headers"]) == {"X-Request-ID"}


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
def test_both_formats_of_a_scrape_are_documented(make_client, spec, accept):
    answer = make_client().get("/metrics", headers={"Accept": f"{accept};version=1.0.0"})

    assert answer.mimetype == accept
    assert accept in spec["paths"]["/metrics"]["get"]["responses"]["200"]["content"]


def test_limits_are_those_of_the_settings(make_client):
    limits = Limits(max_text_chars=77, max_batch_texts=7)

    schemas = make_client(limits=limits).get("/openapi.json").json["components"]["schemas"]

    texts = schemas["BatchPredictRequest"]["properties"]["texts"]
    assert schemas["PredictRequest"]["properties"]["text"]["maxLength"] == 77
    assert (texts["maxItems"], texts["items"]["maxLength"]) == (7, 77)
    assert schemas["PredictRequest"]["required"] == ["text"]


def test_jobs_and_tasks_are_what_the_document_says(job_client, worked, spec, conforms):
    def check(path, method, answer):
        documented = spec["paths"][path][method]["responses"][str(answer.status_code)]
        schema = documented["content"][answer.mimetype]["schema"]
        assert_headers(documented, answer)
        for row in answer.data.splitlines():
            conforms(schema, json.loads(row))
        return answer

    put_off = {"Prefer": "respond-async"}
    task = check(
        "/predict", "post", job_client.post("/predict", json={"text": "a"}, headers=put_off)
    )
    job = check("/jobs", "post", job_client.post("/jobs", json={"texts": ["a", "b"]}))
    check("/tasks/{task_id}", "get", job_client.get(task.headers["Location"]))
    worked(job.json["id"], bad={0})
    worked(task.json["task_id"])
    where = job.headers["Location"]

    check("/tasks/{task_id}", "get", job_client.get(task.headers["Location"]))
    check("/jobs/{job_id}", "get", job_client.get(where))
    check("/jobs/{job_id}/results", "get", job_client.get(f"{where}/results"))
    check("/jobs/{job_id}/errors", "get", job_client.get(f"{where}/errors"))
    check("/jobs/{job_id}", "delete", job_client.delete(where))
    check("/jobs", "get", job_client.get("/jobs"))


GOOD = [
    ("/predict", {"text": "good day"}),
    ("/predict", {"text": "good day", "top_k": 2, "model_version": "v1"}),
    ("/batch-predict", {"texts": ["good", "bad"]}),
    ("/models", None),
    ("/models/{ref}", None),
    ("/health/live", None),
    ("/health/ready", None),
    ("/stats", None),
]


def assert_documented(spec, conforms, client, path, body):
    method = "get" if body is None else "post"
    answer = client.open(path.replace("{ref}", "sentiment-v2"), method=method.upper(), json=body)

    documented = spec["paths"][path][method]["responses"][str(answer.status_code)]
    conforms(documented["content"][answer.mimetype]["schema"], answer.json)
    assert_headers(documented, answer)
    return answer.status_code


@pytest.mark.parametrize(("path", "body"), GOOD)
def test_answer_is_what_the_document_says(client, spec, conforms, path, body):
    assert assert_documented(spec, conforms, client, path, body) == 200


@pytest.mark.parametrize(
    ("trouble", "path", "body", "status"),
    [
        (Unreachable(), "/predict", {"text": "a"}, 503),
        (Unreachable(), "/health/ready", None, 503),
        (failed("text_failed"), "/predict", {"text": "a"}, 500),
        (failed("expired"), "/predict", {"text": "a"}, 504),
        (failed("text_failed"), "/batch-predict", {"texts": ["a"]}, 200),
        (Unreachable(), "/models", None, 200),
        (Unreachable(), "/stats", None, 200),
    ],
)
def test_trouble_is_what_the_document_says(make_client, request, trouble, path, body, status):
    spec, conforms = request.getfixturevalue("spec"), request.getfixturevalue("conforms")

    assert assert_documented(spec, conforms, make_client(trouble), path, body) == status
