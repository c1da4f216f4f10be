"""The training's command line as people and scripts use it: what it understands, refuses, prints, and ends with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from training_runs import draw_pictures

from flows.commands.training import main, parse
from models.errors import TrainingDiverged
from models.forms.training import GROUPS
from models.lora.options import TrainingOptions
from models.profiles import ROOT

PROGRAM = "python -m flows.training"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
HELP = [sys.executable, "-X", "importtime", "-c", "from flows.commands.training import main; main(['--help'])"]


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
        (["--profile", "sdxl"], {"profile": "sdxl"}),
        (["--rank", "8", "--alpha=4"], {"rank": 8, "alpha": 4.0}),
        (["--learning-rate", "1e-5"], {"learning_rate": 1e-5}),
        (["--target-modules", "to_q,to_k, to_v"], {"target_modules": ("to_q", "to_k", "to_v")}),
        (["--target-modules=to_q", "--target-modules=to_out.0"], {"target_modules": ("to_q", "to_out.0")}),
        (
            ["--validation-prompts", "a, b", "--validation-prompts=c"],
            {"validation_prompts": ("a, b", "c")},
        ),
        (
            ["--unrelated-prompts", "a camel", "--unrelated-prompts", "a yurt"],
            {"unrelated_prompts": ("a camel", "a yurt")},
        ),
        (["--unrelated-prompts", "none"], {"unrelated_prompts": None}),
        (["--max-train-steps", "none", "--num-train-epochs", "20"], {"max_train_steps": None, "num_train_epochs": 20}),
        (["--random-flip", "--center-crop"], {"random_flip": True, "center_crop": True}),
        (
            ["--no-enable-xformers-memory-efficient-attention"],
            {"enable_xformers_memory_efficient_attention": False},
        ),
        (["--optimizer", "adamw_fused", "--ema-decay", "0.99"], {"optimizer": "adamw_fused", "ema_decay": 0.99}),
        (["--output-dir", "none"], {"output_dir": "none"}),
    ],
)
def test_options_become_the_record_and_the_others_stay_unset(arguments: list[str], options: dict[str, Any]) -> None:
    assert parse(arguments).model_dump(exclude_unset=True) == options


@pytest.mark.parametrize("arguments", [["--held-out", "2"], ["--held-out=2"]])
def test_an_earlier_name_works_with_a_warning(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(arguments).validation_pictures == 2
    told = "warning: --held-out is now called --validation-pictures; the old name works in this release\n"
    assert capsys.readouterr().err == told


def test_the_command_line_wins_over_the_file_and_that_over_the_defaults() -> None:
    Path("some.yaml").write_text("lora: {rank: 8, alpha: 4}\nresume_from_checkpoint: latest\n")
    options = parse(["--rank", "16", "--config", "some.yaml", "--resume-from-checkpoint", "none"])
    assert options.model_dump(exclude_unset=True) == {"rank": 16, "alpha": 4.0, "resume_from_checkpoint": None}
    assert options.dropout == 0.1


def test_the_documents_file_with_another_seed() -> None:
    options = parse(["--config", str(ROOT / "configs" / "training_config.yaml"), "--seed", "7"])
    assert (options.get_profile().name, options.seed, options.max_train_steps) == ("sdxl", 7, 1000)


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--learning-rat", "1"], "unknown option --learning-rat; did you mean --learning-rate?"),
        (["--xyz=1"], "unknown option --xyz; valid names: --config, --profile, "),
        (["--train_batch_size", "2"], "unknown option --train_batch_size; did you mean --train-batch-size?"),
        (["--rank", "8", "-q"], "unknown option -q; valid names: --config, --profile, "),
        (["configs/x.yaml"], "only options are expected, got 'configs/x.yaml'; give a configuration file with"),
        (["--", "x"], "only options are expected, got "),
        (["--rank"], "argument --rank: expected one argument"),
        (["--rank", "0"], "--rank: Input should be greater than or equal to 1, got '0'"),
        (
            ["--rank", "none"],
            "--rank: Input should be a valid integer, unable to parse string as an integer, got 'none'",
        ),
        (["--profile", "stepe"], "--profile: valid profiles: steppe, sdxl, got 'stepe'"),
        (
            ["--target-modules", "to_q,q_proj"],
            "--target-modules.1: valid target modules: to_q, to_k, to_v, to_out.0, proj_in, proj_out, ff.net.0.proj,",
        ),
        (
            ["--validation-prompts", "a"],
            "--validation-prompts: Tuple should have at least 2 items after validation, no",
        ),
        (["--resolution", "65"], "--resolution: Input should be a multiple of 8, got '65'"),
        (["--device", "gpu"], "--device: valid devices: cpu, cuda, cuda:N, mps, got 'gpu'"),
        (["--no-center-crop"], "center_crop: false needs random crops, and pictures are encoded once; set it to true"),
        (
            ["--profile", "steppe", "--base-model-name-or-path", SDXL],
            f"base_model_name_or_path: '{SDXL}' is the base of profile sdxl, and profile is steppe; leave one of",
        ),
        (
            ["--rank=x", "--alpha=y"],
            "--rank: Input should be a valid integer, unable to parse string as an integer, got 'x'; --alpha: Input sh",
        ),
        (["--config", "absent.yaml"], "absent.yaml can't be read: no such file or directory"),
        (["--config", "wrong.yaml"], "wrong.yaml: rank: Input should be greater than or equal to 1, got 0"),
        (["--config", "wrong.yaml", "--rank", "8", "--seed=-1"], "--seed: Input should be greater than or equal to 0"),
        (["--accelerate-config", "wrong.yaml"], "wrong.yaml, line 1: unknown name 'rank'; valid names: compute_envi"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("wrong.yaml").write_text("rank: 0\n")
    assert refused(capsys, arguments).startswith(words)


def test_a_fault_in_accelerates_file_is_known_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("some.yaml").write_text("accelerate_config: two.yaml\n")
    assert refused(capsys, ["--config", "some.yaml"]) == "two.yaml can't be read: no such file or directory"
    Path("two.yaml").write_text("num_machines: 2\n")
    assert refused(capsys, ["--config", "some.yaml"]).startswith("two.yaml, line 1: num_machines: a training runs on")
    assert parse(["--config", "some.yaml", "--accelerate-config", "none"]).accelerate_config is None


# --- the help


def help_text(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_every_option_is_in_one_group() -> None:
    names = [name for group in GROUPS for name in group.options]
    assert sorted(names) == sorted(TrainingOptions.model_fields)


def test_the_help_explains_every_option(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    text = help_text(capsys)
    for name in TrainingOptions.model_fields:
        assert re.search(rf"^  --{name.replace('_', '-')}\b", text, re.MULTILINE), name
    flat = " ".join(text.split())
    for name, field in TrainingOptions.model_fields.items():
        explanation = " ".join((field.description or "").split()).partition(" Unset:")[0].rstrip(".")
        assert explanation, name
        assert explanation in flat, name
    assert not re.search(r"null|None|SUPPRESS|tuple\[|\b(str|int|float)\b", text)


@pytest.mark.parametrize(
    "words",
    [
        "(default: the one whose base base_model_name_or_path names, else steppe)",
        "and names the profile where that is unset (default: the profile's)",  # its docstring breaks in "Unset:\\nthe"
        "(1 to 1024; default: 64)",
        "(above 0 to 4096; default: 32)",
        "(0 to below 1; default: 0.1)",
        "(1 or more; default: 1)",
        "(1 to 1000000; default: 1000; none: what num_train_epochs comes to)",
        "(may be given more than once; default: to_q,to_v)",
        "(to be given 2 times or more; default: the profile's)",
        "Crop from the middle. Random crops are not offered: pictures are encoded once (default: on)",
        "Show each picture also mirrored, at random --trigger",
        "--optimizer {adamw,adamw_fused,adamw_8bit}",
        "--config FILE",
    ],
)
def test_the_help_says_limits_and_defaults(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in " ".join(help_text(capsys).split())


@pytest.mark.parametrize("columns", [78, 80, 200])
def test_the_help_fits_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    options, _, closing = help_text(capsys).partition("\nThe command line overrides")
    wide = ("--enable-xformers", "--lr-scheduler")  # names that no line break helps
    assert all(len(line) <= min(columns, 110) or line.strip().startswith(wide) for line in options.splitlines())
    assert max(map(len, closing.partition("examples:")[0].splitlines())) <= min(columns, 90)


def test_the_examples_of_the_help_work(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_text(capsys)
    assert text.startswith(f"usage: {PROGRAM} [--config FILE] [options]\n")
    examples = re.findall(rf"^  {PROGRAM} (.*)$", text, re.MULTILINE)
    assert len(examples) == 4
    monkeypatch.chdir(ROOT)
    for example in examples:
        assert parse(example.split()).model_fields_set


def test_the_help_imports_neither_prefect_nor_torch() -> None:
    done = subprocess.run(HELP, cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "models.lora.options" in imported
    assert not {"prefect", "torch", "PIL", "accelerate", "boto3", "peft"} & imported


# --- a run


def run_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], train: Callable[[str, TrainingOptions], str]
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command, with this in place of the flow."""
    flow = types.ModuleType("flows.training")
    flow.train_lora = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flows.training", flow)
    ends: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", ends.append)
    code = 0
    monkeypatch.setattr(
        "flows.commands.starting.start", lambda check, **_: check()
    )  # the flow that is no flow needs no server
    try:
        main(["--seed", "7", "--train-data-dir", str(draw_pictures(Path("pictures"), 2, sizes=((256, 256),)))])
    except SystemExit as error:
        code = int(error.code or 0)
    for end in ends:
        end()
    return code, *capsys.readouterr()


def test_the_location_is_the_last_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    given: list[TrainingOptions] = []

    def train(_: str, options: TrainingOptions) -> str:
        given.append(options)
        return "outputs/published/aldar"

    assert run_main(monkeypatch, capsys, train) == (0, "outputs/published/aldar\n", "")
    assert given == [TrainingOptions(seed=7, train_data_dir="pictures")]
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # the steppe profile needs no hub


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (TrainingDiverged("the loss is\nnot finite"), 1, "error: the loss is not finite\n"),
        (KeyboardInterrupt(), 130, "error: interrupted; --resume-from-checkpoint latest goes on from the last chec"),
    ],
)
def test_a_failure_is_one_line_and_an_exit_code(
    error: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(_: str, options: TrainingOptions) -> str:
        raise error

    ended, out, err = run_main(monkeypatch, capsys, train)
    assert (ended, out) == (code, "")
    assert err.startswith(words)
    assert err.count("\n") == 1
