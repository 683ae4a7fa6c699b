"""CLI. Keeps a handful of processes running, and leaves none behind.

Own code, because what exists does something else: honcho ends everything when one process ends,
supervisord cannot prefix lines in the foreground, circus brings a web framework and control
sockets. One thread, one loop: the kernel's parent-death signal is bound to the thread that starts a
process, and a loop that sees every line, exit and restart has nothing to lock.
"""

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from cli.child import Child, Spec

FIRST_DELAY_S = 0.2
MAX_DELAY_S = 10.0
STABLE_AFTER_S = 10.0
LOOK_EVERY_S = 0.1
MAX_ENDED = 100

Printer = Callable[[str, str], None]


class Backoff:
    """How long to wait before the next start: doubling while a process keeps ending early."""

    def __init__(self) -> None:
        self._next_s = FIRST_DELAY_S

    def delay_s(self, lived_s: float) -> float:
        """Seconds to wait after a run of `lived_s` seconds."""
        if lived_s >= STABLE_AFTER_S:
            self._next_s = FIRST_DELAY_S
        delay_s, self._next_s = self._next_s, min(self._next_s * 2, MAX_DELAY_S)
        return delay_s


@dataclass(slots=True)
class Slot:
    """The place of one process: its current run, or the time of the next."""

    spec: Spec
    child: Child | None = None
    due_at: float = 0.0
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def is_running(self) -> bool:
        """Whether its process is there and has not ended."""
        return self.child is not None and self.child.exit_status() is None


class Supervisor:
    """Starts, watches and stops processes; `printer(name, line)` gets every line.

    `start`, `run_until` and `stop` belong to one thread; `request_stop` may be called from a signal
    handler or another thread. `on_end(pid)` hears of every process that is gone; `ended` has a
    sentence for each of the last that ended without being asked to.
    """

    def __init__(self, printer: Printer, on_end: Callable[[int], None] = lambda pid: None) -> None:
        self._print = printer
        self._on_end = on_end
        self._slots: dict[str, Slot] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._selector.register(self._wake_reader, selectors.EVENT_READ, None)
        self._stop_requests = 0
        self.ended: deque[str] = deque(maxlen=MAX_ENDED)

    @property
    def stop_requested(self) -> bool:
        """Whether somebody asked for the end."""
        return self._stop_requests > 0

    def pids(self) -> dict[str, int]:
        """The running processes by name."""
        return {name: slot.child.pid for name, slot in self._slots.items() if slot.child}

    def start(self, spec: Spec) -> None:
        """Start a process and keep it running."""
        self._slots[spec.name] = Slot(spec)
        self._run(self._slots[spec.name])

    def request_stop(self) -> None:
        """Leave `run_until` soon; asked again while stopping: kill at once."""
        self._stop_requests += 1
        with suppress(OSError):
            self._wake_writer.send(b".")

    def run_until(self, condition: Callable[[], bool], timeout_s: float = float("inf")) -> bool:
        """Watch until the condition holds; False at the time limit or when asked to stop."""
        deadline = time.monotonic() + timeout_s
        while not self.stop_requested and time.monotonic() < deadline:
            if condition():
                return True
            self._read()
            for slot in self._slots.values():
                self._look_after(slot)
        return False

    def stop(self) -> None:
        """End all processes, stage by stage: SIGTERM, a grace, then SIGKILL to the group."""
        for stage in sorted({slot.spec.stage for slot in self._slots.values()}, reverse=True):
            self._stop_stage([slot for slot in self._slots.values() if slot.spec.stage == stage])
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _run(self, slot: Slot) -> None:
        try:
            slot.child = Child(slot.spec)
        except OSError as error:
            self._schedule(slot, 0.0, f"cannot be started: {error}")
            return
        self._selector.register(slot.child.output_fd, selectors.EVENT_READ, slot.child)

    def _look_after(self, slot: Slot) -> None:
        if slot.child is None:
            if time.monotonic() >= slot.due_at:
                self._run(slot)
        elif status := slot.child.exit_status():
            lived_s = slot.child.lived_s
            self._bury(slot)
            self._schedule(slot, lived_s, f"ended after {lived_s:.1f} s ({status})")

    def _schedule(self, slot: Slot, lived_s: float, what: str) -> None:
        delay_s = slot.backoff.delay_s(lived_s)
        slot.due_at = time.monotonic() + delay_s
        self.ended.append(f"{slot.spec.name} {what}")
        self._print(slot.spec.name, f"{what}; starting it again in {delay_s:.1f} s")

    def _read(self) -> None:
        for key, _ in self._selector.select(LOOK_EVERY_S):
            if key.data is None:
                self._wake_reader.recv(64)
            else:
                self._print_lines(key.data)

    def _print_lines(self, child: Child) -> None:
        try:
            for line in child.read_lines():
                self._print(child.spec.name, line)
        except EOFError:
            self._selector.unregister(child.output_fd)

    def _bury(self, slot: Slot) -> None:
        if slot.child is None:
            return
        child, slot.child = slot.child, None
        # What it started itself would keep its port: that goes too.
        child.kill()
        if child.output_fd in self._selector.get_map():
            self._print_lines(child)
        if child.output_fd in self._selector.get_map():
            self._selector.unregister(child.output_fd)
        child.close()
        self._on_end(child.pid)

    def _stop_stage(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            if slot.child is not None:
                slot.child.ask_to_stop()
        deadline = time.monotonic() + max(slot.spec.grace_s for slot in slots)
        while any(slot.is_running for slot in slots):
            if time.monotonic() >= deadline or self._stop_requests > 1:
                break
            self._read()
        for slot in slots:
            if slot.is_running:
                self._print(slot.spec.name, "does not stop; killed")
            self._bury(slot)
