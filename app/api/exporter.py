"""API process. prometheus-flask-exporter with this project's metrics and bounded labels.

The exporter's own defaults put raw paths and methods, which callers choose, into labels.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from flask import Flask, Response, request
from prometheus_flask_exporter import PrometheusMetrics

from app.api.scope import STARTED
from app.line_budget import LineBudget
from app.monitoring.counts.exposition import Exposition
from app.monitoring.metrics import Metrics
from app.monitoring.port import SharedPort
from app.settings import Settings

access_logger = logging.getLogger("app.api.access")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "OTHER"
UNMATCHED = "unmatched"
MAX_READERS = 2
# Asked every few seconds by machines, which see the answer themselves.
PROBES = frozenset({"/health/live", "/health/ready", "/livez", "/readyz", "/healthz", "/metrics"})

_failures = LineBudget(max_lines=10)


class Exchange(msgspec.Struct, frozen=True):
    """A request and the status of its answer; `started` is in seconds of `time.perf_counter`.

    `details` are for the log alone.
    """

    method: str
    route: str
    status: int
    started: float
    details: Mapping[str, str] = {}

    @classmethod
    def of(cls, response: Response) -> "Exchange":
        """That of the request that Flask handles."""
        # The proxy looks the request up again at every access.
        this = request._get_current_object()  # type: ignore[attr-defined]
        status, started = response.status_code, this.environ[STARTED]
        return cls(method_of(this), route_of(this), status, started)


class Exporter(PrometheusMetrics):
    """Counts every request of an app."""

    def __init__(self, app: Flask, metrics: Metrics) -> None:
        self.metrics = metrics
        # A child is looked up in a plain dict: `labels()` takes a lock and costs as much as `inc`.
        self._counters: dict[tuple[str, str, int], Any] = {}
        self._histograms: dict[tuple[str, str], Any] = {}
        self._port: SharedPort | None = None
        self._exposition = Exposition()
        # Of their own: a scrape waits for no other request, and those who scrape for one another.
        self._readers = ThreadPoolExecutor(MAX_READERS, thread_name_prefix="metrics")
        super().__init__(app, path=None, group_by=route_of, registry=metrics.registry)

    def start(self, settings: Settings) -> None:
        """Serve `monitoring.port`, where several processes count together and none does yet."""
        if self.metrics.is_shared:
            # The first scrape reads all there is and connects to Redis: nobody should wait for it.
            self._readers.submit(self.generate_metrics)
            self._port = SharedPort(settings, self.metrics.readable())
            self._port.start()

    def stop(self) -> None:
        """This process ends because it was asked to."""
        if self._port is not None:
            self._port.stop()
        self._readers.shutdown()
        self.metrics.leave()

    def export_defaults(self, *_: Any, app: Flask, **__: Any) -> None:
        """Our two metrics instead of the exporter's four."""
        app.after_request(self._count)

    def generate_metrics(
        self, accept_header: str | None = None, names: list[str] | None = None
    ) -> tuple[str, str]:
        """The exposition and its content type; `names` is ignored, as several processes need."""
        return self._exposition.encode(self.metrics.readable(), accept_header or "")

    async def read(self, accept: str | None) -> tuple[str, str]:
        """The same, without holding the event loop up."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self.generate_metrics, accept)

    def count(self, exchange: Exchange) -> None:
        """Count one answered request."""
        method, route, status = exchange.method, exchange.route, exchange.status
        counter = self._counters.get((method, route, status))
        if counter is None:
            counter = self.metrics.requests.labels(method, route, str(status))
            self._counters[method, route, status] = counter
        histogram = self._histograms.get((method, route))
        if histogram is None:
            histogram = self.metrics.request_seconds.labels(method, route)
            self._histograms[method, route] = histogram
        took_s = time.perf_counter() - exchange.started
        self.metrics.deferred.add(counter)
        self.metrics.deferred.observe(histogram, took_s)

    def _count(self, response: Response) -> Response:
        self.count(Exchange.of(response))
        return response


def log_accesses(app: Flask, all_of_them: bool) -> None:
    """Log what `app` answers; as `log_access`."""

    def log(response: Response) -> Response:
        log_access(Exchange.of(response), all_of_them)
        return response

    app.after_request(log)


def log_access(exchange: Exchange, all_of_them: bool) -> None:
    """One line a request, without its body: errors of ours at warning, others' at info.

    Good answers have theirs at info where `all_of_them` are wanted, else at debug.
    """
    status = exchange.status
    # A line costs more than the rest of a request: a good answer is not worth one to everybody.
    level = logging.INFO if all_of_them else logging.DEBUG
    if exchange.route in PROBES:
        level = logging.DEBUG
    elif status >= 400:
        level = logging.INFO if status < 500 else logging.WARNING
    if access_logger.isEnabledFor(level):
        left_out = _failures.take((exchange.route, status)) if status >= 400 else 0
        if left_out is None:
            return
        took_ms = round((time.perf_counter() - exchange.started) * 1000, 1)
        line: dict[str, Any] = {"method": exchange.method, "route": exchange.route}
        more = {"left_out": left_out} if left_out else {}
        line |= {**exchange.details, "status": status, "ms": took_ms} | more
        access_logger.log(level, "answered", extra=line)


def method_of(of: Any) -> str:
    """The method, if it is one that HTTP knows."""
    method: str = of.method
    return method if method in METHODS else OTHER_METHOD


def route_of(of: Any) -> str:
    """The pattern of the route that matched."""
    rule = of.url_rule
    return rule.rule if rule is not None else UNMATCHED
