"""Control commands return at once and leave a request; what it does is done elsewhere."""

import pytest

from app.settings import Models, Settings
from tasks import control, running
from tasks.requests import Requests
from tests.models import build_model


class Host:
    """What the commands see of a host, around the parts of one."""

    def __init__(self, part):
        self.redis, self.catalog, self.registry = part.client, part.catalog, part.registry
        self.reconciler, self.settings = part.reconciler, Settings(models=Models())
        self.requests = Requests()
        self.now = lambda: part.now


@pytest.fixture
def host(part, monkeypatch):
    part.step()
    host = Host(part)
    monkeypatch.setattr(running, "_hosts", [host])
    return host


def carried_out(host):
    host.requests.carry_out()
    return [row["outcome"] for row in host.requests.outcomes()]


COMMANDS = [
    (lambda: control.swap_model(None, "tiny", "v2"), "swap to tiny-v2"),
    (lambda: control.load_model(None, "tiny-v2"), "load tiny-v2"),
    (lambda: control.unload_model(None, "tiny-v2"), "unload tiny-v2"),
]


@pytest.mark.parametrize(("command", "what"), COMMANDS)
def test_command_touches_neither_redis_nor_the_disk(host, part, monkeypatch, command, what):
    class Untouchable:
        """Anything asked of it fails the test."""

        def __getattr__(self, name):
            raise AssertionError(f"{name} was asked for")

    monkeypatch.setattr(host, "redis", Untouchable())
    monkeypatch.setattr(host, "catalog", Untouchable())

    answer = command()

    assert answer == {"ok": f"{what}: asked for; `inspect registry` tells how it goes"}
    assert host.requests.outcomes() == []


@pytest.mark.parametrize(
    "command",
    [
        lambda: control.swap_model(None, "../tiny", "v1"),
        lambda: control.swap_model(None, "tiny", ""),
        lambda: control.load_model(None, "tiny"),
        lambda: control.unload_model(None, "tiny-V1"),
    ],
)
def test_name_that_is_not_allowed_is_refused_at_once(host, command):
    assert list(command()) == ["error"]
    assert carried_out(host) == []


def test_swap_begins_one_rollout_however_many_workers_got_the_broadcast(host, part):
    for _ in range(2):
        control.swap_model(None, "tiny", "v2")

    first, second = carried_out(host)

    assert first == second
    assert first.startswith("rollout ")
    (running_now,) = part.desired().rollouts.values()
    assert (running_now.ref, running_now.activate) == ("tiny-v2", True)


def test_swap_that_another_worker_has_carried_out_already_begins_nothing(host, part):
    control.swap_model(None, "tiny", "v2")
    carried_out(host)
    part.step()
    assert part.desired().active == {"tiny": "v2"}

    control.swap_model(None, "tiny", "v2")

    assert carried_out(host)[-1] == "it is active"
    assert part.desired().rollouts == {}


def test_version_that_was_just_moved_in_is_found(host, part):
    build_model(part.root, version="v3", strength=2.0)

    control.load_model(None, "tiny-v3")

    assert carried_out(host)[-1].startswith("rollout ")


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (lambda: control.swap_model(None, "tiny", "v9"), "model 'tiny-v9' does not exist"),
        (lambda: control.unload_model(None, "tiny-v1"), "tiny-v1 is active"),
    ],
)
def test_what_cannot_be_done_is_an_outcome(host, command, refusal):
    command()

    assert carried_out(host)[-1].startswith(f"refused: {refusal}")


def test_unload_is_written_down(host, part):
    control.unload_model(None, "tiny-v2")

    assert carried_out(host) == ["unloaded"]
    assert part.desired().unloaded == ["tiny-v2"]


def test_models_tells_what_is_held_as_json_types(host):
    told = control.models(None)

    assert [(row["ref"], row["status"], row["error"]) for row in told] == [
        ("tiny-v1", "ready", None),
        ("tiny-v2", "ready", None),
    ]


def test_reconcile_nudges(host, monkeypatch):
    nudged = []
    monkeypatch.setattr(host.reconciler, "nudge", lambda: nudged.append(1))

    assert control.reconcile(None) == {"ok": "looking"}
    assert nudged == [1]
