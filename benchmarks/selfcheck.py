"""Harness. Before a run: wrk against a server that remembers, so that the load is what it claims.

Takes a second. The Lua script and Python number the texts each for themselves; this holds them
together where it counts, with the wrk that makes the load.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks import wrk
from benchmarks.contenders import HOST
from benchmarks.texts import Texts
from benchmarks.wrk import Load, WrkFailed

RATE = 200.0


class Remembering(BaseHTTPRequestHandler):
    """Keeps every body; refuses each fourth request and gives every id back."""

    protocol_version = "HTTP/1.1"
    bodies: list[dict[str, Any]]

    def do_POST(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(json.loads(body))
        self.send_response(503 if len(self.bodies) % 4 == 0 else 200)
        if request_id := self.headers.get("X-Request-ID"):
            self.send_header("X-Request-ID", request_id)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def check_load(texts: Texts, text_file: Path) -> None:
    """Raises `WrkFailed` where wrk repeats a text, sends another one, or counts wrongly."""
    first = len(texts) - 20
    with _remembering() as (url, bodies):
        load = Load("/predict", 4, 1, first, batch=2, rate=RATE)
        result = wrk.run(url, load, text_file)
        sent = [text for body in bodies for text in body["texts"]]
    problems = [
        ("a text came twice", len(set(sent)) < len(sent)),
        ("not the texts asked for", not _within(sent, texts, first, result["texts_used"])),
        ("another number of requests", not 0 <= len(bodies) - result["requests"] <= 4),
        ("not the rate asked for", not 0.8 * RATE <= result["requests_per_s"] <= 1.1 * RATE),
        ("statuses", not 0.2 <= _refused_share(result) <= 0.3),
    ]
    if found := [problem for problem, is_there in problems if is_there]:
        raise WrkFailed(f"the load is not what it should be: {', '.join(found)}: {result}")


def _within(sent: list[str], texts: Texts, first: int, used: int) -> bool:
    # wrk asks the script for one request that it does not send.
    return set(sent) <= {texts.at(first + i) for i in range(used)} and len(sent) >= used - 2 * 5


def _refused_share(result: dict[str, Any]) -> float:
    counts = {status: found["count"] for status, found in result["statuses"].items()}
    return float(counts.get("503", 0) / max(sum(counts.values()), 1))


@contextmanager
def _remembering() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    handler = type("Handler", (Remembering,), {"bodies": []})
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}", handler.bodies
        finally:
            server.shutdown()
            serving.join()
