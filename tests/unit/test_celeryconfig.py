"""The delivery policy agrees with the contract and the settings."""

import ast
from pathlib import Path

import pytest
from kombu import Queue

import celeryconfig
from app.broker import make_celery
from app.contract import JOB_QUEUES, PREDICT_CHUNK, PREDICT_QUEUES, RUN_JOB_CHUNK
from app.settings import Redis, Settings
from tasks.lifecycle import interactive_first


@pytest.fixture
def celery():
    app = make_celery(Settings(redis=Redis(url="unix:///nonexistent/redis.sock")), "cli")
    yield app
    app.close()


def test_interactive_queues_come_before_job_queues():
    names = [queue.name for queue in celeryconfig.task_queues]

    assert names == [*PREDICT_QUEUES.values(), *JOB_QUEUES.values()]
    assert celeryconfig.broker_transport_options["queue_order_strategy"] == "priority"


def test_message_reaches_one_queue_only():
    assert all(queue.routing_key == queue.name for queue in celeryconfig.task_queues)
    assert all(isinstance(queue, Queue) for queue in celeryconfig.task_queues)


def test_tasks_that_name_no_queue_are_routed():
    assert celeryconfig.task_routes == {
        PREDICT_CHUNK: {"queue": PREDICT_QUEUES["cpu"]},
        RUN_JOB_CHUNK: {"queue": JOB_QUEUES["cpu"]},
    }


def test_task_is_ended_before_it_is_delivered_again():
    visible_s = celeryconfig.broker_transport_options["visibility_timeout"]

    assert Settings().worker.hard_limit_s < visible_s


def test_policy_has_settings_but_no_code():
    tree = ast.parse(Path(celeryconfig.__file__).read_text())

    kinds = {type(node) for node in tree.body}

    assert kinds == {ast.Expr, ast.ImportFrom, ast.Assign}


def test_every_setting_is_known_to_celery(celery):
    # Read by the Redis backend, but missing in Celery's table.
    known = {*celery.conf.defaults[-1], "redis_backend_health_check_interval"}
    ours = {name for name in vars(celeryconfig) if name.islower() and not name.startswith("_")}

    assert ours <= known


def test_chosen_queues_are_served_interactive_first(celery):
    celery.amqp.queues.select(["jobs.cpu", "predict.gpu", "predict.cpu"])

    interactive_first(celery)

    assert list(celery.amqp.queues.consume_from) == ["predict.cpu", "predict.gpu", "jobs.cpu"]
