"""Command lines of what `mlserve serve` starts."""

import pytest

from app.config import load
from app.monitoring.counts.directory import MULTIPROC_VARIABLE
from app.monitoring.port import SERVED_VARIABLE
from cli.processes import Processes


@pytest.mark.parametrize("with_flower", [True, False])
def test_workers_send_events_only_where_flower_listens(with_flower):
    for spec in Processes(load(environ={}), {}).workers(with_flower):
        assert ("--task-events" in spec.argv) == with_flower
        assert "-E" not in spec.argv


def test_flower_does_not_count_among_our_processes():
    processes = Processes(load(environ={}), {})

    assert MULTIPROC_VARIABLE in processes.web().environ
    assert MULTIPROC_VARIABLE not in processes.flower().environ


def test_workers_and_api_leave_the_metrics_port_to_mlserve_serve():
    processes = Processes(load(environ={}), {})

    assert all(SERVED_VARIABLE in spec.environ for spec in processes.workers(False))
    assert SERVED_VARIABLE in processes.web().environ
