"""Who may change models over HTTP, and see the jobs of others."""

import logging

import pytest

from app.api.admin import check_admin
from app.errors import AdminRefused, TokenRefused
from app.settings import Admin

TOKEN = "correct-horse-battery-staple"
PREDICTING = {"/predict", "/batch-predict", "/jobs", "/jobs/{job_id}"}
LISTING = ("/jobs", "get")
OPEN, CLOSED = Admin(), Admin(token=TOKEN)


def operations(client):
    """Every operation that is not a GET, nor about predictions; and the list of all jobs."""
    changing = [
        (path, method)
        for path, item in client.get("/openapi.json").json["paths"].items()
        for method in item
        if method not in ("get", "parameters") and path not in PREDICTING
    ]
    return [*changing, LISTING]


def call(client, path, method, **options):
    path = path.replace("{name}", "sentiment").replace("{ref}", "sentiment-v7")
    return client.open(path, method=method.upper(), json={}, **options)


@pytest.fixture
def closed(make_client):
    return make_client(admin=CLOSED)


def test_routes_for_operators_are_the_documented_ones(client):
    paths = client.get("/openapi.json").json["paths"]

    guarded = {
        (path, method)
        for path, item in paths.items()
        for method, operation in item.items()
        if method != "parameters" and "security" in operation
    }

    assert guarded == set(operations(client)) != set()


def test_every_route_for_operators_asks_for_the_token(closed):
    for path, method in operations(closed):
        answer = call(closed, path, method)

        assert (answer.status_code, answer.json["code"]) == (401, "token_refused"), path
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_every_route_for_operators_refuses_other_machines_without_a_token(client):
    for path, method in operations(client):
        answer = call(client, path, method, environ_overrides={"REMOTE_ADDR": "192.0.2.7"})

        assert (answer.status_code, answer.json["code"]) == (403, "admin_refused"), path
        assert "admin.token" in answer.json["detail"]


def test_token_lets_in_from_anywhere(closed):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    elsewhere = {"REMOTE_ADDR": "192.0.2.7", "HTTP_X_FORWARDED_FOR": "198.51.100.1"}

    for path, method in operations(closed):
        answer = call(closed, path, method, headers=headers, environ_overrides=elsewhere)

        assert answer.json["code"] in ("invalid_fields", "broker_unavailable"), path


def test_reading_needs_no_token(closed):
    for path in ("/models", "/models/sentiment", "/health/ready", "/stats"):
        assert closed.get(path).status_code == 200

    assert closed.post("/predict", json={"text": "good day"}).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN.upper()}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN},Bearer {TOKEN}",
        "Bearer \xe9\xff",
        "Bearer \u0165oken",
    ],
)
def test_anything_but_the_token_is_refused(given):
    with pytest.raises(TokenRefused):
        check_admin({"HTTP_AUTHORIZATION": given, "REMOTE_ADDR": "127.0.0.1"}, CLOSED)


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer  {TOKEN} "])
def test_token_is_accepted_as_the_rfc_spells_it(given):
    check_admin({"HTTP_AUTHORIZATION": given}, CLOSED)


@pytest.mark.parametrize(
    "environ",
    [
        {"REMOTE_ADDR": "127.0.0.1"},
        {"REMOTE_ADDR": "127.8.9.1"},
        {"REMOTE_ADDR": "::1"},
        {"REMOTE_ADDR": "::ffff:127.0.0.1"},
        {"REMOTE_ADDR": ""},
        {},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_ORIGIN": "http://localhost:8000"},
        {"REMOTE_ADDR": "::1", "HTTP_ORIGIN": "http://[::1]:8000"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost:8000"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "LOCALHOST"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1:8000"},
        {"REMOTE_ADDR": "::1", "HTTP_HOST": "[::1]:8000"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": ""},
    ],
    ids=str,
)
def test_callers_on_this_machine_need_no_token(environ):
    check_admin(environ, OPEN)


@pytest.mark.parametrize(
    "environ",
    [
        {"REMOTE_ADDR": "192.0.2.7"},
        {"REMOTE_ADDR": "::ffff:192.0.2.7"},
        {"REMOTE_ADDR": "2001:db8::1"},
        {"REMOTE_ADDR": "0.0.0.0"},  # noqa: S104 - an address to refuse
        {"REMOTE_ADDR": "localhost.example.com"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=127.0.0.1"},
        {"HTTP_X_REAL_IP": "127.0.0.1"},
        {"REMOTE_ADDR": "::1", "HTTP_VIA": "1.1 proxy"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_ORIGIN": "https://example.com"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_ORIGIN": "http://localhost.example.com:8000"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_ORIGIN": "null"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_ORIGIN": "http://["},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "example.com:8000"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost.example.com"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost,example.com"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "192.0.2.7:8000"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "["},
    ],
    ids=str,
)
def test_whoever_may_be_elsewhere_is_refused_without_a_token(environ):
    with pytest.raises(AdminRefused):
        check_admin(environ, OPEN)


def test_token_is_in_no_log_line_and_no_answer(closed, caplog):
    caplog.set_level(logging.DEBUG)
    given = {"Authorization": f"Bearer {TOKEN}"}

    answers = [call(closed, path, method, headers=given) for path, method in operations(closed)]
    answers += [call(closed, "/nothing", "post", headers=given)]

    assert not any(TOKEN in str(vars(record)) for record in caplog.records)
    assert not any(TOKEN in answer.text for answer in answers)
    assert TOKEN not in closed.get("/openapi.json").text


def test_settings_do_not_show_the_token(closed):
    assert TOKEN not in repr(CLOSED)
    assert "token=None" in repr(OPEN)
