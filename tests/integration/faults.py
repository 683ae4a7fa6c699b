"""Tasks and a control command that do to a worker what must not hurt it; loaded with --include."""

import logging
import os
import re
import threading
from pathlib import Path

from celery.worker.control import control_command

from tasks import app
from tasks.guarded import GuardedTask
from tests.waiting import eventually

logger = logging.getLogger(__name__)

if "FAULTS_VISIBILITY_TIMEOUT_S" in os.environ:
    app.conf.broker_transport_options = {
        **app.conf.broker_transport_options,
        "visibility_timeout": float(os.environ["FAULTS_VISIBILITY_TIMEOUT_S"]),
    }


@app.task(name="faults.echo")
def echo(value):
    """Prove that a slot is free."""
    return value


@app.task(name="faults.echo_guarded", base=GuardedTask)
def echo_guarded(value):
    """The same, as our own tasks are."""
    return value


@app.task(name="faults.raise_memory_error")
def raise_memory_error():
    """Escapes Celery's tracer."""
    raise MemoryError


@app.task(name="faults.raise_memory_error_guarded", base=GuardedTask)
def raise_memory_error_guarded():
    """What one of our own tasks does when memory is short."""
    raise MemoryError


@app.task(name="faults.raise_system_exit")
def raise_system_exit():
    """Escapes Celery's tracer."""
    raise SystemExit(3)


@app.task(name="faults.hold")
def hold(directory, name="hold"):
    """Run until the test writes `<name>.release`; a line in `<name>.started` for each attempt."""
    with (Path(directory) / f"{name}.started").open("a") as started:
        started.write(f"{os.getpid()}\n")
    eventually((Path(directory) / f"{name}.release").exists, timeout_s=60)
    return name


@app.task(name="faults.keep_lock")
def keep_lock():
    """No other thread of Python runs meanwhile, and it takes longer than the universe is old."""
    re.match(r"(a+)+$", "a" * 100 + "b")


@control_command()
def hang(state):
    """Stop the thread that takes messages, for ever."""
    logger.warning("takes no more messages")
    threading.Event().wait()
