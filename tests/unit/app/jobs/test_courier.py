"""Posting a webhook: to checked addresses alone, over real connections."""

import ipaddress
import socket
import ssl
import threading

import pytest

from app.jobs import courier
from app.jobs.courier import Courier, PostFailed
from app.jobs.webhooks import Target
from tests.receivers import CERTIFICATE, HOST, Receiver

LOOPBACK = "127.0.0.1"
PUBLIC = "93.184.216.34"
BODY = b'{"id":"a job"}'


def at(*addresses):
    """Name resolution, the one thing here that is not real."""
    return lambda host, port: [ipaddress.ip_address(address) for address in addresses]


def post(receiver, *addresses, scheme="http", host=HOST, private=True, path="/hook?a=b"):
    target = Target(scheme, host, receiver.port, path)
    resolve = at(*(addresses or [LOOPBACK]))
    return Courier(private, resolve).post(target, BODY, {"X-Test": "1"})


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def secure():
    with Receiver(is_tls=True) as receiver:
        yield receiver


@pytest.fixture
def trusted(monkeypatch):
    """The receiver's certificate is that of an authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


def test_receiver_gets_body_headers_and_its_own_name(receiver):
    assert post(receiver) == 204

    (seen,) = receiver.received
    assert (seen.path, seen.body) == ("/hook?a=b", BODY)
    assert seen.headers["Host"] == f"{HOST}:{receiver.port}"
    assert seen.headers["X-Test"] == "1"


@pytest.mark.parametrize("status", [301, 307, 308, 404, 500])
def test_other_answers_are_told_and_redirects_not_followed(receiver, status):
    receiver.answers = [status]

    assert post(receiver) == status
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    "addresses",
    [(LOOPBACK,), (PUBLIC, LOOPBACK), (LOOPBACK, PUBLIC), ("10.0.0.1",), ("::ffff:127.0.0.1",)],
    ids=str,
)
def test_host_with_a_private_address_is_not_connected_to(receiver, addresses):
    with pytest.raises(PostFailed, match="which is not allowed"):
        post(receiver, *addresses, scheme="https", private=False)

    assert receiver.received == []


def test_plain_http_reaches_no_public_address(receiver):
    with pytest.raises(PostFailed, match=f"{PUBLIC}, which is not allowed"):
        post(receiver, PUBLIC)


def test_name_is_resolved_once_and_the_connection_goes_to_that_answer(receiver):
    asked = []

    def rebinding(host, port):
        asked.append(host)
        return at(LOOPBACK if len(asked) == 1 else PUBLIC)(host, port)

    target = Target("http", "a.name.that.exists.nowhere", receiver.port, "/")

    assert Courier(True, rebinding).post(target, BODY, {}) == 204
    assert asked == ["a.name.that.exists.nowhere"]


def test_next_address_is_tried_where_nobody_listens(receiver):
    assert post(receiver, "127.0.0.2", LOOPBACK) == 204


def test_https_checks_the_certificate_against_the_name(secure, trusted):
    assert post(secure, scheme="https") == 204

    with pytest.raises(PostFailed, match="not valid for"):
        post(secure, scheme="https", host="other.example.org")
    assert len(secure.received) == 1


def test_certificate_of_nobody_is_refused(secure):
    with pytest.raises(PostFailed, match="CERTIFICATE_VERIFY_FAILED"):
        post(secure, scheme="https")

    assert secure.received == []


def test_certificate_is_good_for_years():
    end = ssl._ssl._test_decode_cert(str(CERTIFICATE))["notAfter"]

    assert ssl.cert_time_to_seconds(end) > 4_000_000_000


def test_nobody_there_is_told_without_the_path():
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        target = Target("http", HOST, listener.getsockname()[1], "/secret")

        with pytest.raises(PostFailed, match=HOST) as failed:
            Courier(True, at(LOOPBACK)).post(target, BODY, {})

    assert "secret" not in str(failed.value)


def test_name_that_does_not_exist_is_told():
    target = Target("https", "nowhere.invalid", 443, "/")

    with pytest.raises(PostFailed, match=r"nowhere\.invalid cannot be resolved"):
        Courier(False).post(target, BODY, {})


def test_system_resolves_names():
    assert ipaddress.ip_address(LOOPBACK) in courier.resolve("localhost", 80)


def test_receiver_has_its_own_time_for_its_answer(receiver, monkeypatch):
    monkeypatch.setattr(courier, "CONNECT_TIMEOUT_S", 0.2)
    receiver.hold.clear()
    answering = threading.Timer(0.6, receiver.hold.set)
    answering.start()

    assert post(receiver) == 204
    answering.join()


def test_receiver_that_never_comes_to_an_end_is_cut_off(receiver, monkeypatch):
    monkeypatch.setattr(courier, "MAX_POST_S", 0.3)
    receiver.drips = True

    with pytest.raises(PostFailed):
        post(receiver)
