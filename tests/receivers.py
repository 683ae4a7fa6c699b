"""A receiver of webhooks: a real HTTP or HTTPS server that keeps what it was sent."""

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.local_server import Handler, LocalServer

CERTIFICATES = Path(__file__).parent / "certificates"
CERTIFICATE = CERTIFICATES / "certificate.pem"
# What the certificate is for.
HOST = "hooks.example.org"


@dataclass
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver(LocalServer):
    """Answers with the statuses in `answers`, then with 204; `hold` is waited for before that."""

    def __init__(self, answers=(), is_tls=False):
        super().__init__(ReceiverHandler)
        self.answers, self.received = list(answers), []
        self.drips = False
        self.hold = threading.Event()
        self.hold.set()
        if is_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE, CERTIFICATES / "key.pem")
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def __exit__(self, *_):
        self.hold.set()
        super().__exit__()


class ReceiverHandler(Handler):
    """One webhook."""

    def do_POST(self):
        receiver = self.server
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
        """An answer that never ends, until the client leaves."""
        pause = threading.Event()
        while not self.wfile.closed:
            try:
                self.wfile.write(b"H")
            except OSError:
                return
            pause.wait(0.02)
