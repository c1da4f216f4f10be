"""Read a YAML file of names and values, with the line of every name. Each fault is one line.

Two spellings that YAML 1.1 reads as text are read as people mean them: `1e-4` is a number, and `None` is null. `no` and
`off` mean false, as YAML has it; code that expects a word there handles that itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from models.errors import InputError

YAML = "tag:yaml.org,2002:"
TEXT, MERGE, NOTHING, NAMES_AND_VALUES = f"{YAML}str", f"{YAML}merge", f"{YAML}null", f"{YAML}map"


@dataclass(frozen=True)
class YamlFile:
    """What a file says, and where."""

    file: Path
    values: dict[str, Any]
    lines: dict[str, int]
    """Name, or section.name -> its line, from 1."""

    def at(self, name: str) -> str:
        """File and line of a name, as the beginning of a message."""
        return f"{self.file}, line {self.lines[name]}"


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which makes plain values alone, and refuses a name that is given twice."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As inherited, but an impossible date or number is reported with its line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError):  # such as 2026-13-45
            raise _fault_at(node, f"{_shown(node)} is no {_kind(node)}; quote it if it is text") from None

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        """As inherited; names are text, and each is there once."""
        if not isinstance(node, yaml.MappingNode):
            raise _fault_at(node, f"{_shown(node)} is no map")
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (TEXT, MERGE):
                raise _fault_at(key, f"a name was expected, got {_shown(key)}")
            if key.value in lines:
                raise _fault_at(key, f"{key.value} is also in line {lines[key.value]}; keep one")
            lines[key.value] = _line(key.start_mark)
        return super().construct_mapping(node, deep)

    def refuse(self, node: yaml.Node) -> Any:
        """Refuse a tag such as !!python/object, which could run code."""
        raise _fault_at(node, f"only plain values are read, got one tagged {node.tag}")


_Loader.add_constructor(None, _Loader.refuse)
_Loader.add_implicit_resolver(f"{YAML}float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(NOTHING, re.compile(r"^None$"), ["N"])


def _fault_at(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _shown(node: yaml.Node) -> str:
    return repr(node.value) if isinstance(node, yaml.ScalarNode) else f"a {_kind(node)}"


def _kind(node: yaml.Node) -> str:
    return str(node.tag).removeprefix(YAML)


def read_yaml(file: Path) -> YamlFile:
    """Names and values of a YAML file.

    Raises:
        InputError: it is missing, unreadable, empty, not YAML, or holds something else than names and values; the
            message names file and line.
    """
    text = _text(file)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None or node.tag == NOTHING:
            raise InputError(f"{file} is empty")
        if not isinstance(node, yaml.MappingNode) or node.tag != NAMES_AND_VALUES:
            raise InputError(f"{file}, line {_line(node.start_mark)}: names and values were expected, such as rank: 64")
        values: dict[str, Any] = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise InputError(_fault(file, error)) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise InputError(f"{file}, line {line}: a character that YAML does not allow") from None
    except RecursionError:
        raise InputError(f"{file} is nested too deeply") from None
    return YamlFile(file, values, _lines(node))


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{file} can't be read: {(error.strerror or 'unknown').lower()}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{file}, line {line}: not UTF-8 text") from None


def _fault(file: Path, error: yaml.MarkedYAMLError) -> str:
    problem = ", ".join(part for part in (error.context, error.problem) if part)
    if r"'\t'" in problem:
        problem = "a tab; indent with spaces"
    mark = error.problem_mark or error.context_mark
    return f"{file}, line {_line(mark)}: {problem}" if mark else f"{file}: {problem}"


def _line(mark: yaml.Mark) -> int:
    return int(mark.line) + 1


def _lines(node: yaml.MappingNode) -> dict[str, int]:
    """Lines of the names, and of those one level below."""
    lines: dict[str, int] = {}
    for key, value in node.value:
        lines[key.value] = _line(key.start_mark)
        if isinstance(value, yaml.MappingNode):
            lines |= {f"{key.value}.{inner.value}": _line(inner.start_mark) for inner, _ in value.value}
    return lines
