"""The training's configuration file: what it may say, how it is read, and what wins over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from models.errors import InputError
from models.lora.configuration.config_files import OPTIONS, SECTIONS, read_training_config, training_options
from models.profiles import ROOT, STEPPE

CONFIGS = ROOT / "configs"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"

DOCUMENT: dict[str, dict[str, Any]] = {
    "model": {"base_model_name_or_path": SDXL, "pretrained_model_name_or_path": SDXL},
    "lora": {
        "rank": 64,
        "alpha": 32,
        "dropout": 0.1,
        "target_modules": ["to_q", "to_v"],
        "lora_init_type": "gaussian",
    },
    "training": {
        "num_train_epochs": 1,
        "max_train_steps": 1000,
        "train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-4,
        "lr_scheduler": "cosine",
        "warmup_steps": 100,
        "seed": 42,
    },
    "data": {
        "train_data_dir": "data/images",
        "caption_column": "text",
        "resolution": [1024, 1024],
        "center_crop": True,
        "random_flip": False,
    },
    "optimization": {
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "enable_xformers_memory_efficient_attention": True,
    },
    "checkpointing": {
        "checkpointing_steps": 100,
        "output_dir": "outputs/checkpoints",
        "resume_from_checkpoint": None,
    },
}
"""The architecture document's "Training Configuration", without its hardware, which is accelerate's."""

OTHER_VALUES: dict[str, Any] = {
    "base_model_name_or_path": STEPPE.base.source,
    "pretrained_model_name_or_path": STEPPE.base.source,
    "rank": 8,
    "alpha": 4,
    "dropout": 0,
    "target_modules": ["to_k"],
    "lora_init_type": "kaiming",
    "num_train_epochs": 20,
    "max_train_steps": None,
    "train_batch_size": 2,
    "gradient_accumulation_steps": 3,
    "learning_rate": 5e-5,
    "lr_scheduler": "linear",
    "warmup_steps": 0,
    "seed": 7,
    "train_data_dir": "pictures",
    "caption_column": "caption",
    "resolution": [512, 512],
    "random_flip": True,
    "optimizer": "adamw_8bit",
    "weight_decay": 0.1,
    "max_grad_norm": 0.5,
    "enable_xformers_memory_efficient_attention": False,
    "checkpointing_steps": 50,
    "output_dir": "checkpoints",
    "resume_from_checkpoint": "latest",
}
"""Another value of each of them, but of center_crop, which has one value that is right."""


def held(name: str, value: Any) -> Any:
    """A file's value as the options hold it."""
    return value[0] if name == "resolution" else tuple(value) if isinstance(value, list) else value


def written(text: str, name: str = "training.yaml") -> Path:
    """A configuration file in the test's own folder."""
    Path(name).write_text(text, encoding="utf-8", newline="")
    return Path(name)


def refused(text: str) -> str:
    """The words with which a file is refused, whoever finds the fault."""
    with pytest.raises(InputError) as caught:
        training_options({}, written(text))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the files that are here


def test_the_file_holds_all_that_the_document_does_and_nothing_else_but_accelerates_file() -> None:
    said = yaml.safe_load((CONFIGS / "training_config.yaml").read_text("utf-8"))
    assert said.pop("accelerate_config") == "accelerate_config.yaml"
    assert list(said) == list(SECTIONS) == list(DOCUMENT)
    said["training"]["learning_rate"] = float(said["training"]["learning_rate"])  # text to YAML 1.1
    assert said == DOCUMENT


@pytest.mark.parametrize(("section", "name"), [(section, name) for section in DOCUMENT for name in DOCUMENT[section]])
def test_each_key_of_the_document_reaches_the_options(section: str, name: str) -> None:
    options = training_options({}, CONFIGS / "training_config.yaml")
    assert name in options.model_fields_set
    assert getattr(options, name) == held(name, DOCUMENT[section][name])
    if name == "center_crop":
        assert "center_crop: false needs random crops" in refused("data: {center_crop: false}\n")
        return
    changed = training_options({}, written(yaml.safe_dump({section: {name: OTHER_VALUES[name]}})))
    assert getattr(changed, name) == held(name, OTHER_VALUES[name]) != getattr(options, name)


def test_the_file_of_the_document_is_sdxl_with_its_own_accelerate_file() -> None:
    options = training_options({}, CONFIGS / "training_config.yaml")
    assert options.get_profile().name == "sdxl"
    assert options.accelerate_config == str(CONFIGS / "accelerate_config.yaml")
    assert Path(options.accelerate_config).is_file()


