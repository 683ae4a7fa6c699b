"""The shape of the tree: what every module says of itself, and how long things are."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


def modules(*tops):
    return sorted(path.relative_to(ROOT) for top in tops for path in (ROOT / top).rglob("*.py"))


MODULES = modules("app", "tasks", "cli")
ALL = MODULES + modules("benchmarks", "tests")
MAX_LINES, MAX_FUNCTION_LINES = 300, 40
TAGS = {
    "app": ("API process. ", "Worker process. ", "Shared. "),
    "tasks": ("Worker process. ",),
    "cli": ("CLI. ",),
}


@cache
def source(module):
    return (ROOT / module).read_text()


def tag(module):
    docstring = ast.get_docstring(ast.parse(source(module))) or ""
    return next((tag for tag in TAGS[module.parts[0]] if docstring.startswith(tag)), None)


def imports(node):
    """The names that are imported at run time, in functions too."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imports(child)


def long_functions(module):
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(source(module))) if isinstance(node, functions)]
    return [f"{module}: {f.name}" for f in found if f.end_lineno - f.lineno >= MAX_FUNCTION_LINES]


# Of the whole tree at once: hundreds of tests that take no time cost more than what they do.
def test_every_module_says_where_it_runs():
    assert [str(module) for module in MODULES if tag(module) is None] == []


def test_what_is_shared_imports_nothing_of_one_process():
    tags = {".".join(module.with_suffix("").parts): tag(module) for module in MODULES}
    shared = [name for name, tag in tags.items() if tag == "Shared. "]
    found = [
        f"{name} imports {imported}"
        for name in shared
        for imported in imports(ast.parse(source(Path(*name.split(".")).with_suffix(".py"))))
        if tags.get(imported, "Shared. ") != "Shared. "
    ]

    assert shared
    assert found == []


def test_modules_are_short():
    assert len(ALL) > len(MODULES)
    assert [str(module) for module in ALL if source(module).count("\n") > MAX_LINES] == []


def test_functions_are_short():
    assert [name for module in ALL for name in long_functions(module)] == []


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
