"""What README and docs name is there: modules, options, targets of make, deployments, files."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OURS = ("flows", "deployments", "benchmarks", "steppe")
FOLDERS = "flows|tasks|models|deployments|steppe|benchmarks|tests|configs|docs|data|weights"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@cache
def help_of(module: str) -> str:
    command = [sys.executable, "-m", module, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Module and options of each `python -m` in the page; lines that end in a backslash go on."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    found = re.findall(r"python -m ([\w.]+)([^`\n#]*)", text)
    return [(module, re.findall(r"(?<!\S)(--[a-z][\w-]*)", rest)) for module, rest in found]


@each_page
def test_commands_and_their_options_are_there(page: Path) -> None:
    for module, options in commands(page):
        if module.startswith(OURS):
            assert find_spec(module), f"{module} does not exist"
        if module.startswith(("flows.", "deployments.")):
            assert [option for option in options if option not in help_of(module)] == []


@each_page
def test_targets_of_make_and_deployments_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"(?:^    |`)make ([a-z-]+)", text, re.MULTILINE)) <= set(made)
    deployed = re.findall(r"^ +name: (\S+)", (ROOT / "prefect.yaml").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"deployment run '[\w-]+/([\w-]+)'", text)) <= set(deployed)


@each_page
def test_files_are_there(page: Path) -> None:
    named = re.findall(rf"(?<![\w/.-])((?:{FOLDERS})/[\w/.-]+\.(?:py|md|yaml|json|jpg|txt))", page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists() and not (page.parent / name).exists()] == []
