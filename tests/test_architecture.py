"""Rules of the house that a linter does not know: budgets, live options, errors that are raised and not swallowed."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import towers
from towers.lazy import EXTRAS

CHECKOUT = Path(__file__).parent.parent
MODULES = sorted((CHECKOUT / "towers").rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in MODULES}
FILE_LINES, FUNCTION_LINES, PARAMETERS = 300, 50, 6


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


modules = pytest.mark.parametrize("path", MODULES, ids=name_of)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([argument for argument in every if argument.arg not in {"self", "cls"}])


def over_budget(path: Path, text: str) -> list[str]:
    """What in this module is larger than the house allows."""
    found = []
    if (lines := text.count("\n")) > FILE_LINES:
        found.append(f"{path}: {lines} lines, at most {FILE_LINES}")
    for function in functions(ast.parse(text)):
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES:
            found.append(f"{path}:{function.lineno} {function.name}: {lines} lines, at most {FUNCTION_LINES}")
        if (count := parameters(function)) > PARAMETERS:
            found.append(f"{path}:{function.lineno} {function.name}: {count} parameters, at most {PARAMETERS}")
    return found


@modules
def test_budgets_of_files_functions_and_parameters(path: Path) -> None:
    assert over_budget(path.relative_to(CHECKOUT), path.read_text()) == []


def test_the_budget_check_finds_what_is_too_large() -> None:
    long = "def long():\n" + "    x = 1\n" * FUNCTION_LINES
    wide = "def wide(a, b, c, d, *, e, f, g):\n    ...\n"
    assert over_budget(Path("m.py"), long + wide + "\n" * 250) == [
        "m.py: 303 lines, at most 300",
        "m.py:1 long: 51 lines, at most 50",
        "m.py:52 wide: 7 parameters, at most 6",
    ]


def hushed(tree: ast.AST) -> list[int]:
    """Lines where an error is caught and nothing is done about it, or where everything is caught."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            idle = all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body)
            if idle or node.type is None:
                lines.append(node.lineno)
        if isinstance(node, ast.Name) and node.id == "suppress":
            lines.append(node.lineno)
    return lines


@modules
def test_no_error_is_swallowed(path: Path) -> None:
    assert hushed(TREES[path]) == []


def test_the_check_for_swallowed_errors_finds_them() -> None:
    idle = "try:\n    f()\nexcept OSError:\n    pass\n"
    bare = "try:\n    f()\nexcept:\n    g()\n"
    code = idle + bare + "with suppress(OSError):\n    f()\n"
    assert sorted(hushed(ast.parse(code))) == [3, 7, 9]


@modules
def test_no_assert_and_no_notimplementederror(path: Path) -> None:
    asserts = [node.lineno for node in ast.walk(TREES[path]) if isinstance(node, ast.Assert)]
    unfinished = [
        node.lineno for node in ast.walk(TREES[path]) if isinstance(node, ast.Name) and node.id == "NotImplementedError"
    ]
    assert (asserts, unfinished) == ([], [])


ABSOLUTE = re.compile(r"(?<![\w./:<~])/(?:home|root|work|tmp|mnt|Users|farm|opt)/\w")


def committed_text() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    suffixes = {".py", ".sh", ".sql", ".toml", ".md", ".yaml", ".lock", ".csv", ".json", ""}
    paths = [CHECKOUT / name for name in names.split("\0") if name]
    return [path for path in paths if path.suffix in suffixes and path.is_file() and path != Path(__file__)]


@pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="git knows which files are ours")
def test_no_committed_file_names_a_path_of_one_machine() -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in committed_text()
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if ABSOLUTE.search(line)
    ]
    assert found == []


def test_faiss_stays_in_index() -> None:
    """FAISS is loaded by name there, so import-linter cannot see who holds it."""
    holders = [
        name_of(path)
        for path in MODULES
        for node in ast.walk(TREES[path])
        if (isinstance(node, ast.alias) and node.name.partition(".")[0] == "faiss")
        or (isinstance(node, ast.Constant) and node.value == "faiss")
    ]
    assert {holder.rpartition("/")[0] for holder in holders} == {"towers/index"}


def test_no_room_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "common", "helpers", "helper", "core", "base", "misc"}
    assert [name_of(path) for path in MODULES if drawers & {path.stem, *path.relative_to(CHECKOUT).parts}] == []


def test_every_room_is_shipped() -> None:
    packages = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {".".join(path.parent.relative_to(CHECKOUT).parts) for path in MODULES}
    assert sorted(packages) == sorted(rooms | {"towers.conf"})


def test_import_towers_loads_neither_torch_nor_hydra() -> None:
    heavy = ["torch", "hydra", "omegaconf", "pandas", "numpy", "duckdb", "pyarrow", "faiss", "pytorch_lightning"]
    code = f"import sys, towers; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", towers.__all__)
def test_every_public_name_arrives_when_asked_for(name: str) -> None:
    assert getattr(towers, name).__name__ == name
    assert name in dir(towers)


@pytest.mark.parametrize("room", ["features", "models", "publishing"])
def test_every_name_of_a_lazy_room_arrives_when_asked_for(room: str) -> None:
    module = importlib.import_module(f"towers.{room}")
    assert sorted(module.__all__) == sorted(name for names in module._MODULES.values() for name in names)
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert not set(module.__all__) & {path.stem for path in (CHECKOUT / "towers" / room).glob("*.py")}


def test_what_extras_bring_is_known_by_the_name_that_is_imported() -> None:
    declared = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    renamed = {"faiss-cpu": "faiss"}
    for extra, names in EXTRAS.items():
        brought = [re.split(r"[<>=]", line)[0] for line in declared[extra]]
        assert [renamed.get(name, name).replace("-", "_") for name in brought] == names.split()


def test_an_unknown_public_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        AttributeError, match=r"module 'towers' has no attribute 'retriever'; it has AttentionHistory, Auto, .*train"
    ):
        towers.__getattr__("retriever")
