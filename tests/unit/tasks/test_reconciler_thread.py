"""The reconciler in its thread: when a start returns, and what those who wait get."""

import threading

import pytest

from app.models import registry as registry_module
from app.models.base import Ref
from app.models.desired import DESIRED_KEY
from tests.models import build_model

V2, V3 = Ref("tiny", "v2"), Ref("tiny", "v3")


@pytest.fixture
def running(part):
    """The host with its thread."""
    part.reconciler.start()
    yield part
    part.reconciler.stop()


def test_start_returns_when_the_active_version_is_held(make_part):
    part = make_part(is_open=False)

    part.reconciler.start()
    part.reconciler.stop()

    assert part.registry.holds("tiny-v1")


def test_start_returns_when_redis_holds_what_it_cannot_understand(make_part):
    part = make_part(is_open=False)
    part.client.set(DESIRED_KEY, b"garbage")

    part.reconciler.start()
    part.reconciler.stop()

    assert part.registry.holds("tiny-v1")


def test_start_returns_when_the_first_pass_fails(make_part, monkeypatch):
    part = make_part(is_open=False)
    monkeypatch.setattr(part.registry, "reconcile", lambda *_, **__: 1 // 0)

    part.reconciler.start()
    part.reconciler.stop()

    assert part.ready() == []


def test_open_sees_a_swap_that_was_decided_since_the_start(make_part, part):
    part.step()
    late = make_part(hostname="w2@test", is_open=False)
    late.is_announced = False
    late.reconciler.start()
    assert late.ready() == ["tiny-v1"]
    part.begin(V2)
    part.step()
    assert part.desired().active == {"tiny": "v2"}

    late.reconciler.open(timeout_s=10)

    assert "tiny-v2" in late.ready()
    late.reconciler.stop()


def test_who_waits_for_a_version_gets_it_with_the_next_pass(running):
    build_model(running.root, version="v3", strength=2.0)
    running.begin(V3, activate=False)

    running.reconciler.wait_for("tiny-v3", timeout_s=10)

    assert running.registry.holds("tiny-v3")


@pytest.mark.timeout(20)
def test_who_waits_for_a_version_that_does_not_come_is_let_go(running):
    running.reconciler.wait_for("tiny-v9", timeout_s=60)

    assert not running.registry.holds("tiny-v9")


@pytest.mark.timeout(20)
def test_who_waits_for_a_version_gets_it_while_the_same_pass_still_loads_another(
    make_part, monkeypatch
):
    part = make_part(is_open=False)
    build_model(part.root, version="v3", strength=2.0)
    asked, gate = threading.Event(), threading.Event()
    before, real, held = {V2: asked, V3: gate}, registry_module.load, part.registry.holds
    part.reconciler.start()

    def load(entry, *rest):
        before[entry.ref].wait()
        return real(entry, *rest)

    def holds(ref):
        found = held(ref)
        asked.set()
        return found

    monkeypatch.setattr(registry_module, "load", load)
    monkeypatch.setattr(part.registry, "holds", holds)
    part.reconciler.open(timeout_s=10)

    part.reconciler.wait_for("tiny-v2", timeout_s=60)

    assert part.ready() == ["tiny-v1", "tiny-v2"]
    gate.set()
    part.reconciler.stop()
