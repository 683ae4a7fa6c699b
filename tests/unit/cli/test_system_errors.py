"""What the system refuses is one line: a full disk, a closed stream, a directory that is not there.

In processes of their own, for Python itself writes what is left when it ends.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from tests.models import build_model

ROOT = Path(__file__).parents[3]
MAIN = "from cli.main import main; main()"


@pytest.fixture
def mlserve(server, job_id, tmp_path):
    """Runs a verb with its streams redirected as a shell does, beside a server with a job."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"server": {"port": server.port}}))
    # As most users have it: what is printed waits in a buffer.
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    environ["PYTHONPATH"] = str(ROOT)

    def run(redirection, *args):
        shell = ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh"]
        return subprocess.run(
            [*shell, sys.executable, "-c", MAIN, *args],
            **{"cwd": tmp_path, "env": environ, "timeout": 60},
            **{"capture_output": True, "text": True},
        )

    return run


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("args", ["config", "job results {}", "job watch {}", "--help"])
def test_output_that_cannot_be_written_is_one_line(mlserve, job_id, args):
    done = mlserve(">/dev/full", *args.format(job_id).split())

    assert done.returncode == 1
    assert done.stderr.startswith("Error: No space left on device")
    assert done.stderr.count("\n") == 1
    assert ("comes back to it" in done.stderr) == ("watch" in args)


def test_reader_that_has_left_ends_a_verb_silently(mlserve, job_id):
    done = mlserve("| true", "job", "results", job_id)

    assert done.stderr == ""


def test_closed_output_is_one_line(mlserve):
    done = mlserve(">&-", "list")

    assert (done.returncode, done.stderr) == (1, "Error: standard output is closed\n")


def test_closed_input_is_one_line(mlserve, server):
    done = mlserve("<&-", "job", "submit", "-")

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: standard input is closed"


def test_interrupt_while_verbs_are_imported_prints_nothing():
    code = "import cli, os; os.kill(os.getpid(), 2); import cli.main"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60)

    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_directory_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build_model(tmp_path / "models", "sentiment", "v1")
    target = tmp_path / "absent" / "target"

    args = ["export", "sentiment-v1", "--format", "onnx", "--output", str(target)]
    result = CliRunner().invoke(main, args)

    assert result.exit_code == 1
    assert result.stderr == f"Error: {target}: No such file or directory\n"


@pytest.mark.parametrize(
    "args",
    [
        ("stats", "--watch", "--every", "nan"),
        ("swap", "sentiment", "v1", "--timeout", "nan"),
        ("tune", "sentiment", "--seconds", "nan"),
        ("train", __file__, "--name", "a", "--version", "v1", "--held-out", "nan"),
    ],
    ids=" ".join,
)
def test_nan_is_wrong_usage(args):
    result = CliRunner().invoke(main, args)

    assert result.exit_code == 2
    assert "'nan' is not a number" in result.stderr
