"""What a page of the documentation has a reader run, for tests that run it."""

import re
import runpy
import shlex
from pathlib import Path

import yaml
from click.testing import CliRunner

from cli.main import main

ROOT = Path(__file__).parents[1]


class Page:
    """A page of docs/, followed in a directory of its own by somebody without a service."""

    def __init__(self, name: str, folder: Path) -> None:
        self.text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        self._folder = folder
        settings = {"models_dir": str(folder / "models"), "server": {"port": 1}}
        settings |= {"redis": {"url": "unix:///nonexistent/redis.sock"}}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))

    def run_python(self) -> None:
        """Run its Python blocks; the directory must be the current one."""
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", self.text, re.DOTALL)):
            script = self._folder / f"block{number}.py"
            script.write_text(code)
            runpy.run_path(str(script))

    def run_commands(self) -> list[str]:
        """Run its `mlserve` commands, predictions with --local; what each printed."""
        printed = []
        for command in re.findall(r"^\$ mlserve (.*)$", self.text, re.MULTILINE):
            words = shlex.split(command)
            local = ["--local"] if words[0] == "predict" else []
            config = ["--config", str(self._folder / "config.yaml")]
            result = CliRunner().invoke(main, [*config, *words, *local])
            assert result.exit_code == 0, f"{command}: {result.output}"
            printed.append(result.output)
        return printed
