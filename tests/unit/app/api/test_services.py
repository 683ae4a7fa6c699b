"""What the views work with, from its making to its end."""

import threading

from app.api import create_app
from app.api.services import services_of
from app.settings import Redis, Settings
from tests.waiting import eventually


def test_closing_ends_the_threads_and_connections_of_all_that_was_asked(
    redis_server, redis_client, settings
):
    redis_client.ping()
    before, connections = set(threading.enumerate()), len(redis_client.client_list())
    app = create_app(Settings(models_dir=settings.models_dir, redis=Redis(url=redis_server.url)))
    client = app.test_client()
    for path in ("/models/sentiment-v2/drift", "/stats", "/metrics", "/jobs", "/rollouts/none"):
        client.get(path)
    services = services_of(app)
    services.exporter._readers.submit(int).result()

    services.close()

    assert set(threading.enumerate()) == before
    eventually(lambda: len(redis_client.client_list()) == connections)