@pytest.mark.parametrize("name", ["training_config.yaml", "training_steppe.yaml", "accelerate_config.yaml"])
def test_each_value_of_the_files_is_explained_beside_it(name: str) -> None:
    lines = (CONFIGS / name).read_text("utf-8").splitlines()
    values = [line for line in lines if not line.startswith("#") and line.partition(":")[2].strip()]
    assert values
    assert [line for line in values if "  # " not in line] == []


def test_the_steppe_file_states_only_what_the_small_model_needs() -> None:
    options = training_options({}, CONFIGS / "training_steppe.yaml")
    steps = {"learning_rate": 2e-3, "max_train_steps": 4000, "checkpointing_steps": 4000, "min_snr_gamma": 1.0}
    lora = {"rank": 32, "alpha": 32.0, "target_modules": ("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2")}
    stated = {"profile": "steppe", "prior_data_dir": "data/others", "aspect_buckets": True, **steps, **lora}
    assert options.model_dump(exclude_unset=True) == stated
    assert options.accelerate_config is None


# --- what may be written


@pytest.mark.parametrize(
    "text",
    [
        "rank: 8\nalpha: 4\n",
        "lora:\n  rank: 8\n  alpha: 4\n",
        "lora:\n  rank: 8\nalpha: 4\n",
        "training:\n  rank: 8\nlora:\n  alpha: 4\n",
        "lora: {rank: 8, alpha: 4}\ndata:\n",
        "\ufeff# Notepad's mark\nlora:\r\n  rank: 8\r\n  alpha: 4\r\n",
        '{"lora": {"rank": 8}, "alpha": 4}',
    ],
)
def test_names_stand_in_sections_or_not(text: str) -> None:
    assert training_options({}, written(text)).model_dump(exclude_unset=True) == {"rank": 8, "alpha": 4.0}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_may_stand_in_the_file(name: str) -> None:
    assert read_training_config(written(f"{name}: null\n")) == {name: None}


@pytest.mark.parametrize("rate", ["1e-4", "1E-4", "'1e-4'", "1.0e-4", "0.0001", "+1e-4", "1.e-4"])
def test_a_learning_rate_is_a_number_however_it_is_written(rate: str) -> None:
    """YAML 1.1 reads 1e-4 as text."""
    options = training_options({}, written(f"learning_rate: {rate}\n"))
    assert options.learning_rate == 1e-4
    assert isinstance(options.learning_rate, float)


def test_1e_4_is_a_number_also_before_the_record_reads_it() -> None:
    assert read_training_config(written("learning_rate: 1e-4\nname: '1e-4'\n")) == {
        "learning_rate": 1e-4,
        "name": "1e-4",
    }


@pytest.mark.parametrize("nothing", ["null", "None", "~", ""])
def test_nothing_is_written_as_yaml_does_or_as_the_document_does(nothing: str) -> None:
    assert training_options({}, written(f"resume_from_checkpoint: {nothing}\n")).resume_from_checkpoint is None


def test_a_relative_accelerate_file_lies_beside_the_file_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("folder").mkdir()
    file = written("accelerate_config: two.yaml\n", "folder/training.yaml")
    assert training_options({}, file).accelerate_config == "folder/two.yaml"
    monkeypatch.setenv("HOME", "/somebody")
    for name, path in {"/etc/two.yaml": "/etc/two.yaml", "~/two.yaml": "/somebody/two.yaml"}.items():
        assert read_training_config(written(f"accelerate_config: {name}\n", "folder/training.yaml")) == {
            "accelerate_config": path
        }
    assert training_options({"accelerate_config": "two.yaml"}, file).accelerate_config == "two.yaml"


# --- what wins


def test_an_earlier_name_works_with_a_warning_that_names_the_new_one(caplog: pytest.LogCaptureFixture) -> None:
    assert read_training_config(written("data:\n  held_out: 2\n")) == {"validation_pictures": 2}
    assert caplog.messages == [
        "training.yaml, line 2: held_out is now called validation_pictures; the old name works in this release"
    ]
    assert refused("held_out: 2\nvalidation_pictures: 3\n") == (
        "training.yaml, line 2: validation_pictures is also in line 1; keep one"
    )


def test_what_is_given_wins_over_the_file_and_that_over_the_defaults() -> None:
    file = written("lora: {rank: 8, alpha: 4}\nresume_from_checkpoint: latest\n")
    options = training_options({"rank": "16", "resume_from_checkpoint": None}, file)
    assert (options.rank, options.alpha, options.resume_from_checkpoint, options.dropout) == (16, 4, None, 0.1)
    assert options.model_fields_set == {"rank", "alpha", "resume_from_checkpoint"}
    assert training_options({"seed": 7}, None).model_dump(exclude_unset=True) == {"seed": 7}


