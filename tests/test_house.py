"""Who may import whom, what is imported when, and how long things may be: read from the sources themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOUSE = ("flows", "tasks", "models", "deployments", "steppe")
SOURCES = sorted(path for folder in HOUSE for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").glob("*.py"))
MAY_IMPORT = {
    "models": {"models"},
    "tasks": {"tasks", "models"},
    "flows": {"flows", "tasks", "models"},
    "deployments": {"deployments", "flows", "tasks", "models"},
    "steppe": {"steppe", "models"},
}
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "peft", "accelerate"}
WITH_TORCH = ("models/diffusion", "models/vision", "models/lora", "models/devices.py", "steppe")
TOKENIZER = "models/language/prompts.py"
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 300, 60


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_source = pytest.mark.parametrize("path", SOURCES, ids=name_of)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> set[str]:
    """Full names of all modules and names that a file imports, also inside functions and for types alone."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def at_once(nodes: list[ast.stmt]) -> Iterator[str]:
    """Packages that are imported when the module is, which leaves out functions and what only type checkers read."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from at_once(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from at_once([part for part in ast.iter_child_nodes(node) if isinstance(part, ast.stmt)])


def test_there_is_something_to_look_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} >= {"flows", "tasks", "models"}
    assert len(SOURCES) > 40


@each_source
def test_each_layer_imports_only_those_below(path: Path) -> None:
    ours = packages(path) & {*HOUSE, "tests", "benchmarks"}
    assert ours <= MAY_IMPORT[path.relative_to(ROOT).parts[0]]


@each_source
def test_models_do_not_know_prefect(path: Path) -> None:
    if path.is_relative_to(ROOT / "models"):
        assert "prefect" not in packages(path)


def test_inside_models_errors_are_the_ground() -> None:
    def own(name: str) -> set[str]:
        return {".".join(found.split(".")[:2]) for found in imports(ROOT / name) if found.startswith("models")}

    assert own("models/addresses.py") == set()
    assert own("models/redaction.py") == {"models.addresses"}
    assert own("models/errors.py") == {"models.redaction"}
    assert own("models/keys.py") == {"models.redaction"}
    assert own("models/records.py") <= {"models.errors"}
    assert own("models/sources.py") <= {"models.errors", "models.records"}
    assert own("models/profiles.py") <= {"models.errors", "models.records", "models.sources"}
    assert own("models/loras.py") <= {"models.records", "models.profiles"}
    ground = {"models.errors", "models.keys", "models.records", "models.profiles", "models.loras"}
    assert own("models/settings.py") <= ground


@each_source
def test_only_where_pictures_are_made_or_judged_is_torch_imported(path: Path) -> None:
    heavy = packages(path) & HEAVY
    if name_of(path) == TOKENIZER:
        assert heavy <= {"transformers"}
    elif not name_of(path).startswith(WITH_TORCH):
        assert not heavy
    if name_of(path) in ("models/devices.py", TOKENIZER):
        assert not set(at_once(tree_of(path).body)) & HEAVY


@pytest.mark.parametrize(
    "modules",
    [
        "flows.command_line",
        "models.checks",
        "models.language.writer, models.language.chat, models.language.offline, models.language.prompts",
        "models.frames, models.vision.clip, models.diffusion.loading, models.diffusion.requests",
    ],
)
def test_what_starts_first_starts_fast(modules: str) -> None:
    code = f"import sys, {modules}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=name_of)
def test_every_module_says_what_it_is_for_and_is_short(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)), "no docstring"
    assert len(path.read_text("utf-8").splitlines()) <= LINES_OF_A_FILE


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=name_of)
def test_no_function_is_long(path: Path) -> None:
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: lines for name, lines in long.items() if lines > LINES_OF_A_FUNCTION} == {}


def test_no_folder_is_called_after_what_it_might_hold() -> None:
    names = {part.lower() for path in [*SOURCES, *TESTS] for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not names & {"utils", "util", "common", "helpers", "helper", "misc"}
