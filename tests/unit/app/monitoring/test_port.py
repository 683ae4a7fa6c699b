"""One process of a machine serves `monitoring.port`, and another one when it ends."""

import threading

import pytest
import urllib3
from prometheus_client import CollectorRegistry, Counter

from app.monitoring import port as module
from app.monitoring.port import SERVED_VARIABLE, SharedPort, listen
from app.settings import Monitoring, Settings
from tests.ports import free_port
from tests.waiting import eventually


@pytest.fixture
def settings():
    return Settings(monitoring=Monitoring(port=free_port()))


def registry(name):
    made = CollectorRegistry()
    Counter(name, "help", registry=made)
    return made


def get(settings, **headers):
    url = f"http://127.0.0.1:{settings.monitoring.port}/metrics"
    return urllib3.request("GET", url, headers=headers, retries=False, timeout=5)


def served(settings):
    try:
        return get(settings).data.decode()
    except urllib3.exceptions.HTTPError:
        return ""


def is_tried():
    return "metrics port" in {thread.name for thread in threading.enumerate()}


def test_second_one_takes_over_when_the_first_ends(settings, monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    close = listen(settings, registry("first"))
    second = SharedPort(settings, registry("second"))
    second.start()
    assert "first_total" in served(settings)

    close()

    assert eventually(lambda: "second_total" in served(settings))
    second.stop()
    assert served(settings) == ""


def test_port_that_is_asked_for_in_vain_ends_at_once(settings):
    close = listen(settings, registry("first"))
    second = SharedPort(settings, registry("second"))
    second.start()

    second.stop()

    assert not is_tried()
    close()
    SharedPort(settings, registry("never")).stop()


def test_port_is_left_alone_below_mlserve_serve_which_listens_itself(settings, monkeypatch):
    monkeypatch.setenv(SERVED_VARIABLE, "1")
    port = SharedPort(settings, registry("below"))

    port.start()

    assert not is_tried()
    port.stop()


def test_process_that_leaves_tries_no_more(settings, monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 60)
    close = listen(settings, registry("first"))
    second = SharedPort(settings, registry("second"))
    second.start()

    second.leave()

    assert eventually(lambda: not is_tried())
    close()


def test_port_is_free_soon_after_its_process_has_left(settings):
    port = SharedPort(settings, registry("first"))
    port.start()
    eventually(lambda: "first_total" in served(settings))

    port.leave()

    assert eventually(lambda: served(settings) == "")


@pytest.mark.parametrize("version", ["x", "1.x.0", "1.0.0"])
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_format_is_the_one_asked_for_or_plain_text_where_its_version_is_none(
    settings, kind, version
):
    close = listen(settings, registry("first"))

    answer = get(settings, Accept=f"{kind};version={version}")

    close()
    expected = f"{kind}; version=1.0.0" if version == "1.0.0" else "text/plain; version=0.0.4"
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(expected)
    assert b"first_total" in answer.data