def test_a_default_that_was_given_wins_too() -> None:
    assert training_options({"rank": 64}, written("rank: 8\n")).rank == 64


def test_a_profile_and_the_base_of_another_contradict_each_other() -> None:
    file = written(f"model: {{base_model_name_or_path: {SDXL}}}\n")
    with pytest.raises(InputError) as caught:
        training_options({"profile": "steppe"}, file)
    assert str(caught.value) == (
        f"training.yaml and the options given with it: base_model_name_or_path: '{SDXL}' is the base of profile sdxl, "
        "and profile is steppe; leave one of the two out"
    )
    assert training_options({"profile": "steppe", "base_model_name_or_path": None}, file).get_profile().name == "steppe"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rank": 0}, "--rank: Input should be greater than or equal to 1, got 0"),
        ({"device": "gpu"}, "--device: valid devices: cpu, cuda, cuda:N, mps, got 'gpu'"),
        ({"rang": 0}, "unknown option 'rang'; did you mean rank?"),
        ({"lora_path": "x"}, "unknown option 'lora_path'; valid names: profile, base_model_name_or_path, "),
    ],
)
def test_what_was_given_is_named_as_it_was_given(given: dict[str, Any], words: str) -> None:
    for file in (None, written("rank: 8\ndevice: cpu\n")):
        with pytest.raises(InputError) as caught:
            training_options(given, file, lambda name: f"--{name}" if name in OPTIONS else name)
        assert str(caught.value).startswith(words)


def test_the_file_is_named_where_it_is_wrong_and_not_what_was_given() -> None:
    with pytest.raises(InputError) as caught:
        training_options({"alpha": 0}, written("rank: 0\nalpha: 0\n"), lambda name: f"--{name}")
    rank, alpha = str(caught.value).split("; ")
    assert rank == "training.yaml: rank: Input should be greater than or equal to 1, got 0"
    assert alpha == "--alpha: Input should be greater than 0, got 0"


# --- what is refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rank: 8\nlora:\n  rank: 8\n", "training.yaml, line 3: rank is also in line 1; keep one"),
        ("lora:\n  rank: 8\ndata:\n  rank: 8\n", "training.yaml, line 4: rank is also in line 2; keep one"),
        ("lorra:\n  rank: 8\n", "training.yaml, line 1: unknown section or name 'lorra'; did you mean lora?"),
        ("lora:\n  rang: 8\n", "training.yaml, line 2: unknown name 'rang'; did you mean rank?"),
        ("xyz: 8\n", "training.yaml, line 1: unknown section or name 'xyz'; valid names: profile, base_model_name"),
        ("lora: 8\n", "training.yaml, line 1: section lora holds names and values, got 8"),
        ("data:\n  lora:\n    rank: 8\n", "training.yaml, line 2: section lora stands inside another; move it to"),
        ("mixed_precision: fp16\n", "training.yaml, line 1: mixed_precision belongs in a file of its own; name that"),
        ("data:\n  device_ids: [0]\n", "training.yaml, line 2: device_ids belongs in a file of its own; name that"),
        ("name: no\n", "training.yaml, line 1: name: to YAML yes, no, on and off are true and false; quote it if"),
        ("lora:\n  rank: yes\n", "training.yaml, line 2: rank: to YAML yes, no, on and off are true and false;"),
        ("rank: 0\n", "training.yaml: rank: Input should be greater than or equal to 1, got 0"),
        ("rank: many\n", "training.yaml: rank: Input should be a valid integer, unable to parse string as an integer"),
        ("rank: {a: 1}\n", "training.yaml: rank: Input should be a valid integer, got {'a': 1}"),
        ("learning_rate: .nan\n", "training.yaml: learning_rate: Input should be less than or equal to 1, got nan"),
        ("resolution: [512, 768]\n", "training.yaml: resolution: write one side or two equal ones: training pictures"),
        ("target_modules: [to_x]\n", "training.yaml: target_modules.0: valid target modules: to_q, to_k, to_v, to_out"),
        ("target_modules: [conv1]\n", "training.yaml: target_modules: name one of to_q, to_k, to_v, to_out.0 too: te"),
        ("center_crop: false\n", "training.yaml: center_crop: false needs random crops, and pictures are encoded on"),
        ("base_model_name_or_path: x/y\n", "training.yaml: base_model_name_or_path: 'x/y' is no profile's base; valid"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(text: str, words: str) -> None:
    assert refused(text).startswith(words)
