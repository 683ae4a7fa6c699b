"""Swap, rollback, load, unload and their status, over a real Redis and what workers say in it."""

import pytest

from app.api import prefer
from app.settings import Redis

BOTH = ("w1@test", "w2@test")
ASYNC = {"Prefer": "respond-async"}
BROKEN = {"sentiment-v1": ("golden_mismatch", "sentiment-v1: says neutral to a good day")}


def swap(client, version="v1", name="sentiment", **headers):
    return client.post(f"/models/{name}/swap", json={"version": version}, headers=headers)


def active(client):
    return client.get("/models/sentiment").json["ref"]


def all_hold(hosts, *refs, **more):
    for hostname in BOTH:
        hosts.hold(hostname, *refs, **more)


def test_swap_answers_with_a_row_for_each_worker_that_holds_it(fleet_client, hosts):
    all_hold(hosts, "sentiment-v1", "sentiment-v2")

    answer = swap(fleet_client)

    told = answer.json
    assert (answer.status_code, told["state"], told["kind"]) == (200, "done", "swap")
    assert (told["model_version"], told["activated"]) == ("sentiment-v1", True)
    assert (told["previous_version"], told["reason"]) == ("v2", None)
    assert told["started_at"] <= told["ended_at"]
    assert told["workers"] == [
        {"hostname": hostname, "status": "ready", "error": None, "code": None} for hostname in BOTH
    ]


def test_swapped_alias_is_answered_at_once(fleet_client, hosts):
    all_hold(hosts, "sentiment-v1", "sentiment-v2")
    assert active(fleet_client) == "sentiment-v2"

    swap(fleet_client)

    assert active(fleet_client) == "sentiment-v1"
    assert fleet_client.get("/health/ready").json["model"] == "sentiment-v1"


def test_workers_that_hold_it_are_seen_together_with_the_alias(fleet_client, hosts):
    fleet_client.get("/models")  # a look at the fleet that has no v1 in it
    all_hold(hosts, "sentiment-v1", "sentiment-v2")

    swap(fleet_client)

    model = fleet_client.get("/models/sentiment").json
    assert [holder["hostname"] for holder in model["workers"]] == list(BOTH)


def test_respond_async_gives_the_address_of_the_rollout(fleet_client):
    answer = swap(fleet_client, **ASYNC)

    assert (answer.status_code, answer.json["state"]) == (202, "preparing")
    assert answer.headers["Location"] == f"/rollouts/{answer.json['id']}"
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert int(answer.headers["Retry-After"]) >= 1
    assert {row["status"] for row in answer.json["workers"]} == {"waiting"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("respond-async", True),
        ("Respond-Async", True),
        ("wait=5, respond-async", True),
        ("respond-async;foo, wait=5", True),
        ("wait=5", False),
        ("respond-asynchronously", False),
        ("foo=respond-async", False),
        ("", False),
        (None, False),
    ],
)
def test_respond_async_is_understood_as_rfc_7240_spells_it(given, expected):
    assert prefer.is_async(given) is expected


def test_rollout_is_told_until_it_has_ended_and_after(fleet_client, hosts):
    location = swap(fleet_client, **ASYNC).headers["Location"]
    before = fleet_client.get(location)

    all_hold(hosts, "sentiment-v1", "sentiment-v2")
    swap(fleet_client)
    after = fleet_client.get(location)

    assert (before.status_code, before.json["state"]) == (200, "preparing")
    assert "Retry-After" in before.headers
    assert (after.json["state"], after.json["previous_version"]) == ("done", "v2")
    assert "Retry-After" not in after.headers
    assert after.headers["Cache-Control"] == "no-store"


def test_same_swap_again_is_the_same_rollout(fleet_client):
    first, second = (swap(fleet_client, **ASYNC).json["id"] for _ in range(2))

    assert first == second


def test_caller_waits_no_longer_than_asked(fleet_client):
    answer = swap(fleet_client, Prefer="respond-async, wait=1")

    assert (answer.status_code, answer.json["state"]) == (202, "preparing")
    assert answer.headers["Preference-Applied"] == "respond-async, wait=1"
    assert active(fleet_client) == "sentiment-v2"


def test_only_the_wait_is_confirmed_where_it_was_done_in_time(fleet_client, hosts):
    all_hold(hosts, "sentiment-v1", "sentiment-v2")

    answer = swap(fleet_client, Prefer="respond-async, wait=20")

    assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "wait=20")


def test_worker_that_cannot_load_it_fails_the_swap_with_its_reason(fleet_client, hosts):
    hosts.hold("w1@test", "sentiment-v1", "sentiment-v2")
    hosts.hold("w2@test", "sentiment-v2", failed=BROKEN)

    answer = swap(fleet_client)

    assert (answer.status_code, answer.json["code"]) == (424, "swap_failed")
    assert answer.json["errors"] == {"w2@test": ["sentiment-v1: says neutral to a good day"]}
    assert "1 of 2 workers cannot hold it" in answer.json["detail"]
    assert active(fleet_client) == "sentiment-v2"


def test_rollout_that_failed_tells_code_and_reason_by_worker(fleet_client, hosts):
    location = swap(fleet_client, **ASYNC).headers["Location"]
    all_hold(hosts, "sentiment-v2", failed=BROKEN)
    swap(fleet_client)

    told = fleet_client.get(location).json

    assert (told["state"], told["activated"]) == ("failed", False)
    assert told["reason"] == "2 of 2 workers cannot hold it"
    assert {row["code"] for row in told["workers"]} == {"golden_mismatch"}


def test_reason_of_a_failed_swap_stays_with_the_version(fleet_client, hosts):
    all_hold(hosts, "sentiment-v2", failed=BROKEN)
    swap(fleet_client)
    all_hold(hosts, "sentiment-v2")

    model = fleet_client.get("/models/v1").json

    assert (model["status"], model["code"]) == ("failed", "golden_mismatch")
    assert "says neutral to a good day" in model["reason"]


def test_another_swap_meanwhile_is_refused(fleet_client, hosts):
    swap(fleet_client, "v1", **ASYNC)

    answer = swap(fleet_client, "v2")

    assert (answer.status_code, answer.json["code"]) == (409, "swap_in_progress")
    assert "sentiment-v1" in answer.json["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "/models/sentiment/swap", {"version": "v7"}, "model_not_found"),
        ("POST", "/models/nothing/swap", {"version": "v1"}, "model_not_found"),
        ("POST", "/models/..%2Fsentiment/swap", {"version": "v1"}, "not_found"),
        ("POST", "/models/load", {"model_version": "sentiment-v7"}, "model_not_found"),
        ("DELETE", "/models/sentiment-v7", None, "model_not_found"),
        ("GET", "/rollouts/0123456789abcdef", None, "rollout_not_found"),
    ],
)
def test_what_does_not_exist_is_404(fleet_client, method, path, body, code):
    answer = fleet_client.open(path, method=method, json=body)

    assert (answer.status_code, answer.json["code"]) == (404, code)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/models/sentiment/swap", {}, "version"),
        ("/models/sentiment/swap", {"version": "sentiment-v1"}, "version"),
        ("/models/sentiment/swap", {"version": "v1", "force": True}, "force"),
        ("/models/load", {"model_version": "../v1"}, "model_version"),
        ("/models/load", {"model_version": None}, "model_version"),
    ],
)
def test_wrong_body_names_the_field(fleet_client, path, body, field):
    answer = fleet_client.post(path, json=body)

    assert (answer.status_code, answer.json["code"]) == (422, "invalid_fields")
    assert list(answer.json["errors"]) == [field]


def test_version_with_a_wrong_manifest_is_refused_with_the_reason(fleet_client):
    answer = swap(fleet_client, "v1", "broken")

    assert (answer.status_code, answer.json["code"]) == (424, "manifest_invalid")


