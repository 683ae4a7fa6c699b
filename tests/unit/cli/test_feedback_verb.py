"""`mlserve feedback` before the real application, which holds its model itself."""

import json
import threading

import pytest
import yaml
from click.testing import CliRunner
from werkzeug.serving import make_server

from app.api import create_app
from app.api.services import services_of
from app.inference.local import LocalGateway
from app.models.catalog import Catalog
from app.models.registry import Registry
from app.settings import Limits, Monitoring, Redis, Settings
from cli.main import main
from tests.models import build_model

HEADER = "prediction_id,label"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    build_model(root, "sentiment", "v1")
    registry = Registry(Limits(), "cpu")
    registry.reconcile(Catalog(root, "sentiment").entries(fresh=True))
    return root, LocalGateway(registry, max_batch_size=32)


@pytest.fixture
def serve(gateway, redis_server, redis_client):
    """Serves an app, and runs the command line before it."""
    root, local = gateway
    stops = []

    def run_before(**monitoring):
        settings = Settings(
            models_dir=str(root),
            redis=Redis(url=redis_server.url),
            monitoring=Monitoring(enabled=False, **monitoring),
        )
        app = create_app(settings, local)
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        stops.append((server, thread, app))
        return Caller(app, server.port)

    yield run_before
    for server, thread, app in stops:
        server.shutdown()
        thread.join()
        server.server_close()
        services_of(app).close()


class Caller:
    """The command line, and the application for what it does not do."""

    def __init__(self, app, port):
        self.client, self.port = app.test_client(), port

    def ids(self, *texts):
        rows = self.client.post("/batch-predict", json={"texts": texts}).json["predictions"]
        return [row["prediction_id"] for row in rows]

    def run(self, directory, *args, content=None):
        config, file = directory / "config.yaml", directory / "labels.csv"
        config.write_text(yaml.safe_dump({"server": {"port": self.port}}))
        if content is not None:
            file.write_text("\n".join(content))
            args = (str(file), *args)
        return CliRunner().invoke(main, ["--config", str(config), "feedback", *args])


@pytest.fixture
def service(serve):
    return serve(feedback=True, feedback_min_texts=3)


def test_labels_of_a_file_count_once(service, tmp_path):
    good, bad, odd = service.ids("good day", "bad night", "table chair")
    content = [HEADER, f"{good},positive", f"{bad},positive", f"{odd},", ",negative"]

    first = service.run(tmp_path, content=content)
    again = service.run(tmp_path, content=content)

    assert (first.exit_code, again.exit_code) == (0, 0)
    assert first.stdout == "4 rows: 2 recorded, 0 corrected, 0 duplicate, 2 skipped\n"
    assert again.stdout == "4 rows: 0 recorded, 0 corrected, 2 duplicate, 2 skipped\n"


def test_last_row_of_an_id_counts(service, tmp_path):
    (good,) = service.ids("good day")
    labels = ["positive", "negative"] * 10

    result = service.run(tmp_path, content=[HEADER, *(f"{good},{label}" for label in labels)])

    assert "1 recorded, 19 corrected" in result.stdout
    shown = json.loads(service.run(tmp_path, "--show", "v1", "--json").stdout)
    assert shown["windows"][0]["figures"][0]["live"] == 0.0


def test_refused_rows_are_told_with_their_reasons(service, tmp_path):
    (good,) = service.ids("good day")
    content = [HEADER, f"{good},positive", "nothing,positive", f"{good},great", "no,positive"]

    result = service.run(tmp_path, content=content)
    told = service.run(tmp_path, "--json", content=content)

    assert result.exit_code == told.exit_code == 1
    assert "4 rows: 1 recorded, 0 corrected, 0 duplicate, 0 skipped, 3 refused" in result.stdout
    assert "2 times, first in row 2: 404 prediction_not_found" in result.stdout
    assert "1 times, first in row 3: 422 invalid_fields label: Must be a label" in result.stdout
    counted = json.loads(told.stdout)
    assert (counted["duplicate"], counted["refused"], len(counted["reasons"])) == (1, 3, 2)


def test_performance_is_shown_in_a_table(service, tmp_path):
    ids = service.ids("good day", "bad night", "table chair")
    truth = ["positive", "negative", "neutral"]
    rows = [f"{one},{label}" for one, label in zip(ids, truth, strict=True)]
    service.run(tmp_path, content=[HEADER, *rows])

    shown = service.run(tmp_path, "--show", "sentiment").stdout.splitlines()

    assert shown[0].split() == [
        *("WINDOW", "TEXTS", "FIGURE", "LIVE", "REFERENCE", "DIFFERENCE", "VERDICT")
    ]
    assert shown[1].split() == ["24", "h", "3", "accuracy", "1.0000", "-", "-", "no_reference"]
    assert shown[-1] == "sentiment-v1: no_reference"


IS_OFF = "Error: the service takes no feedback: set monitoring.feedback\n"


def test_service_without_feedback_says_so(serve, tmp_path):
    service = serve()

    given = service.run(tmp_path, content=[HEADER, "x,positive"])
    shown = service.run(tmp_path, "--show", "v1")

    assert (given.exit_code, given.stderr) == (shown.exit_code, shown.stderr) == (1, IS_OFF)


@pytest.mark.parametrize("model", ["absent", "a/b", ".."])
def test_model_that_is_not_there_is_no_service_without_feedback(service, tmp_path, model):
    result = service.run(tmp_path, "--show", model)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the service answered 404 ")


def test_service_that_is_away_ends_it(serve, tmp_path):
    service = serve(feedback=True)
    service.port = 1

    result = service.run(tmp_path, content=[HEADER, "x,positive"])

    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
