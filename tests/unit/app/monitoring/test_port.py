"""One process of a machine serves `monitoring.port`, and another one when it ends."""

import threading

import pytest
import urllib3
from prometheus_client import CollectorRegistry, Counter

from app.monitoring import port as module
from app.monitoring.port import SharedPort, listen
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


def served(settings):
    try:
        url = f"http://127.0.0.1:{settings.monitoring.port}/metrics"
        return urllib3.request("GET", url, retries=False, timeout=5).data.decode()
    except urllib3.exceptions.HTTPError:
        return ""


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

    assert "metrics port" not in {thread.name for thread in threading.enumerate()}
    close()
    SharedPort(settings, registry("never")).stop()
