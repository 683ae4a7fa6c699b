"""The whole service with the Redis user that docs/deployment.md recommends, and with less."""

import re

import pytest
import urllib3

from app.broker import make_celery
from app.settings import Redis, Settings
from tests.models import activate, build_model
from tests.processes import ROOT, ApiProcess, WorkerProcess, side_by_side
from tests.waiting import eventually

PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
(RULES,) = re.findall(r"ACL SETUSER mlserve on >PASSWORD (.*)", PAGE)
LESS = RULES.replace(" +info", "").replace(" +client|unblock", "")


def allow(redis, rules):
    """The address of `redis` for a user with these rules."""
    with redis.client() as client:
        client.execute_command("ACL", "SETUSER", "mlserve", "on", ">pw", *rules.split())
    return redis.url.replace("//", "//mlserve:pw@")


def refused(redis):
    """The commands that Redis refused, without CLIENT: redis-py tells its name, or tries to."""
    with redis.client() as client:
        return {entry["object"] for entry in client.acl_log()} - {"client", "client|setinfo"}


def call(api, method, path, **options):
    answer = urllib3.request(method, api.url + path, retries=False, timeout=10, **options)
    assert answer.status < 300, answer.data
    return answer.json()


@pytest.mark.parametrize(
    ("rules", "unneeded"),
    [(RULES, set()), (LESS, {"info", "client|unblock"})],
    ids=["recommended", "less"],
)
def test_user_with_few_rights_is_enough_for_all_that_is_served(
    rules, unneeded, tcp_redis, tmp_path
):
    url = allow(tcp_redis, rules)
    for version in ("v1", "v2"):
        build_model(tmp_path, "tiny", version)
    activate(tmp_path, tiny="v1")
    env = {"MLSERVE_DEFAULT_MODEL": "tiny", "MLSERVE_MONITORING__FEEDBACK": "true"}
    worker, api = WorkerProcess(url, tmp_path, env=env), ApiProcess(url, tmp_path, env=env)

    with side_by_side(worker, api):
        call(api, "POST", "/models/tiny/swap", json={"version": "v2"})
        answer = call(api, "POST", "/predict", json={"text": "a good day"})
        told = {"prediction_id": answer["prediction_id"], "label": "positive"}
        call(api, "POST", "/feedback", json=told)
        job = call(api, "POST", "/jobs", json={"texts": ["good", "bad"] * 500})
        eventually(lambda: call(api, "GET", f"/jobs/{job['id']}")["status"] == "completed", 30)
        for path in ("/stats", "/models/tiny-v2/drift", "/models/tiny-v2/performance"):
            call(api, "GET", path)
        with make_celery(Settings(redis=Redis(url=url)), "cli") as celery:
            pongs = celery.control.inspect(timeout=5, limit=1).ping()
        said = worker.logs() + api.logs()

    assert (answer["label"], answer["model_version"]) == ("positive", "tiny-v2")
    assert list(pongs) == [worker.hostname]
    assert "Connection to broker lost" not in said
    assert refused(tcp_redis) <= unneeded
