"""Worker process. Posts what `app.jobs.outbox` holds: one worker at a time, until it is received.

Receivers may be told twice, for a worker can die between the answer and our note of it. They know
it by the id, which is that of the job.
"""

import logging
from collections.abc import Callable

import msgspec
import redis

from app.errors import WebhookRefused
from app.jobs import webhooks
from app.jobs.courier import Courier, PostFailed
from app.jobs.outbox import Delivery, Outbox
from app.jobs.records import Job
from app.jobs.view import describe
from app.loop import Loop
from app.monitoring.metrics import Metrics
from app.settings import Settings

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
JOIN_S = 2.0
# "Gone": the receiver wants to be told nothing more.
GONE = 410


class Webhooks:
    """The webhooks of one worker; `start` and `stop` are those of the thread that posts them."""

    def __init__(
        self,
        settings: Settings,
        client: "redis.Redis",
        now: Callable[[], float],
        courier: Courier | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._settings, self._now, self._metrics = settings, now, metrics
        self._outbox = Outbox(client, now)
        self._courier = courier or Courier(settings.jobs.webhook_allow_private)
        self._posting = Loop("webhooks", self.step, LOOK_EVERY_S)

    def start(self) -> None:
        """Post what is due from now on."""
        self._posting.start()

    def stop(self) -> None:
        """Leave the rest to other workers; what is being posted is due again after its lease."""
        self._posting.stop()
        self._posting.join(JOIN_S)

    def tell(self, job: Job) -> None:
        """Have the webhook of a job that has ended posted, once however often this is called."""
        if job.has_ended and job.spec.webhook is not None:
            body = msgspec.json.encode(describe(job, self._now()))
            self._outbox.put(job.id, job.spec.webhook, body)
            self._posting.nudge()

    def step(self) -> float | None:
        """Post the one that has been due for longest; how soon to look again."""
        delivery = self._outbox.take()
        if delivery is None:
            return None
        cause = self._attempt(delivery)
        if cause is None:
            self._outbox.close(delivery)
            self._count("delivered")
        else:
            self._try_later(delivery, cause)
            self._count("given_up" if delivery.is_last else "failed")
        return 0.0

    def _attempt(self, delivery: Delivery) -> str | None:
        """Why it is to be tried again; None where it is done."""
        secret = self._settings.jobs.webhook_secret
        if secret is None:
            return "jobs.webhook_secret is not set here"
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "mlserve",
            webhooks.ID_HEADER: delivery.job_id,
            webhooks.SIGNATURE_HEADER: webhooks.sign(delivery.body, secret, int(self._now())),
        }
        try:
            target = webhooks.target_of(delivery.url, self._settings)
            status = self._courier.post(target, delivery.body, headers)
        except (WebhookRefused, PostFailed) as error:
            return str(error)
        return None if 200 <= status < 300 or status == GONE else f"{target.host}: {status}"

    def _count(self, outcome: str) -> None:
        if self._metrics is not None:
            self._metrics.webhooks.labels(outcome).inc()

    def _try_later(self, delivery: Delivery, cause: str) -> None:
        details = {"job_id": delivery.job_id, "attempt": delivery.attempt, "cause": cause}
        if delivery.is_last:
            self._outbox.close(delivery)
            logger.error("webhook given up", extra=details)
        else:
            self._outbox.delay(delivery)
            logger.warning("webhook not received, trying again", extra=details)
