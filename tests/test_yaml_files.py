"""YAML files: what is read as what, and each fault in one line with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InputError
from models.lora.configuration.yaml_files import read_yaml


def written(text: str | bytes) -> Path:
    file = Path("some.yaml")
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_names_values_and_their_lines() -> None:
    config = read_yaml(written("# first\nlora:\n  rank: 8\n\n  alpha: 4\nname: x\n"))
    assert config.values == {"lora": {"rank": 8, "alpha": 4}, "name": "x"}
    assert config.lines == {"lora": 2, "lora.rank": 3, "lora.alpha": 5, "name": 6}
    assert config.at("lora.alpha") == "some.yaml, line 5"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-2E+3", -2000.0),
        ("1.5e-4", 1.5e-4),
        ("'1e-4'", "1e-4"),
        ("e-4", "e-4"),
        ("1e", "1e"),
        ("12", 12),
        ("None", None),
        ("'None'", "None"),
        ("None of them", "None of them"),
        ("no", False),
        ("'no'", "no"),
    ],
)
def test_values_are_what_they_look_like(text: str, value: object) -> None:
    (read,) = read_yaml(written(f"a: {text}\n")).values.values()
    assert read == value
    assert type(read) is type(value)


def test_a_merged_value_may_be_overridden() -> None:
    assert read_yaml(written("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\n")).values["b"] == {"x": 3, "y": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "some.yaml is empty"),
        ("# nothing\n---\n", "some.yaml is empty"),
        ("\n- rank\n", "some.yaml, line 2: names and values were expected, such as rank: 64"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n  y: 3\n", "some.yaml, line 5: y is also in line 4; keep one"),
        ("rank\n", "some.yaml, line 1: names and values were expected, such as rank: 64"),
        ("!!set {rank}\n", "some.yaml, line 1: names and values were expected, such as rank: 64"),
        (b"rank: 8\nname: \xff\n", "some.yaml, line 2: not UTF-8 text"),
        (b"rank: 8\nname: \x07\n", "some.yaml, line 2: a character that YAML does not allow"),
        ("lora:\n\trank: 8\n", "some.yaml, line 2: a tab; indent with spaces"),
        ("rank: 8\nlora: rank: 8\n", "some.yaml, line 2: mapping values are not allowed here"),
        ("rank: 8\n---\nrank: 8\n", "some.yaml, line 2: expected a single document in the stream"),
        ("rank: 8\nname: !!python/object/apply:os.system [ls]\n", "some.yaml, line 2: only plain values are read"),
        ("name: !!python/name:os.system\n", "some.yaml, line 1: only plain values are read, got one tagged tag:"),
        ("seed: 2026-13-45\n", "some.yaml, line 1: '2026-13-45' is no timestamp; quote it if it is text"),
        ("seed: !!map [1]\n", "some.yaml, line 1: a map is no map"),
        (f"seed: {'[' * 3000}", "some.yaml is nested too deeply"),
        ("lora:\n  rank: 8\n  rank: 9\n", "some.yaml, line 3: rank is also in line 2; keep one"),
        ("lora:\n  rank: 8\nlora:\n  alpha: 9\n", "some.yaml, line 3: lora is also in line 1; keep one"),
        ("[rank]: 8\n", "some.yaml, line 1: a name was expected, got a seq"),
        ("on: 8\n", "some.yaml, line 1: a name was expected, got 'on'"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(text: str | bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_yaml(written(text))
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_nothing_that_a_tag_names_is_run() -> None:
    with pytest.raises(InputError, match="only plain values are read"):
        read_yaml(written("a: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [made]]\n"))
    assert not Path("made").exists()


def test_a_file_that_cannot_be_read_is_named() -> None:
    Path("folder").mkdir()
    for name, reason in {"absent.yaml": "no such file or directory", "folder": "is a directory"}.items():
        with pytest.raises(InputError, match=f"^{name} can't be read: {reason}$"):
            read_yaml(Path(name))
