"""The OpenAPI document refuses nothing that is accepted, and asks for no more than is needed."""

import pytest

from app.settings import Admin


def parameters(spec, path, method="get"):
    return {one["name"]: one["schema"] for one in spec["paths"][path][method]["parameters"]}


def test_what_is_accepted_is_documented_and_no_more(job_client):
    spec = job_client.get("/openapi.json").json
    assert "pattern" not in parameters(spec, "/models")["X-Request-ID"]
    after = parameters(spec, "/jobs/{job_id}/results")["after"]
    path = "/jobs/nobody/results?after="
    assert job_client.get(f"{path}{after['maximum']}").status_code == 404
    assert job_client.get(f"{path}{after['maximum'] + 1}").status_code == 422
    encodings = parameters(spec, "/jobs", "post")["Content-Encoding"]["enum"]
    for encoding in encodings:
        headers = {"Content-Encoding": encoding}
        assert job_client.post("/jobs", json={}, headers=headers).status_code in (400, 422)
    metadata = spec["components"]["schemas"]["JobRequest"]["properties"]["metadata"]
    assert (metadata["maxProperties"], metadata.get("maxLength")) == (16, None)


@pytest.mark.parametrize(
    ("token", "needed"), [(None, [{"admin": []}, {}]), ("x" * 20, [{"admin": []}])]
)
def test_token_is_documented_as_needed_where_there_is_one(make_client, token, needed):
    paths = make_client(admin=Admin(token=token)).get("/openapi.json").json["paths"]

    assert paths["/jobs"]["get"]["security"] == needed
    assert paths["/models/load"]["post"]["security"] == needed
    assert "security" not in paths["/jobs"]["post"]
