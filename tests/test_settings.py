"""Settings: one record that the form, the command line, the environment and .env all fill."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from models.errors import InputError
from models.profiles import ROOT
from models.secrets.keys import Keys
from models.settings import PREFIX, StoryboardOptions, check_names, explain, read_story, with_environment

OTHER_VALUES: dict[str, Any] = {
    "profile": "sdxl",
    "seed": 7,
    "frames": 4,
    "pipeline": "simplified",
    "writer": "openai",
    "writer_model": "gpt-4o-mini",
    "temperature": 0.5,
    "base": "studio/coat-xl@v2",
    "controlnet": "studio/canny",
    "vae": "vae.safetensors",
    "clip": "studio/clip",
    "lora_path": "s3://studio/aldar",
    "lora_scale": 0.8,
    "more_loras": ("style.safetensors=0.6", "a=b"),
    "threshold": 0.6,
    "prompt_threshold": 0.1,
    "attempts": 5,
    "steps": 30,
    "guidance": 4.5,
    "aspect": "16:9",
    "width": 512,
    "height": 384,
    "control_scale": 0.5,
    "control_end": 0.75,
    "sketches": {2: "camel.png"},
    "refresh": True,
    "review": "scenes",
    "export": ("pdf", "srt"),
    "output_dir": "boards",
    "device": "cuda:1",
    "precision": "bf16",
    "batch_size": 2,
    "low_memory": True,
    "speed": "fast",
    "turbo_lora": "ByteDance/Hyper-SD:Hyper-SDXL-4steps-lora.safetensors",
    "turbo_method": "hyper",
    "painters": "ray://head:10001",
    "queue": "batch",
}
"""A value of every option that is not its default."""
TOGETHER = {name: value for name, value in OTHER_VALUES.items() if name != "aspect"}
"""Those that may be set at once."""
NEEDS = {"width": "height", "height": "width"}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def environment_words(value: Any) -> str:
    if isinstance(value, tuple):
        return json.dumps(value)
    return '{"2": "camel.png"}' if isinstance(value, dict) else str(value)


# --- where values come from


@pytest.mark.parametrize("name", StoryboardOptions.model_fields)
def test_every_option_can_be_set_in_the_environment_and_in_env(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {one: OTHER_VALUES[one] for one in (name, NEEDS.get(name, name))}
    expected = StoryboardOptions.model_validate(given)
    assert expected != StoryboardOptions()
    lines = {f"{PREFIX}{one.upper()}": environment_words(value) for one, value in given.items()}
    Path(".env").write_text("".join(f"{one}={words}\n" for one, words in lines.items()))
    assert with_environment(StoryboardOptions()) == expected
    Path(".env").unlink()
    for one, words in lines.items():
        monkeypatch.setenv(one, words)
    assert with_environment(StoryboardOptions()) == expected


def test_given_wins_over_the_environment_that_over_env_and_that_over_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("STORYBOARD_SEED=1\nSTORYBOARD_FRAMES=1\nSTORYBOARD_STEPS=1\n")
    monkeypatch.setenv("STORYBOARD_FRAMES", "2")
    monkeypatch.setenv("STORYBOARD_STEPS", "2")
    options = with_environment(StoryboardOptions(steps=3))
    assert (options.seed, options.frames, options.steps, options.attempts) == (1, 2, 3, 3)


def test_a_default_that_was_given_wins_too_and_null_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYBOARD_FRAMES", "2")
    monkeypatch.setenv("STORYBOARD_THRESHOLD", "0.9")
    options = with_environment(StoryboardOptions(frames=6, threshold=None))
    assert (options.frames, options.threshold) == (6, 0.9)


def test_what_was_set_nowhere_stays_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYBOARD_FRAMES", "2")
    assert with_environment(StoryboardOptions(seed=1)).model_fields_set == {"seed", "frames"}


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("STORYBOARD_STEPS=\nSTORYBOARD_SEED=8\nOPENAI_API_KEY=\nSTORYBOARD_LORA_PATH=\n")
    monkeypatch.setenv("STORYBOARD_SEED", "")
    assert with_environment(StoryboardOptions()) == StoryboardOptions(seed=8)
    assert Keys().openai_api_key is None


def test_keys_come_from_env_and_are_not_shown() -> None:
    Path(".env").write_text("OPENAI_API_KEY=sk-secret\nAWS_REGION=eu-north-1\n")
    keys = Keys()
    assert keys.reveal("openai_api_key") == "sk-secret"
    assert keys.aws_region == "eu-north-1"
    assert "sk-secret" not in repr(keys)
    assert with_environment(StoryboardOptions()) == StoryboardOptions()


# --- what is refused


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"profile": "stepe"}, "profile: valid profiles: steppe, sdxl, got 'stepe'"),
        ({"pipeline": "guided"}, "pipeline: Input should be 'reference_guided' or 'simplified', got 'guided'"),
        ({"writer": "claude"}, "writer: Input should be 'openai' or 'offline', got 'claude'"),
        ({"frames": 0}, "frames: Input should be greater than or equal to 1, got 0"),
        ({"frames": 25}, "frames: Input should be less than or equal to 24, got 25"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0, got -1"),
        ({"temperature": float("nan")}, "temperature: Input should be less than or equal to 2, got nan"),
        ({"guidance": 31}, "guidance: Input should be less than or equal to 30, got 31"),
        ({"width": 65, "height": 64}, "width: Input should be a multiple of 8, got 65"),
        ({"width": 320}, "width 320 needs a height: give both, or an aspect"),
        ({"height": 200}, "height 200 needs a width: give both, or an aspect"),
        (
            {"aspect": "1:1", "width": 320, "height": 200},
            "aspect 1:1 and 320x200 contradict each other: give one",
        ),
        ({"size": 512}, "size is no option any more; write width=512 height=512"),
        ({"device": "gpu"}, "device: valid devices: cpu, cuda, cuda:N, mps, got 'gpu'"),
        ({"device": "cpu:0"}, "device: valid devices: cpu, cuda, cuda:N, mps, got 'cpu:0'"),
        ({"sketches": {25: "a.png"}}, "sketches.25: Input should be less than or equal to 24, got 25"),
        ({"sketches": {2: ""}}, "sketches.2: String should have at least 1 character, got ''"),
        ({"lora_path": ""}, "lora_path: String should have at least 1 character, got ''"),
        ({"lora_scale": 5}, "lora_scale: Input should be less than or equal to 4, got 5"),
        (
            {"more_loras": ["a=9"]},
            "more_loras.0: strength must be from -4 to 4, as in style.safetensors=0.6, got 'a=9'",
        ),
        ({"more_loras": "[1"}, """more_loras: write a list as ["style.safetensors=0.6"], got '[1'"""),
        ({"device": "x" * 90}, f"device: valid devices: cpu, cuda, cuda:N, mps, got '{'x' * 79}…"),
        ({"frame": 3}, "unknown option 'frame'; did you mean frames?"),
        ({"openai_api_key": "sk-secret"}, f"unknown option 'openai_api_key'; valid names: {', '.join(OTHER_VALUES)}"),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(option: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        StoryboardOptions.model_validate(option)
    assert explain(caught.value) == words


def test_devices_that_are_right() -> None:
    for device in ("cpu", "cuda", "cuda:0", "cuda:11", "mps", None):
        assert StoryboardOptions(device=device).device == device


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("STORYBOARD_SEED=x", "STORYBOARD_SEED in .env: Input should be a valid integer"),
        ("storyboard_seed=x", "STORYBOARD_SEED in .env: Input should be a valid integer"),
        ("STORYBOARD_PROFILE=stepe", "STORYBOARD_PROFILE in .env: valid profiles: steppe, sdxl, got 'stepe'"),
        ("STORYBOARD_SKETCHES=2", "STORYBOARD_SKETCHES in .env: Input should be a valid dictionary, got 2"),
        ("STORYBOARD_SKETCHES={2", """STORYBOARD_SKETCHES in .env: write sketches as {"2": "camel.png"}, got '{2'"""),
        ("STORYBOARD_FRAMS=3", ".env: unknown name 'STORYBOARD_FRAMS'; did you mean STORYBOARD_FRAMES?"),
        ("OPENAI_KEY=sk-secret", ".env: unknown name 'OPENAI_KEY'; did you mean OPENAI_API_KEY?"),
        ("OPENAI_API_BASE=x", ".env: unknown name 'OPENAI_API_BASE'; did you mean OPENAI_BASE_URL?"),
        ("OPEN_AI_API_KEY=sk-secret", ".env: unknown name 'OPEN_AI_API_KEY'; did you mean OPENAI_API_KEY?"),
        ("AWS_SECRET_KEY=sk-secret", ".env: unknown name 'AWS_SECRET_KEY'; did you mean AWS_SECRET_ACCESS_KEY?"),
        ("aws_acces_key_id=sk-secret", ".env: unknown name 'aws_acces_key_id'; did you mean AWS_ACCESS_KEY_ID?"),
        ("STORYBORD_SEED=1", ".env: unknown name 'STORYBORD_SEED'; did you mean STORYBOARD_SEED?"),
        (
            "STORYBOARD_SIZE=512",
            ".env: STORYBOARD_SIZE is no option any more; write STORYBOARD_WIDTH=N STORYBOARD_HEIGHT=N",
        ),
        ("STORYBOARD_X=1", ".env: unknown name 'STORYBOARD_X'; did you mean"),
        ("STORYBOARD_STORY=x", ".env: unknown name 'STORYBOARD_STORY'; did you mean"),
        ("\n# a comment\nOPENAI_API_KEY sk-secret", ".env, line 3: not NAME=value"),
        ("OPENAI_API_KEY=x\n\n\nsk-secret", ".env, line 4: not NAME=value"),
        ("OPENAI_API_KEY='sk-secret", ".env, line 1: not NAME=value"),
    ],
)
def test_what_is_wrong_in_env_is_said_to_be_there(line: str, words: str) -> None:
    Path(".env").write_text(line + "\n")
    with pytest.raises(InputError) as caught:
        with_environment(StoryboardOptions())
    assert str(caught.value).startswith(words)
    assert "sk-secret" not in str(caught.value)


def test_what_is_wrong_in_the_environment_is_said_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("STORYBOARD_SEED=1\n")
    monkeypatch.setenv("STORYBOARD_SEED", "x")
    with pytest.raises(InputError, match=r"^STORYBOARD_SEED in the environment: .*, got 'x'$"):
        with_environment(StoryboardOptions())
    monkeypatch.setenv("STORYBOARD_FRAMS", "3")
    with pytest.raises(InputError, match=r"^environment: unknown name 'STORYBOARD_FRAMS'; did you mean STORYBOARD_FRA"):
        with_environment(StoryboardOptions())


FOREIGN = """HF_TOKEN HF_HOME HF_ENDPOINT HTTPS_PROXY no_proxy PREFECT_API_URL CUDA_VISIBLE_DEVICES WANDB_API_KEY PATH
OPENAI_ORG_ID OPENAI_ORGANIZATION OPENAI_PROJECT_ID OPENAI_ADMIN_KEY OPENAI_API_VERSION AZURE_OPENAI_API_KEY
AWS_ENDPOINT_URL_S3 AWS_CA_BUNDLE AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_DEFAULT_PROFILE AWS_DEFAULT_OUTPUT
AWS_ROLE_ARN AWS_ROLE_SESSION_NAME AWS_WEB_IDENTITY_TOKEN_FILE AWS_STS_REGIONAL_ENDPOINTS AWS_MAX_ATTEMPTS"""


def test_names_of_other_programs_are_none_of_ours() -> None:
    Path(".env").write_text("".join(f"{name}=x\n" for name in FOREIGN.split()) + "export STORYBOARD_SEED=3\n")
    assert with_environment(StoryboardOptions()) == StoryboardOptions(seed=3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.mkdir, "is a directory"),
        (lambda env: env.symlink_to(env.name), "too many levels of symbolic links"),  # also root can't read this
        (lambda env: env.write_bytes(b"OPENAI_API_KEY=\xff\n"), "it is not UTF-8 text"),
    ],
)
def test_an_env_that_cannot_be_read_is_refused(make: Callable[[Path], object], words: str) -> None:
    make(Path(".env"))
    with pytest.raises(InputError) as caught:
        with_environment(StoryboardOptions())
    assert str(caught.value) == f".env can't be read: {words}"


@pytest.mark.parametrize(("text", "words"), [(" \n ", "at least 1 character"), ("x" * 2001, "at most 2000 characters")])
def test_a_wrong_story_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=f"^story: String should have {words}, got '"):
        read_story(text)


def test_a_story_is_one_line() -> None:
    assert read_story(" Алдар\n Көсе  🐫 ").text == "Алдар Көсе 🐫"


# --- .env.example


def test_the_example_names_everything_that_may_be_set_and_every_default() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    found = {match[1]: match[2] for line in lines if (match := re.fullmatch(r"# ([A-Z0-9_]+)=(.*)", line))}
    options = {PREFIX + name.upper(): field.get_default() for name, field in StoryboardOptions.model_fields.items()}
    assert found.keys() == {name.upper() for name in Keys.model_fields} | options.keys()
    shown: dict[type, Callable[[Any], object]] = {
        tuple: list,
        bool: lambda value: str(value).lower(),
        type(None): lambda _: "",
    }
    for name, default in options.items():
        assert found[name] == str(shown.get(type(default), str)(default)), name
    assert all(line.startswith("#") or not line for line in lines)


def test_every_name_of_the_example_is_explained_in_the_line_before() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    named = re.compile(r"# [A-Z0-9_]+=")
    for i, line in enumerate(lines):
        if named.match(line) and line != "# AWS_SECRET_ACCESS_KEY=":
            assert re.match(r"# [A-Za-z]", lines[i - 1]), line
            assert not named.match(lines[i - 1]), line


def test_the_example_works_uncommented() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    Path(".env").write_text(re.sub(r"(?m)^# ([A-Z0-9_]+=)", r"\1", text))
    check_names()
    assert with_environment(StoryboardOptions()) == StoryboardOptions()
    assert Keys().aws_region is None


def test_settings_are_read_without_torch_and_prefect() -> None:
    code = "import sys, models.settings; print([name for name in ('torch', 'prefect', 'boto3') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
