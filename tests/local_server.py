"""A real HTTP server on a free port of loopback, in a thread: the base of those that tests play.

with LocalServer(SomeHandler) as server:
    ask(f"http://127.0.0.1:{server.port}/")
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

POLL_S = 0.01


class LocalServer(ThreadingHTTPServer):
    """Serves while it is entered. What handlers need to know is in attributes of a subclass."""

    daemon_threads = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.port = self.server_port
        self._thread = threading.Thread(target=self.serve_forever, args=[POLL_S])

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request, client_address):
        """Clients that leave are part of the tests."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One request; it logs nothing."""

    def answer(self, status, body):
        """Answer with `body`: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Say nothing."""
