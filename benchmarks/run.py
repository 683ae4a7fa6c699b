"""Harness. `python -m benchmarks.run`: all contenders, round by round, and one page of figures."""

import fcntl
import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import environments, floors, machine, medians, report, targets
from benchmarks.contenders import CONTENDERS, EMPTY, Contender, Place
from benchmarks.paths import STATE
from benchmarks.plan import FLOORS, Plan, parse
from benchmarks.running import Running, StartFailed
from benchmarks.scenarios import Session
from benchmarks.selfcheck import check_load
from benchmarks.servers.model import Model
from benchmarks.texts import load_texts, text_file
from benchmarks.wrk import WrkFailed, WrkMissing, allow_many_files, find_wrk

FIRST_PORT = 18000
PORTS_EACH = 10
FLOOR_SECONDS = 1.0
INTERRUPTED = 128 + signal.SIGINT
NAMED_VERSIONS = ("celery", "fastapi", "Flask", "granian", "gunicorn", "litserve", "mosec")


@dataclass
class Run:
    """The figures so far; `failed` has the reasons of contenders that could not be measured."""

    plan: Plan
    started_at: str = field(
        default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    )
    rounds: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    failed: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.texts, self.source = load_texts()
        self.text_file = text_file(self.texts)
        self.machine = machine.describe()
        self.pythons = {name: environments.prepare(_home(name)) for name in self.plan.contenders}
        self._model = Model(self.plan.models_dir, self.plan.ref)

    def make(self) -> None:
        """All rounds; in each, every contender once."""
        for number in range(1, self.plan.rounds + 1):
            results: dict[str, dict[str, Any]] = {}
            self.rounds.append(results)
            for index, name in enumerate(self.plan.contenders):
                say(f"round {number} of {self.plan.rounds}: {name}")
                try:
                    self._one(name, self._place(index, name), results)
                except (StartFailed, WrkFailed, OSError) as error:
                    self.failed.setdefault(name, []).append(str(error)[:300])
                    say(f"  failed: {error}")

    def _one(self, name: str, place: Place, results: dict[str, Any]) -> None:
        if name == "bare":
            everywhere = len(os.sched_getaffinity(0))
            for title, processes in (("one-core", 1), ("all-cores", everywhere)):
                found = floors.bare_loop(place, self.text_file, FLOOR_SECONDS, processes)
                results.setdefault(name, {})[title] = found
            return
        contender = (CONTENDERS | EMPTY)[name]
        with Running(contender, place) as running:
            seconds = self.plan.seconds
            session = Session(running, self.texts, self.text_file, self._model.many, seconds)
            results[name] = session.results
            self._session(session, contender)

    def _session(self, session: Session, contender: Contender) -> None:
        if contender.name in EMPTY:
            session.reference = lambda texts: [{"label": "neutral", "confidence": 1.0}] * len(texts)
        session.check()
        for connections in self.plan.connections:
            session.singles(connections)
        extras = self.plan.extras if contender.is_mlserve else []
        steps = {
            "cache": session.cache_hits,
            "batch": session.batches,
            "overload": session.overload,
        }
        for extra in extras:
            steps[extra]()
        for scenario, result in session.results.items():
            if "good_per_s" in result:
                say(f"  {scenario}: {result['good_per_s']:.0f}/s, p50 {result['p50_ms']:.2f} ms")

    def _place(self, index: int, name: str) -> Place:
        return Place(
            python=self.pythons[name],
            port=FIRST_PORT + PORTS_EACH * index,
            home=STATE / "run" / name,
            models_dir=Path(self.plan.models_dir),
            ref=self.plan.ref,
            settings=self.plan.settings if name == "mlserve" else {},
        )

    def report(self) -> dict[str, Any]:
        """Everything that is written to results.json."""
        found = medians.over_rounds(self.rounds)
        return {
            "started_at": self.started_at,
            "commit": machine.commit(),
            "machine": self.machine,
            "plan": asdict(self.plan) | {"texts": len(self.texts), "source": self.source},
            "contenders": {name: self._describe(name) for name in self.plan.contenders},
            "rounds_done": len(self.rounds),
            "targets": targets.judge(found),
            "medians": found,
            "failed": self.failed,
            "rounds": self.rounds,
        }

    def _describe(self, name: str) -> dict[str, Any]:
        installed = environments.versions(self.pythons[name])
        known = {"bare": "the model in a loop, no server"}
        return {
            "what": known.get(name) or (CONTENDERS | EMPTY)[name].what,
            "versions": [f"{p} {installed[p]}" for p in NAMED_VERSIONS if p in installed],
            "installed": installed,
        }


def _home(name: str) -> str:
    return "mlserve" if name in FLOORS else name


def write(found: dict[str, Any], output: Path) -> None:
    """results.json and results.md in `output`."""
    output.mkdir(parents=True, exist_ok=True)
    page = report.markdown(found)
    (output / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (output / "results.md").write_text(page, encoding="utf-8")
    print(page)
    say(f"written to {output}")


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and write the page, also of what was measured before Ctrl-C."""
    plan = parse()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        find_wrk()
    except WrkMissing as error:
        say(str(error))
        return 2
    allow_many_files()
    STATE.mkdir(exist_ok=True)
    lock = (STATE / "lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"another run is under way (it holds {lock.name})")
        return 2
    with lock:
        return _measure(plan)


def _measure(plan: Plan) -> int:
    run = Run(plan)
    check_load(run.texts, run.text_file)
    code = 0
    try:
        run.make()
    except KeyboardInterrupt:
        say("interrupted; writing what there is")
        code = INTERRUPTED
    write(run.report(), Path(plan.output))
    return code or int(bool(run.failed))


if __name__ == "__main__":
    sys.exit(main())