def test_rollback_returns_to_the_version_before(fleet_client, hosts):
    all_hold(hosts, "sentiment-v1", "sentiment-v2")
    swap(fleet_client, "v1")

    back = fleet_client.post("/models/sentiment/rollback")
    forth = fleet_client.post("/models/sentiment/rollback")

    assert (back.status_code, back.json["model_version"]) == (200, "sentiment-v2")
    assert (forth.json["model_version"], active(fleet_client)) == ("sentiment-v1", "sentiment-v1")


def test_rollback_without_a_version_before_is_refused(fleet_client):
    answer = fleet_client.post("/models/sentiment/rollback")

    assert (answer.status_code, answer.json["code"]) == (409, "no_previous_version")


@pytest.mark.parametrize("name", ["nope", "sentiment-v2", "v2"])
def test_rollback_of_a_name_that_does_not_exist_is_told_as_a_swap_is(fleet_client, name):
    back = fleet_client.post(f"/models/{name}/rollback")

    for answer in (back, swap(fleet_client, "v1", name)):
        assert (answer.status_code, answer.json["code"]) == (404, "model_not_found")
        assert "sentiment-v1, sentiment-v2" in answer.json["detail"]


def test_load_leaves_the_active_version_alone(fleet_client, hosts):
    all_hold(hosts, "sentiment-v1", "sentiment-v2")

    answer = fleet_client.post("/models/load", json={"model_version": "sentiment-v1"})

    assert (answer.status_code, answer.json["kind"]) == (200, "load")
    assert (answer.json["activated"], active(fleet_client)) == (False, "sentiment-v2")


def test_load_that_fails_says_so(fleet_client, hosts):
    all_hold(hosts, "sentiment-v2", failed=BROKEN)

    answer = fleet_client.post("/models/load", json={"model_version": "v1"})

    assert (answer.status_code, answer.json["code"]) == (424, "load_failed")
    assert set(answer.json["errors"]) == set(BOTH)


def test_unload_answers_nothing_and_has_no_worker_want_it(fleet_client, redis_client):
    answer = fleet_client.delete("/models/sentiment-v1")

    assert (answer.status_code, answer.data) == (204, b"")
    assert b'"unloaded":["sentiment-v1"]' in redis_client.get("mlserve:desired")


def test_every_rollout_is_counted_once_by_how_it_ended(fleet_client, hosts):
    all_hold(hosts, "sentiment-v2", failed=BROKEN)
    swap(fleet_client)
    all_hold(hosts, "sentiment-v1", "sentiment-v2")
    for version in ("v1", "v2", "v1"):
        swap(fleet_client, version)

    lines = fleet_client.get("/metrics").text.splitlines()

    ended = [line for line in lines if line.startswith("mlserve_rollouts_total{")]
    assert [line for line in ended if 'model="sentiment"' in line] == [
        'mlserve_rollouts_total{kind="load",model="sentiment",outcome="done"} 0.0',
        'mlserve_rollouts_total{kind="load",model="sentiment",outcome="failed"} 0.0',
        'mlserve_rollouts_total{kind="swap",model="sentiment",outcome="done"} 3.0',
        'mlserve_rollouts_total{kind="swap",model="sentiment",outcome="failed"} 1.0',
    ]
    assert 'mlserve_model_active_info{model="sentiment",version="v1"} 1.0' in lines


@pytest.mark.parametrize("ref", ["sentiment-v2", "sentiment"])
def test_active_version_cannot_be_unloaded(fleet_client, ref):
    answer = fleet_client.delete(f"/models/{ref}")

    assert (answer.status_code, answer.json["code"]) == (409, "model_active")


def test_without_workers_nothing_can_be_swapped(redis_client, connect):
    answer = swap(connect())

    assert (answer.status_code, answer.json["code"]) == (503, "no_worker")
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize("prefer", [{}, ASYNC], ids=["wait", "async"])
def test_without_redis_nothing_can_be_swapped(make_client, prefer):
    client = make_client(redis=Redis(url="unix:///nonexistent/redis.sock"))

    answer = swap(client, **prefer)

    assert (answer.status_code, answer.json["code"]) == (503, "broker_unavailable")
