"""The style of this project, as far as a machine can hold it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MAX_FUNCTION_LINES = 60
MAX_MODULE_LINES = 600
UNSAFE_LOADERS = {"cloudpickle", "dill", "marshal", "pickle", "shelve"}
STANDARD_LIBRARY = sys.stdlib_module_names | {"soloist_worker"}

# Patterns that do not match their own spelling here.
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
REGISTRY_HOST = re.compile(
    r"\b(?:p[y]pi\.org|python[h]osted\.org|n[p]mjs\.(?:org|com)|gh[c]r\.io)\b"
)
SOMEONES_FOLDER = re.compile(
    r"(?<![\w.$}*/-])(?:/home/(?!site\b)\w|/Users/\w|/root\b/|[A-Z]:\\{1,2}Users\\{1,2}\w)"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def place(path: Path, line: int, what: str) -> str:
    """Return where something is, so that an editor can go there."""
    return f"{path.relative_to(ROOT).as_posix()}:{line}: {what}"


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    """Yield every node of the sources, with its file."""
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            yield path, node


def must_be_none(places: list[str]) -> None:
    """Fail with a list of all places, one a line."""
    if places:
        pytest.fail("\n".join(["", *places]), pytrace=False)


def code_lines(function: Function) -> int:
    """Return the length of a function without its docstring."""
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        length -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return length


def imported_modules(statement: ast.AST) -> list[str]:
    """Return the full names of the modules that one statement imports; relative ones are ours."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if isinstance(statement, ast.ImportFrom) and statement.level == 0:
        return [statement.module or ""]
    return []


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported: none inside of functions."""
    for statement in body:
        yield statement
        if isinstance(statement, Function):
            continue
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from run_at_import(statement.orelse)
            continue
        for inner in ("body", "orelse", "finalbody"):
            yield from run_at_import(getattr(statement, inner, []))
        for handler in getattr(statement, "handlers", []):
            yield from run_at_import(handler.body)


def texts_of_the_project() -> Iterator[tuple[Path, str]]:
    """Yield every text file that git keeps or would keep."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout, so nobody knows which files belong to it")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file():  # deleted, but not yet committed so
            continue
        data = path.read_bytes()
        if b"\0" not in data:
            yield path, data.decode("utf-8", errors="replace")


def test_functions_are_short() -> None:
    must_be_none(
        [
            place(path, node.lineno, f"{node.name} has {code_lines(node)} lines")
            for path, node in nodes()
            if isinstance(node, Function) and code_lines(node) > MAX_FUNCTION_LINES
        ]
    )


def test_modules_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    must_be_none(
        [
            place(path, lines, f"the module has {lines} lines")
            for path, lines in lengths.items()
            if lines > MAX_MODULE_LINES
        ]
    )


def test_modules_and_public_classes_say_what_they_are() -> None:
    must_be_none(
        [
            place(
                path, getattr(node, "lineno", 1), f"{getattr(node, 'name', 'module')}: no docstring"
            )
            for path, node in nodes()
            if isinstance(node, ast.Module | ast.ClassDef)
            and not getattr(node, "name", "").startswith("_")
            and not ast.get_docstring(node)
        ]
    )


def test_the_verbs_of_contracts_say_what_they_promise() -> None:
    contracts = ROOT / "src" / "soloist" / "contracts"
    must_be_none(
        [
            place(path, verb.lineno, f"{owner.name}.{verb.name} promises nothing")
            for path, owner in nodes()
            if isinstance(owner, ast.ClassDef) and path.is_relative_to(contracts)
            for verb in owner.body
            if isinstance(verb, Function)
            and not verb.name.startswith("_")
            and not ast.get_docstring(verb)
        ]
    )


def test_only_the_command_line_prints() -> None:
    command_line = ROOT / "src" / "soloist" / "cli"
    must_be_none(
        [
            place(path, node.lineno, "print")
            for path, node in nodes()
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
            and command_line not in path.parents
        ]
    )


def test_nothing_is_left_unfinished() -> None:
    must_be_none(
        [
            place(path, number, line.strip())
            for path in SOURCES
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
            if UNFINISHED.search(line)
        ]
    )


def test_nothing_is_loaded_that_could_run_code() -> None:
    must_be_none(
        [
            place(path, getattr(node, "lineno", 1), module)
            for path, node in nodes()
            for module in imported_modules(node)
            if module.partition(".")[0] in UNSAFE_LOADERS
        ]
    )


def test_the_worker_starts_with_the_standard_library_alone() -> None:
    worker = ROOT / "src" / "soloist_worker"
    must_be_none(
        [
            place(path, statement.lineno, module)
            for path in SOURCES
            if path.is_relative_to(worker)
            for statement in run_at_import(tree(path).body)
            for module in imported_modules(statement)
            if module.partition(".")[0] not in STANDARD_LIBRARY
        ]
    )


def test_no_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    this_checkout = str(ROOT) if len(ROOT.parts) > 2 else None  # "/app" could stand anywhere
    must_be_none(
        [
            place(path, number, line.strip()[:100])
            for path, text in texts_of_the_project()
            for number, line in enumerate(text.splitlines(), start=1)
            if REGISTRY_HOST.search(line)
            or SOMEONES_FOLDER.search(line)
            or (this_checkout and this_checkout in line)
        ]
    )
