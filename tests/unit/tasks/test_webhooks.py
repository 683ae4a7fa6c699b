"""The end of a job is posted, signed, until it is received."""

import hashlib
import hmac
import ipaddress
import json
import re
from pathlib import Path

import msgspec
import pytest

from app.jobs.courier import Courier
from app.jobs.keys import WEBHOOKS_KEY
from app.jobs.outbox import LEASE_S, MAX_ATTEMPTS
from app.jobs.records import Counts, Job
from app.monitoring.metrics import Metrics
from app.settings import Jobs, Settings
from tasks.webhooks import Webhooks
from tests.receivers import HOST, Receiver
from tests.unit.app.jobs.jobs import SPEC, Clock
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]
SECRET = "correct-horse-battery-staple"
MORE_S = 4000.0  # longer than any pause


class Told:
    """A worker's webhooks, a receiver, and the jobs of which it is told."""

    def __init__(self, client, receiver):
        self.client, self.receiver, self.clock = client, receiver, Clock()
        self.webhooks = self.worker()

    def worker(self, **limits):
        jobs = Jobs(
            **{"webhook_allow": [HOST], "webhook_secret": SECRET, "webhook_allow_private": True}
            | limits
        )
        courier = Courier(True, lambda host, port: [ipaddress.ip_address("127.0.0.1")])
        return Webhooks(Settings(jobs=jobs), self.client, self.clock, courier)

    def job(self, status="completed", webhook=None):
        url = webhook or f"http://{HOST}:{self.receiver.port}/hook"
        return Job(
            id="11111111-2222-3333-4444-555555555555",
            spec=msgspec.structs.replace(SPEC, webhook=url),
            status=status,
            counts=Counts(total=2, succeeded=2),
            created_at=self.clock.now_s - 5,
            started_at=self.clock.now_s - 4,
            ended_at=self.clock.now_s,
            expires_at=self.clock.now_s + 60,
        )

    def waiting(self):
        return self.client.zcard(WEBHOOKS_KEY)


@pytest.fixture
def told(redis_client):
    with Receiver() as receiver:
        yield Told(redis_client, receiver)


def test_end_of_a_job_is_posted_as_the_job_with_id_and_signature(told):
    told.webhooks.tell(told.job())

    assert told.webhooks.step() == 0.0

    (seen,) = told.receiver.received
    body = json.loads(seen.body)
    assert (body["id"], body["status"]) == (told.job().id, "completed")
    assert body["request_counts"]["completed"] == 2
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.headers["X-Mlserve-Webhook-Id"] == told.job().id
    signed = b"1800000000." + seen.body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert seen.headers["X-Mlserve-Signature"] == f"t=1800000000,v1={expected}"
    assert told.waiting() == 0
    assert told.webhooks.step() is None


def test_receiver_of_the_documentation_knows_good_posts_from_bad(told):
    page = (ROOT / "docs/webhooks.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    names = {}
    exec(code, names)  # noqa: S102 - it is ours
    told.webhooks.tell(told.job())
    told.webhooks.step()
    (seen,) = told.receiver.received
    given = (seen.headers["X-Mlserve-Signature"], SECRET, told.clock.now_s + 10)

    assert names["is_genuine"](seen.body, *given)

    assert not names["is_genuine"](seen.body + b" ", *given)
    assert not names["is_genuine"](seen.body, given[0], "another secret", given[2])
    assert not names["is_genuine"](seen.body, given[0], SECRET, told.clock.now_s + 301)


@pytest.mark.parametrize("status", ["in_progress", "cancelling"])
def test_nothing_is_posted_before_the_end(told, status):
    told.webhooks.tell(told.job(status))

    assert told.waiting() == 0


def test_nothing_is_posted_without_an_address(told):
    told.webhooks.tell(msgspec.structs.replace(told.job(), spec=SPEC))

    assert told.waiting() == 0


def test_end_that_is_told_by_every_worker_is_posted_once(told):
    other = told.worker()
    for one in (told.webhooks, other):
        one.tell(told.job())
        one.step()
    told.webhooks.tell(told.job())

    assert told.webhooks.step() is None
    assert len(told.receiver.received) == 1


@pytest.mark.parametrize("status", [301, 404, 429, 500])
def test_post_that_was_not_received_is_tried_again_with_the_same_body(told, status):
    told.receiver.answers = [status]
    told.webhooks.tell(told.job())
    told.webhooks.step()
    assert told.webhooks.step() is None

    told.clock.now_s += 5
    told.webhooks.step()

    first, second = told.receiver.received
    assert first.body == second.body
    assert first.headers["X-Mlserve-Webhook-Id"] == second.headers["X-Mlserve-Webhook-Id"]
    assert first.headers["X-Mlserve-Signature"] != second.headers["X-Mlserve-Signature"]
    assert told.waiting() == 0


def test_post_of_a_worker_that_died_is_made_by_another(told):
    told.webhooks.tell(told.job())
    told.webhooks._outbox.take()

    told.clock.now_s += LEASE_S
    told.worker().step()

    assert len(told.receiver.received) == 1
    assert told.waiting() == 0


def test_attempts_are_counted_by_what_came_of_them(told):
    told.webhooks._metrics = metrics = Metrics()
    told.receiver.answers = [500]
    told.webhooks.tell(told.job())

    for _ in range(2):
        told.webhooks.step()
        told.clock.now_s += MORE_S

    rows = metrics.webhooks.collect()[0].samples
    counted = {row.labels["outcome"]: row.value for row in rows}
    assert counted == {"delivered": 1, "failed": 1, "given_up": 0}


def test_receiver_that_is_gone_is_told_nothing_more(told):
    told.receiver.answers = [410]
    told.webhooks.tell(told.job())
    told.webhooks.step()

    assert told.waiting() == 0


def test_receiver_that_never_answers_well_is_given_up_with_a_line(told, caplog):
    told.receiver.answers = [500] * (MAX_ATTEMPTS + 1)
    told.webhooks.tell(told.job())
    while told.waiting():
        told.webhooks.step()
        told.clock.now_s += MORE_S

    assert len(told.receiver.received) == MAX_ATTEMPTS
    assert caplog.messages[-1] == "webhook given up"
    assert "/hook" not in "".join(record.cause for record in caplog.records)


def test_host_that_is_allowed_no_more_is_not_told(told):
    told.webhooks.tell(told.job())

    told.worker(webhook_allow=["other.example.org"]).step()

    assert told.receiver.received == []
    assert told.waiting() == 1


def test_private_address_is_not_told_by_default(told):
    told.webhooks.tell(told.job(webhook=f"https://{HOST}:{told.receiver.port}/"))

    strict = told.worker(webhook_allow_private=False)
    strict._courier = Courier(False, told.webhooks._courier._resolve)
    strict.step()

    assert told.receiver.received == []
    assert told.waiting() == 1


def test_thread_posts_as_soon_as_it_is_told(told):
    told.webhooks.start()
    told.webhooks.tell(told.job())

    eventually(lambda: told.receiver.received)
    eventually(lambda: not told.waiting())
    told.webhooks.stop()
