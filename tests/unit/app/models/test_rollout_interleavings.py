"""Laws of a rollout under any order of what hosts, lookers, Redis and operators do."""

import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app import fleet
from app.errors import BadInput, Unavailable
from app.fleet import BEAT_S
from app.models import rollout
from app.models.base import Ref
from tests.models import activate
from tests.unit.app.models.fleets import Host, Looker, add, outcome, stored

REFS = [f"{name}-{version}" for name in ("tiny", "other") for version in ("v1", "v2", "v3")]
HOSTS = st.integers(0, 2)
LOOKERS = st.integers(0, 1)
REFUSALS = (BadInput, Unavailable)


class Fleet(RuleBasedStateMachine):
    """Three hosts and two lookers; a host that lives beats at least every `BEAT_S` seconds."""

    client = None

    def __init__(self):
        super().__init__()
        self.client.flushall()
        self._directory = tempfile.TemporaryDirectory()
        self.root = Path(self._directory.name)
        for ref in map(Ref.parse, REFS):
            add(self.root, ref)
        activate(self.root, tiny="v1", other="v1")
        self.now, self.begun = 0.0, []
        self.hosts = [Host(self.client, self.root, f"w{n}@test") for n in range(3)]
        self.lookers = [Looker(self.client, self.root) for _ in range(2)]
        self.alive = {0: 0.0, 1: 0.0}  # when each one last beat
        for at in self.alive:
            self.hosts[at].work()
        self.generations = [0, 0]
        self.active = dict(self.lookers[0].look().active)

    def teardown(self):
        """With one host at least, every rollout comes to an end."""
        if not self.alive:
            self.start_or_die(0)
        for _ in range(40):
            if not stored(self.client).rollouts:
                break
            self.tick()
            for at in self.alive:
                self.hosts[at].work()
                self.hosts[at].advance(self.now)
        assert stored(self.client).rollouts == {}
        for begun in self.begun:
            ended = outcome(self.client, begun)
            assert ended is None or ended.state in ("done", "failed")
        self._directory.cleanup()

    @rule(who=LOOKERS, ref=st.sampled_from(REFS), moves=st.booleans())
    def begin(self, who, ref, moves):
        heard = {host.hostname for host in fleet.read(self.client).hosts}
        if heard != {self.hosts[at].hostname for at in self.alive}:
            return  # a rollout that is begun while Redis is being filled knows of fewer hosts
        with suppress(*REFUSALS):
            self.begun.append(self.lookers[who].begin(ref, now=self.now, activate=moves))

    @rule(who=LOOKERS, ref=st.sampled_from(REFS))
    def unload(self, who, ref):
        self.lookers[who].look()
        with suppress(*REFUSALS):
            rollout.unload(self.client, self.lookers[who].catalog, Ref.parse(ref))

    @rule(who=LOOKERS)
    def advance(self, who):
        self.lookers[who].advance(self.now)

    @rule(who=LOOKERS)
    def advance_by_what_was_known_before(self, who):
        """It may have ended since, or be in no Redis any more."""
        catalog, seen = self.lookers[who].catalog, fleet.read(self.client)
        rollout.advance(self.client, catalog, seen, self.now)

    @rule(at=HOSTS)
    def work(self, at):
        if at in self.alive:
            self.hosts[at].work()
            self.alive[at] = self.now

    @rule(at=HOSTS, ref=st.sampled_from(REFS))
    def break_or_mend(self, at, ref):
        self.hosts[at].broken ^= {ref}

    @rule(at=HOSTS)
    def start_or_die(self, at):
        if at in self.alive:
            self.hosts[at].die()
            del self.alive[at]
            return
        self.hosts[at] = Host(self.client, self.root, self.hosts[at].hostname)
        self.hosts[at].beat()
        self.alive[at] = self.now

    @rule()
    def tick(self):
        self.now += 1.0
        for at, beaten in self.alive.items():
            if self.now - beaten >= BEAT_S:
                self.hosts[at].beat()
                self.alive[at] = self.now

    @rule()
    def empty_redis(self):
        self.client.flushall()

    @precondition(lambda self: self.client.exists("mlserve:desired"))
    @invariant()
    def generation_never_falls_for_anybody(self):
        found = [looker.catalog.generation for looker in self.lookers]
        assert all(map(int.__le__, self.generations, found))
        self.generations = found

    @invariant()
    def name_moves_only_when_every_live_host_is_ready(self):
        newest = max((one.catalog.desired() for one in self.lookers), key=lambda d: d.generation)
        for name, version in newest.active.items():
            if self.active.get(name) != version:
                ref = f"{name}-{version}"
                assert [at for at in self.alive if not self.hosts[at].is_ready(ref)] == []
        self.active = dict(newest.active)

    @invariant()
    def what_is_active_is_neither_unloaded_nor_its_own_previous(self):
        desired = stored(self.client)
        for name, version in desired.active.items():
            assert f"{name}-{version}" not in desired.unloaded
            assert desired.previous.get(name) != version

    @invariant()
    def rollouts_are_kept_by_their_own_name(self):
        for name, running in stored(self.client).rollouts.items():
            assert Ref.parse(running.ref).name == name


def test_laws_hold_under_any_order_of_events(redis_client):
    machine = type("FleetOnRedis", (Fleet,), {"client": redis_client})

    run_state_machine_as_test(
        machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )
