"""The command line before a program that is not mlserve and answers on its port."""

import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from tests.local_server import Handler, LocalServer
from tests.unit.cli.asking import ASKING, write_inputs

ANSWERS = {
    "text": (200, b"hello\n"),
    "null": (200, b"null"),
    "empty object": (200, b"{}\n"),
    "redirect": (302, b""),
}


class Stranger(Handler):
    """Says the same to every request."""

    def do_GET(self):
        self.answer(*self.server.said)

    do_DELETE = do_GET

    def do_POST(self):
        # Where nobody reads the body, the caller may lose the answer with the connection.
        if length := self.headers["Content-Length"]:
            self.rfile.read(int(length))
        else:
            while self.rfile.readline() not in (b"0\r\n", b""):
                pass
        self.answer(*self.server.said)


@pytest.fixture(params=ANSWERS.values(), ids=list(ANSWERS))
def stranger(request, tmp_path, monkeypatch):
    """Such a program, and a directory whose config file has its port."""
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    with LocalServer(Stranger) as server:
        server.said = request.param
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"server": {"port": server.port}}))
        yield


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize("args", ASKING, ids=" ".join)
def test_answer_of_a_stranger_is_one_line(args):
    result = CliRunner().invoke(main, args)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the service answered ")
    assert result.stderr.count("\n") == 1
