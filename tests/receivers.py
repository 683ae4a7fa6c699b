"""A receiver of webhooks: a real HTTP or HTTPS server that keeps what it was sent."""

import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CERTIFICATES = Path(__file__).parent / "certificates"
CERTIFICATE = CERTIFICATES / "certificate.pem"
# What the certificate is for.
HOST = "hooks.example.org"
POLL_S = 0.01


@dataclass
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers with the statuses in `answers`, then with 204; `hold` is waited for before that."""

    def __init__(self, answers=(), is_tls=False):
        self.answers, self.received = list(answers), []
        self.drips = False
        self.hold = threading.Event()
        self.hold.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if is_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE, CERTIFICATES / "key.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=[POLL_S])

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(receiver):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(Received(self.path, dict(self.headers), body))
                receiver.hold.wait(30)
                status = receiver.answers.pop(0) if receiver.answers else 204
                if receiver.drips:
                    self.drip()
                    return
                self.send_response(status)
                self.send_header("Location", f"http://{self.headers['Host']}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def drip(self):
                pause = threading.Event()
                while not self.wfile.closed:
                    try:
                        self.wfile.write(b"H")
                    except OSError:
                        return
                    pause.wait(0.02)

            def log_message(self, *_):
                """Say nothing."""

        return Handler
