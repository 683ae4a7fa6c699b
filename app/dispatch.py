"""Shared. Sends the chunks of jobs to the workers' queues.

What is lost here is sent again by a sweeper: the ledger knows what is on its way.
"""

from collections.abc import Sequence
from typing import Any

from celery import Celery

from app.contract import RUN_JOB_CHUNK, SENT_AT
from app.jobs.chunks import Chunks
from app.jobs.records import JobSpec, Ticket


class Dispatcher:
    """Publishes through one Celery app; safe for several threads."""

    def __init__(self, celery: Celery, chunks: Chunks) -> None:
        self._celery, self._chunks = celery, chunks

    def pump(self, job_id: str, spec: JobSpec) -> int:
        """Send what is to be sent of a job now, and return how many chunks that was.

        Raises redis and kombu errors.
        """
        tickets = self._chunks.feed(job_id, spec)
        if tickets:
            self._send(tickets)
        return len(tickets)

    def _send(self, tickets: Sequence[Ticket]) -> None:
        with self._celery.producer_or_acquire() as producer, producer.batch():
            for ticket in tickets:
                self._publish(producer, ticket)

    def _publish(self, producer: Any, ticket: Ticket) -> None:
        arguments = (ticket.job_id, ticket.first)
        self._celery.send_task(
            RUN_JOB_CHUNK,
            arguments,
            queue=ticket.queue,
            producer=producer,
            ignore_result=True,
            # Otherwise Celery would name the chunk that was computed before.
            root_id=ticket.job_id,
            parent_id=ticket.job_id,
            retry=False,
            headers={SENT_AT: self._chunks.ledger.now()},
            argsrepr=repr(arguments),
            kwargsrepr="{}",
        )
