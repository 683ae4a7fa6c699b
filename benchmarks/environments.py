"""Harness. One virtual environment per contender, brought up to date when its pins change."""

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

from benchmarks.paths import REQUIREMENTS, ROOT, STATE

STAMP = ".stamp"


def prepare(name: str) -> Path:
    """The Python of the contender's environment, which is installed where needed.

    mlserve itself is in every environment: all contenders load the same model with the same code.
    Raises `subprocess.CalledProcessError` when pip fails.
    """
    home = STATE / "venvs" / name
    python = home / "bin" / "python"
    wanted = _stamp(name)
    if (home / STAMP).exists() and (home / STAMP).read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing the environment of {name} ...", file=sys.stderr, flush=True)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    pins = ["--constraint", str(ROOT / "constraints.txt")]
    packages = ["--requirement", str(REQUIREMENTS / f"{name}.txt"), "--editable", str(ROOT)]
    subprocess.run([*pip, *pins, *packages], check=True)
    (home / STAMP).write_text(wanted, encoding="utf-8")
    return python


def versions(python: Path) -> dict[str, str]:
    """What is installed beside `python`, by package name."""
    command = [str(python), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {package["name"]: package["version"] for package in json.loads(listed)}


def _stamp(name: str) -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    decisive = [sys.version, project["project"], project["tool"]["setuptools"]]
    digest = hashlib.sha256(json.dumps(decisive).encode())
    for file in (ROOT / "constraints.txt", REQUIREMENTS / f"{name}.txt"):
        digest.update(file.read_bytes())
    return digest.hexdigest()
