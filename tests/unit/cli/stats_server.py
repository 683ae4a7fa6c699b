"""A service as far as `mlserve stats` sees it: a real HTTP server, and what its answers hold."""

import copy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

POLL_S = 0.01
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


class StatsServer:
    """Answers `/stats` with `answers` in turn, then with the last one again and again.

    An answer that is None breaks the connection off, as a process does that is ended. `enough`
    is called when the last one was given for the second time.
    """

    def __init__(self, *answers, enough=lambda: None):
        self.answers, self.enough = list(answers), enough
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=[POLL_S])

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(server):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                assert self.path == "/stats"
                told = server.answers.pop(0) if server.answers else server.last
                if not server.answers and told is getattr(server, "last", None):
                    server.enough()
                server.last = told
                if told is None:
                    self.close_connection = True
                    return
                body = json.dumps(told).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler
