"""The shape of the tree: what every module says of itself, and how long things are."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def modules(*tops):
    return sorted(path.relative_to(ROOT) for top in tops for path in (ROOT / top).rglob("*.py"))


MODULES = modules("app", "tasks", "cli")
TAGS = {
    "app": ("API process. ", "Worker process. ", "Shared. "),
    "tasks": ("Worker process. ",),
    "cli": ("CLI. ",),
}


@cache
def parse(module):
    return ast.parse((ROOT / module).read_text())


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_module_says_where_it_runs(module):
    docstring = ast.get_docstring(parse(module)) or ""

    assert docstring.startswith(TAGS[module.parts[0]])


@pytest.mark.parametrize("module", MODULES + modules("benchmarks", "tests"), ids=str)
def test_module_and_its_functions_are_short(module):
    functions = [
        node
        for node in ast.walk(parse(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert (ROOT / module).read_text().count("\n") <= 300
    assert [f.name for f in functions if f.end_lineno - f.lineno >= 40] == []


def test_architecture_page_names_every_part_of_the_tree():
    page = (ROOT / "docs/ARCHITECTURE.md").read_text()
    tree = re.search(r"```\napp/\n(.*?)```", page, re.DOTALL)[1]
    parts = {path.parts[1] for path in MODULES if path.parts[0] == "app"} - {"__init__.py"}

    assert [part for part in sorted(parts) if part not in tree] == []


def test_pages_link_only_to_what_exists():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    ]

    assert links
    assert [f"{page.name}: {to}" for page, to in links if not (page.parent / to).exists()] == []
