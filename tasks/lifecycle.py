"""Worker process. From start to end of a worker, as Celery's signals tell it.

Models are loaded before the first task is consumed; a worker that could not serve says so in one
sentence and ends.
"""

import logging
import signal
import sys
from typing import Any

import click
from celery import signals
from celery.concurrency import get_implementation
from celery.exceptions import WorkerShutdown
from click.core import ParameterSource

from app import logs
from app.errors import ConfigError
from app.loop import Loop
from app.models import threads
from app.models.device import choose
from app.monitoring.counts.directory import share
from app.settings import Settings
from tasks import running
from tasks.pool import TaskPool
from tasks.watchdog import Watchdog, end_when_locked

logger = logging.getLogger(__name__)

# How long a thread that computes a job may keep Python's lock from one that answers somebody; each
# answer needs it three or four times. Python's own is 5 ms.
SWITCH_INTERVAL_S = 0.001
# Whoever sends them wants the worker to end: a terminal that is closed sends the second.
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

WRONG_POOL = (
    "mlserve runs in its own thread pool and in no other: prefork children would never see model"
    " changes, and Celery's other pools lose slots; start the worker without -P/--pool"
)


class Lifecycle:
    """Connects the signals of one worker process to its host and its watchdog."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._locked = end_when_locked(settings.worker)
        self._watching: Loop | None = None

    def connect(self) -> None:
        """Receive the signals; nothing happens before Celery sends them."""
        # Not weak: nothing else refers to these methods.
        signals.setup_logging.connect(self.set_up_logging, weak=False)
        signals.worker_init.connect(self.check, weak=False)
        signals.celeryd_after_setup.connect(self.load, weak=False)
        signals.worker_ready.connect(self.announce, weak=False)

    def set_up_logging(self, **_: Any) -> None:
        """Instead of Celery's own logging."""
        logs.configure(self.settings.logging, "worker")

    def check(self, sender: Any, **_: Any) -> None:
        """Refuse what could only serve wrongly; `sender` is Celery's worker."""
        pool = get_implementation(sender.pool_cls)
        if not issubclass(pool, TaskPool) or _is_pool_given():
            _refuse(WRONG_POOL)
        visible_s = sender.app.conf.broker_transport_options["visibility_timeout"]
        if self.settings.worker.hard_limit_s >= visible_s:
            _refuse(
                f"worker.hard_limit_s = {self.settings.worker.hard_limit_s:g} must be below"
                f" visibility_timeout = {visible_s} of celeryconfig.py: tasks would run twice"
            )
        interactive_first(sender.app)

    def load(self, instance: Any, **_: Any) -> None:
        """Load the models, the default one before anything is consumed."""
        # Imports numpy: a `celery inspect` never comes here.
        from tasks.host import Host
        from tasks.job_runner import JobRunner

        queues = instance.app.amqp.queues
        try:
            # Before a metric is made.
            share(self.settings)
            device = choose(self.settings.worker.device)
            host = Host(self.settings, instance.hostname, device, lambda: list(queues.consume_from))
        except (ConfigError, OSError) as error:
            # Celery would log anything else, and go on without a host.
            _refuse(str(error))
        threads.use(threads.threads_of(self.settings.worker))
        # A dispatcher lives as long as its connection to Redis.
        runner = JobRunner(host, instance.app, lambda: instance.consumer.event_dispatcher)
        running.set_host(host, runner)
        # Not before: a worker that was refused has nothing to end.
        signals.worker_shutting_down.connect(self.leave, weak=False)
        signals.worker_shutdown.connect(self.stop, weak=False)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        # Celery's own come later.
        for number in ENDING:
            signal.signal(number, _end_while_loading)
        # Before the watchdog: a load may keep the lock as well.
        self._locked.start()
        host.start()

    def announce(self, sender: Any, **_: Any) -> None:
        """The worker consumes: others may know, and the watchdog may expect progress."""
        host, jobs = running.host(), running.jobs()
        host.announce()
        jobs.start()
        watchdog = Watchdog(
            sender.pool, self.settings.worker, host.waiting, last_words=_blame_tasks
        )
        self._watching = Loop("watchdog", watchdog.step, watchdog.every_s)
        self._watching.start()

    def leave(self, **_: Any) -> None:
        """A signal asked the worker to stop: it finishes what runs, and takes nothing new."""
        running.host().leave()
        running.jobs().leave()

    def stop(self, **_: Any) -> None:
        """The last task is done."""
        running.jobs().stop()
        running.host().stop()


def _blame_tasks() -> None:
    """For the end of a worker that hangs: not a load that is under way by chance."""
    running.host().fatal_loads.leave()
    running.jobs().blame_running()


def _end_while_loading(number: int, _: Any) -> None:
    """End by the signal; the load that it cuts short is not to blame."""
    running.host().fatal_loads.leave()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _is_pool_given() -> bool:
    """Whether somebody wrote `-P`: Celery takes `-P prefork` for the default, which is our pool."""
    context = click.get_current_context(silent=True)
    source = context and context.get_parameter_source("pool")
    return source not in (None, ParameterSource.DEFAULT)


def _refuse(sentence: str) -> None:
    print(f"mlserve: {sentence}", file=sys.stderr)
    raise WorkerShutdown(1)


def interactive_first(app: Any) -> None:
    """Consume the chosen queues in the order of celeryconfig.py, which is that of serving.

    `-Q jobs.cpu,predict.cpu` would otherwise serve jobs first.
    """
    chosen = app.amqp.queues.consume_from
    declared = [queue.name for queue in app.conf.task_queues]
    app.amqp.queues.select(sorted(chosen, key=declared.index))
