"""Shared. Delivery policy of Celery: what is delivered where, how often, and when it is given up.

Addresses and timeouts come from config.yaml (see app/broker.py). The reasons are measured ones:
docs/workers.md tells the failures that each setting answers.
"""

from kombu import Queue

# Interactive before bulk: queues are served strictly in this order (`queue_order_strategy` below).
# What is lost from an interactive queue is sent again by the API process, which waits for it: to
# tell Redis of every message that is taken and done would cost more than the rest of its delivery.
task_queues = [
    *(Queue(name, routing_key=name, no_ack=True) for name in ("predict.cpu", "predict.gpu")),
    *(Queue(name, routing_key=name) for name in ("jobs.cpu", "jobs.gpu")),
]
# A misspelt `-Q` stops the worker instead of making a queue that nobody fills.
task_create_missing_queues = False
# What names no queue is not interactive.
task_default_queue = "jobs.cpu"
task_default_routing_key = "jobs.cpu"
task_default_exchange = "mlserve"
# The API names the queue of the model's device; this is for everybody else.
task_routes = {
    "mlserve.predict_chunk": {"queue": "predict.cpu"},
    "mlserve.run_job_chunk": {"queue": "jobs.cpu"},
}

imports = ("tasks.predict", "tasks.jobs")

# JSON only, in both directions: a pickle from a shared Redis could run any code.
task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]
result_accept_content = ["json"]
event_serializer = "json"

# A message is done when its result is stored, not when it was taken: a lost worker loses no job,
# and no worker takes a message before it can start on it.
task_acks_late = True
# With one message per slot nothing waits behind a running task while another worker is idle.
worker_prefetch_multiplier = 1
# True would put a message that ends workers back at the head of the queue, without an end.
task_reject_on_worker_lost = False
# One write less for every task; `inspect active` shows what runs.
task_track_started = False

# Celery's own pools lose a slot, the process, or sight of the models: see docs/workers.md.
worker_pool = "tasks.pool:TaskPool"
# One process per core and one slot per process; a worker for a GPU is started with -c 2.
worker_concurrency = 1
worker_consumer = "tasks.consumer:Consumer"

# Wait for Redis for ever: a supervisor could only start the worker again.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# "Out of memory" and "read only" are answers of Redis that pass.
broker_channel_error_retry = True
broker_transport_options = {
    # Above worker.hard_limit_s, or a task would be delivered again while it still runs. What a
    # killed worker left unacknowledged comes back after this many seconds.
    "visibility_timeout": 45,
    # How often the above is looked after: every `interval * throttle` seconds; default 100 s.
    "unacked_restore_interval": 2,
    "unacked_restore_throttle": 1,
    # One list per queue instead of four: the queues are the priorities.
    "priority_steps": [0],
    "queue_order_strategy": "priority",
    # Texts as they are instead of base64: a sixth smaller, a fifth faster.
    "body_encoding": "utf-8",
    # Half-open connections are found by TCP, or by a PING after this many idle seconds.
    "socket_keepalive": True,
    "health_check_interval": 5,
}

# A worker holds on to a result while Redis restarts, is full or is read only.
result_backend_always_retry = True
result_backend_max_retries = 20
result_backend_max_sleep_between_retries_ms = 1000
result_backend_transport_options = {
    "retry_policy": {
        "max_retries": 3,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 1,
    },
    "additional_connection_errors": [
        "redis.exceptions.OutOfMemoryError",
        "redis.exceptions.ReadOnlyError",
    ],
}
redis_backend_health_check_interval = 5
# Seconds. Answers are fetched at once or not at all; Celery's day would fill Redis.
result_expires = 600
