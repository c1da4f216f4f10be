"""Settings of strangers: other trainers' files and options are named with what they are here, accelerate's are read."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from flows.commands.training import parse
from models.errors import InputError
from models.lora.configuration.accelerate_settings import AccelerateSettings, read_accelerate_config
from models.lora.configuration.config_files import OPTIONS, read_training_config
from models.lora.configuration.foreign_names import FOREIGN
from models.lora.options import TrainingOptions
from models.lora.preflight import choose_training_device, find_fallback, find_training_problems
from models.secrets.keys import Keys

PLAIN = """\
# sd-scripts
pretrained_model_name_or_path = "hero.safetensors"
network_dim = 32
network_alpha = 16.0
unet_lr = 0.0001
resolution = "1024,1024"
mixed_precision = "bf16"
max_grad_norm = 1.0
vae_batch_size = 2
"""
IN_SECTIONS = "[network_arguments]\nnetwork_dim = 32\nnetwork_args = ['conv_dim=4']\n"
DATA_SETS = "[[datasets]]\nbatch_size = 2\n[[datasets.subsets]]\nimage_dir = 'hero'\nnum_repeats = 10\n"


def refused(text: str, name: str = "training.toml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_training_config(Path(name))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["training.toml", "training.yaml"])
def test_kohyas_toml_is_told_with_what_each_key_is_here(name: str) -> None:
    assert refused(PLAIN, name) == (
        f"{name}: this is kohya's TOML: write a YAML file such as configs/training_config.yaml, with its names: "
        "network_dim is rank; network_alpha is alpha; unet_lr is learning_rate, which is one for all; the same here: "
        "pretrained_model_name_or_path, resolution, max_grad_norm; in the file of accelerate_config: mixed_precision; "
        "without a counterpart: vae_batch_size"
    )


def test_tables_of_kohyas_toml_are_read_through() -> None:
    assert refused(IN_SECTIONS).endswith("network_dim is rank; network_args is target_modules")
    assert refused(DATA_SETS).endswith(
        "batch_size is train_batch_size; image_dir is train_data_dir; "
        "num_repeats is the number before the name of the pictures' folder, such as 10_hero"
    )
    assert "this is TOML, and YAML is read: " in refused("rank = 8\n")


def test_kohyas_json_and_other_yaml_too() -> None:
    assert "this is kohya's JSON: " in refused('{"LoRA_type": "Standard", "network_dim": 32}', "kohya.json")
    assert "this is another trainer's YAML: " in refused("unet_lr: 1\nsnr_gamma: 5\n", "other.yaml")
    one = refused("lora:\n  alpha: 8\n  network_dim: 8\n", "mine.yaml")
    assert one == "mine.yaml, line 3: network_dim is another trainer's name; here: rank"


def test_every_name_that_is_explained_is_none_of_ours_and_points_to_one_of_ours() -> None:
    assert not set(FOREIGN) & set(OPTIONS)
    for here in FOREIGN.values():
        first = here.partition(",")[0].partition(":")[0]
        assert " " in here or first in OPTIONS, here


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--network-dim", "32"], "--network-dim is another trainer's option; here: --rank"),
        (["--network_alpha=8"], "--network_alpha is another trainer's option; here: --alpha"),
        (["--unet-lr", "1"], "--unet-lr is another trainer's option; here: --learning-rate, which is one for all"),
        (["--enable-bucket"], "--enable-bucket is another trainer's option; here: --aspect-buckets"),
        (["--rank-of-mine", "3"], "unknown option --rank-of-mine"),
    ],
)
def test_an_option_of_another_trainer_is_told_too(
    option: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(option)
    assert capsys.readouterr().err.startswith(f"error: {told}")


@pytest.mark.parametrize("text", ["256,256", "256x256", " 256 , 256 ", "256×256", "256"])
def test_a_resolution_may_be_two_equal_sides(text: str) -> None:
    assert parse(["--resolution", text]).resolution == 256


def test_two_sides_that_differ_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--resolution", "768,1024"])
    assert "--resolution: write one side or two equal ones: training pictures are square" in capsys.readouterr().err


# --- accelerate's files of earlier releases


def settings_of(text: str) -> AccelerateSettings:
    file = Path("accelerate.yaml")
    file.write_text(text, encoding="utf-8")
    settings = read_accelerate_config(file)
    assert settings is not None
    return settings


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("ipex_config: {}\n", {}),
        ("ipex_config:\n  ipex: true\nuse_cpu: true\n", {"use_cpu": True}),
        ("distributed_type: MPS\nuse_mps_device: true\n", {}),
        ("use_mps_device: false\nuse_xpu: false\n", {}),
        ("fp16: true\n", {"mixed_precision": "fp16"}),
        ("fp16: false\nmixed_precision: null\n", {}),
        ("tp_config: {}\nparallelism_config: {}\n", {}),
        ("accelerator: gpu\n", {"needs_gpu": True}),
    ],
)
def test_files_of_earlier_releases_are_read(text: str, settings: dict[str, object]) -> None:
    assert settings_of(text) == AccelerateSettings.model_validate(settings)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ipex_config: {use_xpu: true}\n", ", line 1: ipex_config: a GPU of Intel's is not offered; remove use_xpu"),
        ("use_xpu: true\n", ", line 1: use_xpu: a GPU of Intel's is not offered; remove it"),
        ("use_cpu: true\nuse_mps_device: true\n", ": use_cpu True, use_mps_device True contradict each other; keep"),
        ("fp16: true\nmixed_precision: bf16\n", ", line 1: fp16 and mixed_precision contradict each other; keep one"),
        ("distributed_type: MPS\nnum_processes: 2\n", ", line 1: distributed_type: that is one process, and 2 are"),
        ("base_job_name: a\ncompute_environment: AMAZON_SAGEMAKER\n", ", line 2: compute_environment: a training runs"),
    ],
)
def test_what_they_ask_for_and_is_not_offered_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        settings_of(text)
    assert str(caught.value).startswith(f"accelerate.yaml{told}")


def test_what_only_tunes_a_processor_is_said_to_make_no_difference(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "models"):
        settings_of("ipex_config: {ipex: true}\n")
    assert caplog.messages == ["accelerate.yaml: makes no difference here: ipex_config"]


def test_use_cpu_false_trains_on_the_processor_where_there_is_no_gpu_and_says_so() -> None:
    settings = settings_of("use_cpu: false\ngpu_ids: all\nnum_processes: 1\n")
    options = TrainingOptions(accelerate_config="accelerate.yaml", output_dir="outputs")
    assert choose_training_device(options, settings) == "cpu"
    assert find_training_problems(options, settings, Keys(), "a-run") == ()
    assert (
        find_fallback(options, settings) == "accelerate.yaml: use_cpu is not true, and there is no GPU: the CPU trains"
    )
    assert find_fallback(options, settings_of("use_cpu: true\n")) is None
    assert find_fallback(options.model_copy(update={"device": "cpu"}), settings) is None
    assert find_fallback(options, None) is None


@pytest.mark.parametrize(
    "text", ["accelerator: gpu\n", "gpu_ids: '0'\n", "distributed_type: MULTI_GPU\nnum_processes: 2\n"]
)
def test_a_gpu_that_was_asked_for_by_name_is_needed(text: str) -> None:
    settings = settings_of(text)
    options = TrainingOptions(accelerate_config="accelerate.yaml", output_dir="outputs")
    (problem,) = find_training_problems(options, settings, Keys(), "a-run")[-1:]
    assert "cuda" in problem or "GPU" in problem
    assert find_fallback(options, settings) is None
