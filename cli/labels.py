"""CLI. True labels on their way to the service: several at a time, each id's in their order."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import click

from app.errors import RequestRefused
from app.settings import Settings
from cli.client import ServiceClient, status_of
from cli.records import Source

CONNECTIONS = 8
# Sent side by side, in rows.
BATCH_ROWS = 256
LINE_EVERY_S = 5.0
OUTCOME_HEADER = "X-Feedback"
SKIPPED = "skipped"
OUTCOMES = ("recorded", "corrected", "duplicate", SKIPPED)
# Statuses that are about the row; any other is about the service.
OF_ONE_ROW = (404, 422)
NO_ROUTE = "404 not_found"
IS_OFF = "the service takes no feedback: set monitoring.feedback"


class Row(NamedTuple):
    """One row of the file, by its number from 1 on."""

    number: int
    prediction_id: str
    label: str

    @property
    def is_blank(self) -> bool:
        """Whether it has nothing to tell: no prediction, or nobody has labelled it."""
        return not (self.prediction_id.strip() and self.label.strip())


class Sent(NamedTuple):
    """What became of a row: an outcome, or why it was refused."""

    number: int
    outcome: str | None
    reason: str | None


@dataclass
class Totals:
    """What became of all rows. `reasons` has (how often, first row) for each."""

    rows: int = 0
    refused: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    reasons: dict[str, tuple[int, int]] = field(default_factory=dict)
    now: Callable[[], float] = time.monotonic
    _told_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._told_at = self.now()

    def add(self, sent: Sent) -> bool:
        """Count a row; whether it is time to tell how many there are."""
        self.rows += 1
        if sent.outcome is not None:
            self.outcomes[sent.outcome] += 1
        else:
            self.refused += 1
            reason = sent.reason or ""
            count, first = self.reasons.get(reason, (0, sent.number))
            self.reasons[reason] = (count + 1, first)
        is_time = self.now() - self._told_at >= LINE_EVERY_S
        self._told_at = self.now() if is_time else self._told_at
        return is_time

    def as_data(self) -> dict[str, Any]:
        """For machines."""
        reasons = [
            {"reason": reason, "rows": count, "first_row": first}
            for reason, (count, first) in self.reasons.items()
        ]
        counted = {"rows": self.rows, **self.outcomes, "refused": self.refused}
        return counted | {"reasons": reasons}


def send(
    settings: Settings, source: Source, label_column: str, tell: Callable[[Sent], None]
) -> None:
    """Send every row and tell what became of it, in order.

    Raises `ServiceUnreachable`, `RequestRefused` where the service has a fault, and what
    `Source.records` raises; sent again, the same file goes on where that ended.
    """
    client = ServiceClient(settings, CONNECTIONS)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for batch in _batches(_rows(source, label_column)):
            for sent in pool.map(lambda row: _send(client, row), batch):
                tell(sent)


def _send(client: ServiceClient, row: Row) -> Sent:
    if row.is_blank:
        return Sent(row.number, SKIPPED, None)
    body = {"prediction_id": row.prediction_id, "label": row.label}
    try:
        outcome = client.told("/feedback", body, OUTCOME_HEADER)
    except RequestRefused as error:
        if has_no_route(error):
            raise click.ClickException(IS_OFF) from error
        if status_of(error) not in OF_ONE_ROW:
            raise
        return Sent(row.number, None, " ".join(error.args))
    return Sent(row.number, outcome, None)


def has_no_route(error: RequestRefused) -> bool:
    """Whether the service has none that is about feedback: then it takes none."""
    return bool(error.args[0] == NO_ROUTE)


def _rows(source: Source, label_column: str) -> Iterator[Row]:
    for number, record in enumerate(source.records(), 1):
        label = record.columns.get(label_column)
        if not isinstance(label, str):
            raise source.wrong(f"row {number} has no text under {label_column!r}")
        yield Row(number, record.text, label)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows to be sent side by side: none has the id of another, so that the last one counts."""
    batch: list[Row] = []
    ids: set[str] = set()
    for row in rows:
        if len(batch) == BATCH_ROWS or (row.prediction_id in ids and not row.is_blank):
            yield batch
            batch, ids = [], set()
        batch.append(row)
        ids.add(row.prediction_id)
    if batch:
        yield batch
