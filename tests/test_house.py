"""How long files and functions may be, and what is imported when. import-linter checks who imports whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOUSE = ("flows", "tasks", "models", "deployments", "steppe", "benchmarks", "tests")
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "peft", "accelerate", "matplotlib"}
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 300, 60


def test_no_file_or_function_is_long() -> None:
    sources = [path for folder in HOUSE for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 200
    long: dict[str, int] = {}
    for path in sources:
        text, name = path.read_text("utf-8"), path.relative_to(ROOT).as_posix()
        lines = {name: len(text.splitlines()) - LINES_OF_A_FILE}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines[f"{name}:{node.name}"] = (node.end_lineno or 0) - node.lineno + 1 - LINES_OF_A_FUNCTION
        long |= {name: over for name, over in lines.items() if over > 0}
    assert long == {}


@pytest.mark.parametrize(
    "modules",
    [
        "flows.commands.storyboard",
        "flows.training, tasks.training",
        "models.preflight.checks",
        "models.language.writer, models.language.chat, models.language.offline, models.language.prompts",
        "models.frames.generate, models.vision.clip, models.diffusion.loading, models.diffusion.requests",
    ],
)
def test_what_starts_first_starts_fast(modules: str) -> None:
    code = f"import sys, {modules}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []
