"""The supervisor against tiny real processes: lines, restarts, order of stopping, nothing left."""

import os
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest

from cli.child import Spec
from cli.supervisor import FIRST_DELAY_S, MAX_DELAY_S, STABLE_AFTER_S, Backoff, Supervisor

FOREVER = "print('up', flush=True); import time; time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {FOREVER}"
WITH_CHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', "import time; time.sleep(600)"])
print('child', child.pid, flush=True)
{FOREVER}
"""


class Lines:
    """Remembers what the supervisor prints."""

    def __init__(self):
        self.seen = []

    def __call__(self, name, line):
        self.seen.append((name, line))

    def of(self, name):
        return [line for seen, line in self.seen if seen == name]


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def supervisor(lines):
    supervisor = Supervisor(lines)
    yield supervisor
    supervisor.stop()


def python(name, code, **more):
    return Spec(name, [sys.executable, "-c", code], Path.cwd(), dict(os.environ), **more)


def is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_lines_arrive_with_the_name_of_their_process(supervisor, lines):
    supervisor.start(python("a", f"import sys; print('to stderr', file=sys.stderr); {FOREVER}"))
    supervisor.start(python("b", "print('no newline at the end', end='')"))

    assert supervisor.run_until(lambda: len(lines.seen) >= 4, 10)

    assert lines.of("a") == ["to stderr", "up"]
    assert lines.of("b")[0] == "no newline at the end"


def test_killed_process_is_started_again_with_a_growing_delay(supervisor, lines):
    supervisor.start(python("a", FOREVER))
    assert supervisor.run_until(lambda: lines.of("a") == ["up"], 10)
    first = supervisor.pids()["a"]

    os.kill(first, signal.SIGKILL)

    assert supervisor.run_until(lambda: lines.of("a").count("up") == 2, 10)
    assert supervisor.pids()["a"] != first
    os.kill(supervisor.pids()["a"], signal.SIGKILL)
    assert supervisor.run_until(lambda: lines.of("a").count("up") == 3, 10)
    ended = [line for line in lines.of("a") if "ended" in line]
    assert "SIGKILL" in ended[0]
    assert [line.rpartition("again in ")[2] for line in ended] == ["0.2 s", "0.4 s"]


def test_one_process_that_ends_leaves_the_others_running(supervisor, lines):
    supervisor.start(python("steady", FOREVER))
    supervisor.start(python("brief", "raise SystemExit(3)"))

    assert supervisor.run_until(lambda: len(lines.of("brief")) >= 2, 10)

    assert "exit code 3" in lines.of("brief")[0]
    assert lines.of("steady") == ["up"]


def test_program_that_does_not_exist_is_reported_and_tried_again(supervisor, lines):
    supervisor.start(Spec("a", ["/nonexistent/program"], Path.cwd(), {}))

    assert supervisor.run_until(lambda: len(lines.of("a")) >= 2, 10)

    assert "cannot be started" in lines.of("a")[0]


def test_what_a_dead_process_had_started_is_ended_too(supervisor, lines):
    supervisor.start(python("a", WITH_CHILD))
    assert supervisor.run_until(lambda: len(lines.of("a")) == 2, 10)
    grandchild = int(lines.of("a")[0].split()[1])

    os.kill(supervisor.pids()["a"], signal.SIGKILL)

    assert supervisor.run_until(lambda: is_gone(grandchild), 10)


def test_stop_ends_higher_stages_first(lines):
    said = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye')))"
    supervisor = Supervisor(lines)
    for name, stage in (("redis", 0), ("web", 2), ("worker", 1)):
        supervisor.start(python(name, f"{said}; {FOREVER}", stage=stage))
    assert supervisor.run_until(lambda: len(lines.seen) == 3, 10)

    supervisor.stop()

    assert [name for name, line in lines.seen if line == "bye"] == ["web", "worker", "redis"]


def test_stop_kills_what_ignores_sigterm(lines):
    supervisor = Supervisor(lines)
    supervisor.start(python("a", DEAF, grace_s=0.3))
    assert supervisor.run_until(lambda: lines.of("a") == ["up"], 10)
    pid = supervisor.pids()["a"]

    supervisor.stop()

    assert is_gone(pid)
    assert lines.of("a")[-1] == "does not stop; killed"


def test_second_request_to_stop_kills_at_once(lines):
    supervisor = Supervisor(lines)
    supervisor.start(python("a", DEAF, grace_s=60))
    assert supervisor.run_until(lambda: lines.of("a") == ["up"], 10)
    pid = supervisor.pids()["a"]

    supervisor.request_stop()
    threading.Timer(0.3, supervisor.request_stop).start()
    supervisor.stop()

    assert is_gone(pid)


def test_request_to_stop_ends_a_wait_from_another_thread(supervisor):
    threading.Timer(0.1, supervisor.request_stop).start()

    assert supervisor.run_until(lambda: False, 30) is False
    assert supervisor.stop_requested


def test_killed_supervisor_takes_its_processes_along(tmp_path, lines, supervisor):
    code = f"""
import sys
from pathlib import Path
from cli.child import Spec
from cli.supervisor import Supervisor
inner = Supervisor(lambda name, line: print('inner', inner.pids()['a'], flush=True))
inner.start(Spec('a', [sys.executable, '-c', {FOREVER!r}], Path.cwd(), {{}}))
inner.run_until(lambda: False)
"""
    supervisor.start(python("outer", code))
    assert supervisor.run_until(lambda: lines.of("outer"), 10)
    inner = int(lines.of("outer")[0].split()[1])

    os.kill(supervisor.pids()["outer"], signal.SIGKILL)

    assert supervisor.run_until(lambda: is_gone(inner), 10)


def test_backoff_doubles_up_to_its_limit_and_forgets_after_a_stable_run():
    backoff = Backoff()

    delays = [backoff.delay_s(0.1) for _ in range(8)]

    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, MAX_DELAY_S, MAX_DELAY_S]
    assert backoff.delay_s(STABLE_AFTER_S) == FIRST_DELAY_S
