"""Print the figures of the generated project and fail where one passes its limit: `python -m tests.structure`.

The layers are import-linter's (pyproject.toml). Here are size, files, packages, names and fresh interpreters.
"""

from __future__ import annotations

import ast
import graphlib
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.paths import PROJECT, SRC

LINES, TEST_LINES, FILE_LINES, MODULES, COLUMNS = 24_548, 1_200, 300, 12, 120
INTERPRETERS = {
    "supervisor": "spot.supervisor.service",
    "uploader": "spot.trainer.uploader.worker",
    "trainer, before it trains": "spot.trainer.main, spot.trainer.start",
    "command line": "spot.cli.main",
    "workflows": "spot.github.workflow",
}


def main() -> int:
    """Print one line per figure and return 1 if a limit is passed."""
    sources = {path: path.read_text(encoding="utf-8") for path in tracked(PROJECT)}
    lines = {path: text.count("\n") for path, text in sources.items()}
    modules = {module_name(path): ast.parse(text) for path, text in sources.items() if SRC in path.parents}
    tests = sum(count for path, count in lines.items() if PROJECT / "tests" in path.parents)
    packages = Counter(path.parent for path in sources if SRC in path.parents and path.name != "__init__.py")
    longest = max(lines, key=lambda path: lines[path])
    widest = max(packages, key=lambda path: packages[path])
    columns = max(len(line) for text in sources.values() for line in text.splitlines())
    failures = [
        *limit(f"{sum(lines.values())} Python lines in a project", sum(lines.values()), LINES),
        *limit(f"{tests} of them tests", tests, TEST_LINES),
        *limit(f"{lines[longest]} lines in the longest file, {relative(longest)}", lines[longest], FILE_LINES),
        *limit(f"{packages[widest]} modules in the widest package, {relative(widest)}", packages[widest], MODULES),
        *limit(f"{columns} columns in the longest line", columns, COLUMNS),
        *limit_names("class names defined twice", twice_defined(modules)),
        *limit_names("import circles", circles(modules)),
        *limit_names("modules of the machinery that import `task`", importers_of_task(modules)),
        *limit_names("fresh interpreters with torch", with_torch()),
    ]
    for failure in failures:
        print(f"over the limit: {failure}", file=sys.stderr)
    return 1 if failures else 0


def tracked(folder: Path) -> Iterator[Path]:
    """Yield the Python files of the project that a user would receive."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    yield from (folder / name for name in listed.stdout.split("\0") if name and (folder / name).exists())


def limit(text: str, value: int, most: int) -> list[str]:
    print(f"{text} (at most {most})")
    return [f"{text}, at most {most}"] if value > most else []


def limit_names(text: str, names: Iterable[str]) -> list[str]:
    found = sorted(names)
    print(f"{len(found)} {text}{': ' if found else ''}{', '.join(found)}")
    return [f"{text}: {', '.join(found)}"] if found else []


def relative(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")


def twice_defined(modules: dict[str, ast.Module]) -> Iterator[str]:
    """Yield the public class names that stand in several modules."""
    places = defaultdict(set)
    for name, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(name)
    yield from (f"{name} in {' and '.join(sorted(where))}" for name, where in places.items() if len(where) > 1)


def imports(name: str, tree: ast.Module, modules: dict[str, ast.Module]) -> set[str]:
    """Return the modules of src that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found & modules.keys() - {name}


def circles(modules: dict[str, ast.Module]) -> list[str]:
    """Return one circle of imports, if there is any."""
    graph = {name: imports(name, tree, modules) for name, tree in modules.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def importers_of_task(modules: dict[str, ast.Module]) -> Iterator[str]:
    for name, tree in modules.items():
        if re.search(r"^(from|import) task\b", ast.unparse(tree), re.MULTILINE):
            yield name


def with_torch() -> Iterator[str]:
    """Yield the entry points that load torch in a fresh interpreter."""
    for name, module in INTERPRETERS.items():
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        environ = {**os.environ, "PYTHONPATH": str(SRC)}
        if subprocess.run([sys.executable, "-c", code], env=environ, check=False).returncode:
            yield name


if __name__ == "__main__":
    sys.exit(main())
