"""A service as far as `mlserve stats` sees it: a real HTTP server, and what its answers hold."""

import copy

from tests.local_server import Handler, LocalServer

WORKER = {
    "hostname": "cpu1@vm", "pid": 7, "device": "cpu", "queues": ["predict.cpu", "jobs.cpu"],
    "ready": ["sentiment-v2"], "retiring": [], "failed": {"sentiment-v3": "torch is missing"},
    "memory_bytes": 224_000_000, "chunks": 100, "generation": 1, "started_at": 1.0,
}  # fmt: skip
JOB = {
    "id": "0d7f3a52-6f0e-4f5c-8a55-3a7b0a6f1c2d", "status": "in_progress",
    "model_version": "sentiment-v2", "eta_s": 65.0, "texts_per_s": 21.5,
    "request_counts": {"total": 200_000, "completed": 83_998, "failed": 2, "cancelled": 0},
}  # fmt: skip


def answer(**changes):
    """An answer of `/stats`."""
    latency = {"route": "/predict", "requests": 90, "p50_ms": 4.2, "p95_ms": 40.0, "p99_ms": 48.0}
    counts = {
        "uptime_s": 3723.0, "requests": 100, "responses": {"200": 97, "503": 3},
        "errors": {"overloaded": 3}, "latency": [latency],
        "predictions": [{"model": "sentiment", "version": "v2", "label": "positive", "texts": 9}],
        "cache": {"coalesced": 1, "hit": 41, "miss": 58},
    }  # fmt: skip
    whole = {
        "health": {"status": "ok", "reasons": []}, "counts": counts, "redis_reachable": True,
        "queue_age_s": {"predict.cpu": 1.25, "jobs.cpu": 0.0}, "drift": {},
        "queues": {"predict.cpu": 12, "jobs.cpu": 0},
        "workers": [WORKER, WORKER | {"hostname": "cpu2@vm"}], "jobs": [],
    }  # fmt: skip
    return copy.deepcopy(whole) | changes


class StatsServer(LocalServer):
    """Answers `/stats` with `answers` in turn, then with the last one again and again.

    An answer that is None breaks the connection off, as a process does that is ended. `enough`
    is called when the last one was given for the second time.
    """

    def __init__(self, *answers, enough=lambda: None):
        super().__init__(StatsHandler)
        self.answers, self.enough, self.last = list(answers), enough, None

    def next_answer(self):
        """What is answered now."""
        told = self.answers.pop(0) if self.answers else self.last
        if not self.answers and told is self.last:
            self.enough()
        self.last = told
        return told


class StatsHandler(Handler):
    """Any request but that for `/stats` is a mistake of the test."""

    def do_GET(self):
        assert self.path == "/stats"
        told = self.server.next_answer()
        if told is None:
            self.close_connection = True
        else:
            self.answer(200, told)
