"""The command line as people and scripts use it: what it understands, refuses, prints, and ends with."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai_server
import pytest
import tiny_models

from flows.commands.storyboard import parse
from models.forms.storyboard import GROUPS
from models.profiles import ROOT
from models.settings import StoryboardOptions

PROGRAM = "python -m flows.storyboard"
STORY = "Aldar Köse tricks a greedy merchant"
TINY = ["--profile", "tiny", "--frames", "2", "--steps", "2", "--threshold", "-1", "--prompt-threshold", "-1"]
DRIVER = [sys.executable, str(ROOT / "tests" / "tiny_command.py"), "flows.commands.storyboard"]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> str:
    """The one line on stderr with which these arguments are refused."""
    with pytest.raises(SystemExit) as caught:
        parse(list(arguments))
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.removeprefix("error: ").rstrip("\n")


# --- what is understood


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--temp", "0.0"], {"temperature": 0.0}),
        (["--temperature=1.5"], {"temperature": 1.5}),
        (["--lora-path", "s3://studio/aldar"], {"lora_path": "s3://studio/aldar"}),
        (["--lora-scale", "0.7", "--more-loras", "a=0.5"], {"lora_scale": 0.7, "more_loras": ("a=0.5",)}),
        (["--more-loras", "a", "--more-loras=s3://b/c=-1"], {"more_loras": ("a", "s3://b/c=-1")}),
        (["--pipeline", "simplified"], {"pipeline": "simplified"}),
        (["--pipeline=reference_guided", "--ref-guided"], {"pipeline": "reference_guided"}),
        (["--ref-guided"], {"pipeline": "reference_guided"}),
        (["--frames", "4", "--seed", "7"], {"frames": 4, "seed": 7}),
        (["--sketches", "2=a,b.png", "--sketches", "5=c=d.png"], {"sketches": {2: "a,b.png", 5: "c=d.png"}}),
        (["--refresh"], {"refresh": True}),
        (["--no-refresh"], {"refresh": False}),
        (["--profile", "sdxl", "--writer", "offline"], {"profile": "sdxl", "writer": "offline"}),
        (["--threshold", "-0.5", "--prompt-threshold=-1"], {"threshold": -0.5, "prompt_threshold": -1.0}),
        (["--device", "cuda:1", "--precision", "bf16"], {"device": "cuda:1", "precision": "bf16"}),
    ],
)
def test_options_become_the_record_and_the_others_stay_unset(arguments: list[str], options: dict[str, Any]) -> None:
    for line in ([STORY, *arguments], [*arguments, STORY], [*arguments, "--", STORY]):
        story, parsed = parse(line)
        assert story == STORY
        assert parsed.model_dump(exclude_unset=True) == options


def test_a_story_may_start_with_a_dash_after_two() -> None:
    assert parse(["--seed", "1", "--", "--help is what Aldar Köse needs"])[0] == "--help is what Aldar Köse needs"


def test_the_command_line_wins_over_the_environment_that_over_env_and_that_over_the_profile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("STORYBOARD_SEED=1\nSTORYBOARD_FRAMES=1\nSTORYBOARD_PIPELINE=simplified\n")
    monkeypatch.setenv("STORYBOARD_FRAMES", "2")
    monkeypatch.setenv("STORYBOARD_REFRESH", "true")
    monkeypatch.setenv("STORYBOARD_ATTEMPTS", "5")
    _, options = parse([STORY, "--ref-guided", "--no-refresh", "--attempts", "3"])
    assert options.model_dump(exclude_unset=True) == {
        "seed": 1,
        "frames": 2,
        "pipeline": "reference_guided",
        "refresh": False,
        "attempts": 3,
    }
    assert options.threshold is None


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], f'a story is needed: {PROGRAM} "Aldar Köse tricks a greedy merchant in the bazaar"'),
        ([""], "story: String should have at least 1 character, got ''"),
        (["Aldar", "tricks", "a khan"], "only one story is expected, got 'tricks' too; put the story in quotes"),
        ([STORY, "--profil", "sdxl"], "unknown option --profil; did you mean --profile?"),
        (["--frame=3", STORY], "unknown option --frame; did you mean --frames?"),
        (["--lora_path", "x"], "unknown option --lora_path; did you mean --lora-path?"),
        ([STORY, "-q"], "unknown option -q; valid names: --profile, --frames, "),
        ([STORY, "--openai-api-key", "sk-x"], "unknown option --openai-api-key; valid names: --profile, "),
        (["--", STORY, "--seed", "2"], "--seed comes after --, where options are not allowed: put it before --"),
        ([STORY, "--frames"], "argument --frames: expected one argument"),
        ([STORY, "--refresh=yes"], "argument --refresh/--no-refresh: ignored explicit argument 'yes'"),
        ([STORY, "--profile", "stepe"], "--profile: valid profiles: steppe, sdxl, got 'stepe'"),
        (
            [STORY, "--pipeline", "guided"],
            "--pipeline: Input should be 'reference_guided' or 'simplified', got 'guided'",
        ),
        ([STORY, "--frames", "25"], "--frames: Input should be less than or equal to 24, got '25'"),
        ([STORY, "--seed=1.5"], "--seed: Input should be a valid integer, unable to parse string as an integer, got"),
        (
            [STORY, "--seed=x", "--temp", "3"],
            "--seed: Input should be a valid integer, unable to parse string as an integer, got 'x'; "
            "--temperature: Input should be less than or equal to 2, got '3'",
        ),
        ([STORY, "--temp", "nan"], "--temperature: Input should be less than or equal to 2, got 'nan'"),
        ([STORY, "--device", "gpu"], "--device: valid devices: cpu, cuda, cuda:N, mps, got 'gpu'"),
        ([STORY, "--width", "300"], "--width: Input should be a multiple of 8, got '300'"),
        ([STORY, "--size", "256"], "--size is no option any more; write --width 256 --height 256"),
        (["--size=512", STORY], "--size is no option any more; write --width 512 --height 512"),
        ([STORY, "--siz", "256"], "unknown option --siz; did you mean --script?"),
        ([STORY, "--sketches", "a.png"], "--sketches: write N=FILE, such as 2=camel.png, got ['a.png']"),
        ([STORY, "--sketches", "2="], "--sketches.2: String should have at least 1 character, got ''"),
        ([STORY, "--sketches", "0=a"], "--sketches.0: Input should be greater than or equal to 1, got '0'"),
        ([STORY, "--sketches", "2=a", "--sketches", "2=b"], "--sketches: frame 2 has two, 'a' and 'b'"),
        ([STORY, "--ref-guided", "--pipeline", "simplified"], "--ref-guided contradicts --pipeline simplified"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, arguments).startswith(words)


def test_env_and_the_environment_are_named_where_they_are_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".env").write_text("STORYBOARD_FRAMES=many\n")
    assert refused(capsys, [STORY]).startswith("STORYBOARD_FRAMES in .env: Input should be a valid integer")
    Path(".env").write_text("OPENAI_KEY=sk-secret\n")
    assert refused(capsys, [STORY]) == ".env: unknown name 'OPENAI_KEY'; did you mean OPENAI_API_KEY?"
    Path(".env").write_text("sk-secret\n")
    assert refused(capsys, [STORY]) == ".env, line 1: not NAME=value"
    Path(".env").unlink()
    monkeypatch.setenv("STORYBOARD_SED", "1")
    assert refused(capsys, [STORY]) == "environment: unknown name 'STORYBOARD_SED'; did you mean STORYBOARD_SEED?"


# --- the help


def help_text(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_every_option_is_in_one_group() -> None:
    names = [name for group in GROUPS for name in group.options]
    assert sorted(names) == sorted(StoryboardOptions.model_fields)


def test_the_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_text(capsys).split())
    for name, field in StoryboardOptions.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert (field.description or "").partition(" Unset:")[0].rstrip(".") in text
    for words in ("default: steppe", "(1 to 24; default: 6)", "default: the profile's", "(-1 to 1; default", "N=FILE"):
        assert words in text
    assert not re.search(r"null|None|SUPPRESS|dict\[|\b(str|int|float)\b", text)


@pytest.mark.parametrize("columns", [78, 80, 200])
def test_the_help_fits_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    options, _, closing = help_text(capsys).partition("\nEvery option can also")
    assert max(map(len, options.splitlines())) <= min(columns, 110)
    assert max(map(len, closing.partition("examples:")[0].splitlines())) <= min(columns, 90)


def test_the_help_starts_short_and_ends_with_examples_that_work(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_text(capsys)
    assert text.startswith(f"usage: {PROGRAM} STORY [options]\n")
    assert ".env" in text
    assert "STORYBOARD_FRAMES=4" in text
    examples = re.findall(rf'^  {PROGRAM} "(.+)"(.*)$', text, re.MULTILINE)
    assert len(examples) == 4
    assert f'{PROGRAM} "{examples[-1][0]}"{examples[-1][1]}\n' == text[-len("".join(examples[-1])) - len(PROGRAM) - 4 :]
    for story, options in examples:
        assert parse([story, *options.split()])[0] == story


def run(command: Sequence[str], **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **settings)


def test_the_help_imports_neither_prefect_nor_torch_and_needs_no_right_env() -> None:
    Path(".env").mkdir()
    command = [sys.executable, "-X", "importtime", "-m", "flows.storyboard", "--help"]
    done = run(command)
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "models.settings" in imported
    assert not {"prefect", "torch", "PIL", "openai", "boto3"} & imported


# --- a run


def test_stdout_is_the_directory_and_nothing_else(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without a server: Prefect starts one for this run, and has a lot to say about it."""
    world = tiny_models.made_once(tmp_path_factory)
    done = run([*DRIVER, world.base.source, STORY, *TINY, "--output-dir", "boards"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    board = tmp_path / done.stdout.removesuffix("\n")
    assert done.stdout == f"boards/{board.name}\n"
    assert {"report.json", "contact_sheet.png", "frame_001.png", "frame_002.png"} <= {p.name for p in board.iterdir()}
    assert "frame 2 accepted" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_fails_says_why_in_its_last_line_and_ends_with_1(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = tiny_models.made_once(tmp_path_factory)
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    done = run([*DRIVER, world.base.source, STORY, *TINY, "--lora-path", "nowhere"], cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: LoRA: ")
    assert "nowhere" in last
    assert "Traceback" not in done.stderr


def test_an_error_that_ends_the_run_is_told_once_and_last(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = tiny_models.made_once(tmp_path_factory)
    with openai_server.serving(openai_server.failure(401, "no such key")) as script:
        environment = {"OPENAI_API_KEY": "sk-steppe-0123456789", "OPENAI_BASE_URL": script.base_url}
        for name, value in {**environment, "PREFECT_API_URL": prefect_server}.items():
            monkeypatch.setenv(name, value)
        done = run([*DRIVER, world.base.source, STORY, *TINY, "--writer", "openai"], cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    *before, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    assert "no such key" in last
    assert "all checks passed" in done.stderr
    assert [line for line in before if "no such key" in line or "Traceback" in line] == []


def test_a_wrong_option_ends_with_2_before_prefect_is_imported() -> None:
    done = run([sys.executable, "-X", "importtime", "-m", "flows.storyboard", STORY, "--frames", "0"])
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert lines == ["error: --frames: Input should be greater than or equal to 1, got '0'"]
    assert not re.search(r"\| +prefect$", done.stderr, re.MULTILINE)
    assert done.stdout == ""
