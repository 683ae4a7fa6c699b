"""Jobs and tasks over a real socket: the real server, a real worker, and clients that misbehave."""

import gzip
import json
import socket
from collections import defaultdict

import psutil
import pytest
import urllib3

from app.broker import make_celery
from app.jobs.ledger import VALIDATING_TTL_S
from app.settings import Redis, Settings
from tests.models import build_model
from tests.processes import ApiProcess, RedisServer, WorkerProcess, side_by_side
from tests.waiting import eventually

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
THREADS = 4


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Redis, a worker and an API with four threads."""
    root = tmp_path_factory.mktemp("models")
    build_model(root, "sentiment", "v1")
    env = {"MLSERVE_SERVER__THREADS": str(THREADS)}
    redis = RedisServer()
    worker, api = WorkerProcess(redis.url, root), ApiProcess(redis.url, root, env=env)
    with redis, side_by_side(worker, api):
        eventually(lambda: call(api, "GET", "/health/ready").status == 200)
        yield api, worker, redis, root


@pytest.fixture
def api(service):
    return service[0]


@pytest.fixture
def worker(service):
    return service[1]


@pytest.fixture
def celery(service):
    app = make_celery(Settings(redis=Redis(url=service[2].url)), "cli")
    yield app
    app.backend.result_consumer.stop()
    app.backend.client.connection_pool.disconnect()
    app.close()


def call(api, method, path, body=None, **headers):
    return urllib3.request(method, api.url + path, body=body, headers=headers, timeout=30)


def line(at, text="a good day"):
    return json.dumps({"custom_id": f"id {at}", "text": f"{text} {at}"}).encode() + b"\n"


def lines(count, text="a good day"):
    return b"".join(line(at, text) for at in range(count))


def submit(api, body, **headers):
    answer = call(api, "POST", "/jobs", body, **NDJSON, **headers)
    assert answer.status == 202, answer.data
    return answer.json()["id"]


def rows(api, job_id, after=-1):
    answer = call(api, "GET", f"/jobs/{job_id}/results?after={after}")
    assert answer.status == 200
    return [json.loads(row) for row in answer.data.splitlines()]


def finished(api, job_id):
    def look():
        job = call(api, "GET", f"/jobs/{job_id}").json()
        return job if job["status"] not in ("in_progress", "cancelling") else None

    return eventually(look, 60)


def rss(api):
    process = psutil.Process(api.pid)
    return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])


def job_keys(redis):
    """Seconds to live by key, for each job."""
    found = defaultdict(dict)
    with redis.client() as client:
        for key in client.scan_iter("mlserve:job:*"):
            found[key.split(b":")[2]][key] = client.ttl(key)
    return found


def others(redis, before):
    """Jobs that were not there before."""
    return {job_id: keys for job_id, keys in job_keys(redis).items() if job_id not in before}


def chunked(parts):
    head = b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + body


def test_compressed_texts_come_back_each_with_its_result(api, celery):
    job_id = submit(api, gzip.compress(lines(5000)), **{"Content-Encoding": "gzip"})

    job = finished(api, job_id)

    counts = {"total": 5000, "completed": 5000, "failed": 0, "cancelled": 0}
    assert (job["status"], job["request_counts"]) == ("completed", counts)
    found = rows(api, job_id)
    assert [row["index"] for row in found] == list(range(5000))
    assert [row["custom_id"] for row in found] == [f"id {at}" for at in range(5000)]
    assert {row["label"] for row in found} == {"positive"}
    assert call(api, "GET", f"/jobs/{job_id}/errors").data == b""
    assert celery.AsyncResult(job_id).get(timeout=10) == counts


def test_results_are_read_while_the_job_runs(api):
    # Long enough that the job still runs at the first look.
    job_id = submit(api, lines(30_000, "a good day " * 40))
    found, looks = [], 0

    while len(found) < 30_000:
        more = rows(api, job_id, len(found) - 1)
        found += more
        looks += bool(more)

    assert [row["index"] for row in found] == list(range(30_000))
    assert looks > 1


def test_cancelled_job_starts_no_chunk(api, worker):
    worker.pause()
    try:
        job_id = submit(api, lines(1000))
        answer = call(api, "DELETE", f"/jobs/{job_id}")
    finally:
        worker.resume()

    assert answer.status == 202
    assert finished(api, job_id)["request_counts"]["cancelled"] == 1000
    assert {row["error"]["code"] for row in rows(api, job_id)} == {"cancelled"}


def test_job_that_is_submitted_again_is_the_same_job(api):
    key = {"Idempotency-Key": "7b1e"}
    first = call(api, "POST", "/jobs", lines(300), **NDJSON, **key)

    second = call(api, "POST", "/jobs", lines(300), **NDJSON, **key)
    other = call(api, "POST", "/jobs", lines(301), **NDJSON, **key)

    assert second.json() == first.json()
    assert (other.status, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("length", [None, 100_000], ids=["chunked", "with a length"])
def test_client_who_leaves_while_it_submits_leaves_nothing(service, length):
    api, _, redis, _ = service
    before = job_keys(redis)
    sent = chunked([lines(1000)])
    if length:
        head = b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
        sent = head + b"Content-Length: %d\r\n\r\n" % length + lines(1000)
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(sent)
        eventually(lambda: others(redis, before))

    eventually(lambda: not others(redis, before))


def test_api_that_is_killed_while_a_job_is_submitted_leaves_nothing_half_accepted(service):
    api, _, redis, root = service
    before = job_keys(redis)
    listed = [job["id"] for job in call(api, "GET", "/jobs").json()["jobs"]]
    with (
        ApiProcess(redis.url, root) as other,
        socket.create_connection(("127.0.0.1", other.port), timeout=10) as connection,
    ):
        connection.sendall(chunked([lines(1000)]))
        eventually(lambda: others(redis, before))
        other.kill()

    assert [job["id"] for job in call(api, "GET", "/jobs").json()["jobs"]] == listed
    (left,) = others(redis, before).values()
    assert {key: ttl for key, ttl in left.items() if not 0 < ttl <= VALIDATING_TTL_S} == {}


def test_memory_of_the_api_does_not_grow_with_the_job(api, figures):
    def body(count):
        return (b"".join(line(at, "good") for at in range(first, first + 1000))
                for first in range(0, count, 1000))  # fmt: skip

    submit(api, body(20_000))
    small = rss(api)

    job_id = submit(api, body(200_000))
    submitted = rss(api)
    finished(api, job_id)
    with urllib3.PoolManager() as pool:
        answer = pool.request("GET", f"{api.url}/jobs/{job_id}/results", preload_content=False)
        read = sum(piece.count(b"\n") for piece in answer.stream(1 << 16))

    figures(mb_after_20_000=small >> 20, mb_after_200_000=submitted >> 20,
            mb_after_results=rss(api) >> 20)  # fmt: skip
    assert read == 200_000
    assert max(submitted, rss(api)) - small < 16 << 20


def test_clients_who_leave_in_the_midst_of_results_hold_no_thread(api):
    job_id = submit(api, lines(50_000))
    finished(api, job_id)
    logged = api.logs().count("transport error")
    request = f"GET /jobs/{job_id}/results HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    for _ in range(2 * THREADS):
        with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
            connection.sendall(request)
            assert connection.recv(1000)

    assert len(rows(api, job_id, 49_000)) == 999
    assert api.logs().count("transport error") - logged < 30 * THREADS
    assert "Traceback" not in api.logs()


def test_put_off_prediction_is_an_answer_of_http_and_of_celery(api, celery):
    body = b'{"text": "a good day", "top_k": 2}'
    answer = call(api, "POST", "/predict", body, **JSON, Prefer="respond-async")
    location = answer.headers["Location"]

    told = eventually(lambda: ready(api, location))

    assert (answer.status, told["label"], len(told["scores"])) == (202, "positive", 2)
    task_id = location.rpartition("/")[2]
    assert celery.AsyncResult(task_id).get(timeout=10) == told


def test_prediction_that_timed_out_is_not_thrown_away(api, worker, celery):
    worker.pause()
    try:
        body = b'{"text": "a good day that takes long"}'
        answer = call(api, "POST", "/predict", body, **JSON, Prefer="wait=1")
    finally:
        worker.resume()

    told = eventually(lambda: ready(api, answer.headers["Location"]))

    assert (answer.status, answer.json()["code"]) == (504, "prediction_timeout")
    assert answer.headers["Location"] == f"/tasks/{answer.json()['task_id']}"
    assert told["label"] == "positive"
    assert celery.AsyncResult(answer.json()["task_id"]).get(timeout=10) == told


def ready(api, location):
    answer = call(api, "GET", location)
    assert answer.status in (200, 202)
    return answer.json() if answer.status == 200 else None
