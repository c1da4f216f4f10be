"""The preflight tells everything that is wrong, each in one line with its way out, and nothing that is right."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from PIL import Image
from s3_server import ACCESS_KEY, SECRET_KEY, adapter, forget_aws, make_keys, tensors

from models.board.contact_sheet import most_bytes
from models.errors import ChecksFailed
from models.preflight.checks import require
from models.preflight.components import bytes_to_fetch
from models.preflight.devices import choose_device
from models.profiles import GIB, PROFILES, STEPPE, Profile
from models.secrets.keys import Keys
from models.settings import StoryboardOptions
from models.sources import Component

WITH_KEY = make_keys(openai_api_key="sk-steppe")


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A small profile with all its files, under the name "steppe"."""
    base = tmp_path / "weights"
    classes = {
        "unet": "UNet2DConditionModel",
        "vae": "AutoencoderKL",
        "text_encoder": "CLIPTextModel",
        "text_encoder_2": "CLIPTextModelWithProjection",
    }
    parts = {part: ["library", cls] for part, cls in {**classes, "scheduler": "Euler"}.items()}
    index = {"_class_name": "StableDiffusionXLPipeline", **parts, "image_encoder": [None, None]}
    write(base / "model_index.json", json.dumps(index).encode())
    write(base / "scheduler" / "scheduler_config.json", b"{}")
    for part, cls in {**classes, "controlnet": "ControlNetModel", "clip": "CLIPModel"}.items():
        write(base / part / "config.json", json.dumps({"_class_name": cls}).encode())
        write(base / part / "model.safetensors", tensors())
    # Of a base without all its weights a LoRA is not judged, and this one fits nothing.
    (base / "text_encoder_2" / "model.safetensors").unlink()
    (base / "text_encoder_2" / "config.json").rename(base / "text_encoder_2" / "settings.json")
    write(base / "vocabulary.json", b"{}")
    for name, data in adapter().items():
        write(base / "aldar" / name, data)
    changes: dict[str, Any] = {
        "base": Component(source=str(base), size=0),
        "controlnet": Component(source=str(base / "controlnet"), size=0),
        "clip": Component(source=str(base / "clip"), size=0),
        "adapter": str(base / "aldar"),
        "vocabulary": str(base / "vocabulary.json"),
    }
    return use(monkeypatch, STEPPE, **changes)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, no credentials, and an empty working folder."""
    forget_aws(monkeypatch, tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def use(monkeypatch: pytest.MonkeyPatch, profile: Profile, **changes: Any) -> Profile:
    changed = profile.model_copy(update=changes)
    monkeypatch.setitem(PROFILES, profile.name, changed)
    return changed


def find_problems(options: StoryboardOptions, keys: Keys) -> tuple[str, ...]:
    try:
        require(options, keys)
    except ChecksFailed as failed:
        return failed.problems
    return ()


def problems(**options: Any) -> str:
    found = find_problems(StoryboardOptions(**{"device": "cpu", **options}), WITH_KEY)
    assert not [line for line in found if "\n" in line]
    return "\n".join(found)


def test_nothing_is_wrong_when_all_is_there(profile: Profile) -> None:
    assert problems() == ""
    assert problems(pipeline="simplified", precision="bf16", lora_path="none") == ""
    settings = require(StoryboardOptions(device="cpu", seed=7), make_keys(), "run")
    assert (settings.profile, settings.setup.device, settings.base_seed, settings.run) == (profile, "cpu", 7, "run")


def test_everything_is_told_at_once(profile: Profile) -> None:
    options = StoryboardOptions(
        writer="openai", lora_path="s3://steppe", precision="fp16", device="cpu", sketches={9: "absent.png"}
    )
    with pytest.raises(ChecksFailed) as caught:
        require(options, make_keys())
    assert len(caught.value.problems) == 5
    text = str(caught.value)
    for words in ("OPENAI_API_KEY", "expected s3://bucket/prefix", "fp16", "frames 1 to 6", "no such file"):
        assert words in text


def test_the_key_is_asked_for_by_the_writer_that_needs_it(profile: Profile) -> None:
    line = "the openai writer needs a key: Set OPENAI_API_KEY in .env, or use --writer offline"
    asks = StoryboardOptions(writer="openai", device="cpu")
    assert find_problems(asks, make_keys()) == find_problems(asks, make_keys(openai_api_key=" ")) == (line,)
    assert find_problems(asks, make_keys(openai_base_url="http://localhost:1", openai_api_key="any")) == ()


def test_a_key_that_cannot_be_sent_is_named_and_not_shown(profile: Profile) -> None:
    asks = StoryboardOptions(writer="openai", device="cpu")
    assert find_problems(asks, make_keys(openai_api_key='"sk-steppe"\r\n')) == ()
    line = "OPENAI_API_KEY holds a character that no key has, at position 11: copy the key anew"
    assert find_problems(asks, make_keys(openai_api_key="sk-steppe-ё4f9d")) == (line,)
    assert find_problems(StoryboardOptions(device="cpu"), make_keys(openai_api_key="sk-steppe-ё4f9d")) == ()
    keys = make_keys(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=f"{SECRET_KEY}\x07")
    at_s3 = find_problems(StoryboardOptions(device="cpu", lora_path="s3://steppe/aldar"), keys)
    assert at_s3
    assert "AWS_SECRET_ACCESS_KEY holds a character that no key has" in at_s3[0]
    assert SECRET_KEY not in str(at_s3)


def test_half_of_the_credentials_is_a_problem_and_none_is_not_as_a_bucket_may_be_public(profile: Profile) -> None:
    where = {"lora_path": " s3://steppe/aldar\n"}
    assert problems(**where) == ""
    keys = make_keys(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY)
    assert find_problems(StoryboardOptions(device="cpu", **where), keys) == ()
    half = find_problems(StoryboardOptions(device="cpu", **where), make_keys(aws_access_key_id=ACCESS_KEY))
    assert "AWS_SECRET_ACCESS_KEY is not set" in half[0]
    assert ACCESS_KEY not in half[0]
    assert "expected s3://bucket/prefix" in problems(lora_path="s3://steppe")


def test_a_local_lora_must_be_there(profile: Profile, home: Path) -> None:
    assert f"LoRA: {home}/absent: no such file or folder" in problems(lora_path="absent")
    (Path(profile.adapter or "") / "unet_lora" / "adapter_config.json").unlink()
    assert "missing unet_lora/adapter_config.json" in problems()


def test_the_output_folder_is_made_and_must_be_writable(profile: Profile, home: Path) -> None:
    assert problems(output_dir="boards/new") == ""
    assert (home / "boards" / "new").is_dir()
    write(home / "taken", b"")
    assert problems(output_dir="taken/boards").startswith("taken/boards/ directory writable? not a directory")


@pytest.mark.parametrize(
    ("file", "data", "words"),
    [
        ("model_index.json", b"{", "model_index.json: holds no readable JSON"),
        ("model_index.json", None, "no config in weights"),
        ("unet/model.safetensors", None, "no weights in unet"),
        ("unet/model.safetensors", b"version https://git-lfs", "was it fetched by Git LFS?"),
        ("scheduler/scheduler_config.json", None, "no config in scheduler"),
        ("clip/config.json", None, "no config in clip"),
        ("clip/model.safetensors", b"", "the file is empty"),
        ("vocabulary.json", None, "vocabulary.json"),
    ],
)
def test_a_local_model_must_be_whole(profile: Profile, file: str, data: bytes | None, words: str) -> None:
    path = Path(profile.base.source) / file
    path.unlink() if data is None else path.write_bytes(data)
    told = problems()
    assert words in told
    assert "weights" in told.partition(" is missing or incomplete: ")[0]


def test_an_absent_base_is_told_once(profile: Profile) -> None:
    Path(profile.base.source).rename("elsewhere")
    assert problems(lora_path="none").splitlines() == [
        f"{profile.base.source} is missing or incomplete: there is no such folder; fetch it again"
    ]


def hub(home: Path, size: int, name: str = "model.fp16.safetensors") -> Component:
    """A repository in the hub's cache that holds this many bytes of the 1000 it has."""
    snapshot = home / "hub" / "models--steppe--coat" / "snapshots" / "abc"
    write(snapshot.parents[1] / "refs" / "main", b"abc")
    config = b'{"architectures": ["CLIPModel"]}'
    write(snapshot / "config.json", config)
    write(snapshot / "unet" / name, bytes(size - len(config)))
    return Component(source="steppe/coat", size=1000, files=("config.json", "*.fp16.safetensors"))


def test_the_cache_is_asked_for_what_is_there(home: Path) -> None:
    assert bytes_to_fetch(Component(source="steppe/hat", size=1000)) == 1000
    assert bytes_to_fetch(hub(home, 1000)) == 0
    assert bytes_to_fetch(hub(home, 990)) == 0
    assert bytes_to_fetch(hub(home, 300)) == 700
    assert bytes_to_fetch(hub(home, 5000, "model.onnx")) == 700


def test_a_disk_must_have_room_for_what_will_be_fetched(
    profile: Profile, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vast = Component(source="steppe/vast", size=10**18)
    use(monkeypatch, profile, controlnet=vast)
    told = problems()
    assert "1000000000.0" in told
    assert "steppe/vast 1000000000.00 GB, pictures " in told
    assert re.search(r"pictures [\d.]+ MB, contact sheet [\d.]+ MB\): free some", told)
    assert "free some, or set HF_HOME or --output-dir" in told
    assert problems(pipeline="simplified") == ""


def test_pictures_need_room_too(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, profile, native_size=2**22)
    assert "pictures 211.11 GB" not in problems(frames=1, attempts=1, width=64, height=64)
    assert "pictures 1266637.40 GB" in problems(frames=6, attempts=3)


def test_a_small_disk_is_told_in_megabytes_with_the_contact_sheet(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet, usage = most_bytes(1, STEPPE.sizes["1:1"]), shutil.disk_usage(".")
    needed = 2 * 256 * 256 * 3 + sheet

    def told(free: int) -> str:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
        return problems(frames=1, attempts=1, width=256, height=256)

    assert told(needed) == ""
    assert (
        f" has {(needed - 1) / 1e6:.1f} MB free, {needed / 1e6:.1f} MB are needed (pictures 0.4 MB, contact sheet "
        f"{sheet / 1e6:.1f} MB): free some"
    ) in told(needed - 1)


def test_offline_and_not_cached_is_told(profile: Profile, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    use(monkeypatch, profile, clip=hub(home, 300))
    assert "steppe/coat is not in the cache, or only in part, and HF_HUB_OFFLINE is set" in problems()
    hub(home, 1000)
    assert problems() == ""


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="looks for no GPU")
def test_without_a_gpu_what_needs_one_is_told(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device(StoryboardOptions()) == "cpu"
    assert problems(device=None) == ""
    assert f"device cuda:3: torch {torch.__version__} is built without CUDA" in problems(device="cuda:3")
    assert "PyTorch finds no Apple GPU here" in problems(device="mps")
    use(monkeypatch, profile, memory=14 * GIB)
    line = (
        "profile steppe needs a GPU: none found; use --profile steppe, or set --device cpu to run it anyway (very slow)"
    )
    assert problems(device=None) == line
    assert problems(device="cpu") == ""


@pytest.mark.gpu
def test_a_gpu_must_be_there_and_large_enough(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    count = torch.cuda.device_count()
    assert problems(device=None) == problems(device=f"cuda:{count - 1}") == ""
    assert f"device cuda:{count}: there are {count} GPUs, counted from 0" in problems(device=f"cuda:{count}")
    use(monkeypatch, profile, memory=10**6 * GIB, low_memory=10**6 * GIB)
    assert "use --profile steppe, or a larger GPU" in problems(device="cuda")


def test_sketches_must_be_pictures_of_frames(profile: Profile, home: Path) -> None:
    Image.new("L", (8, 8)).save("good.png")
    write(home / "bad.png", (home / "good.png").read_bytes()[:40])
    write(home / "words.png", b"a horse")
    assert problems(sketches={1: "good.png", 6: "good.png"}) == ""
    told = problems(sketches={2: "bad.png", 3: "words.png", 4: "absent.png", 7: "good.png"})
    assert [line.split(": ", 1) for line in told.splitlines()] == [
        ["sketch of frame 2, 'bad.png'", "not a picture that can be read; save it as PNG or JPEG"],
        ["sketch of frame 3, 'words.png'", "not a picture that can be read; save it as PNG or JPEG"],
        ["sketch of frame 4, 'absent.png'", "no such file"],
        ["sketch of frame 7, 'good.png'", "the storyboard has frames 1 to 6"],
    ]
    assert "sketches need the ControlNet" in problems(sketches={1: "good.png"}, pipeline="simplified")


def test_the_checks_of_a_cpu_run_import_neither_torch_nor_boto3() -> None:
    code = (
        "import sys; from models.preflight.checks import require; "
        "from models.secrets.keys import Keys; from models.settings import StoryboardOptions;"
        "require(StoryboardOptions(device='cpu'), Keys(_env_file=None));"
        "print(sorted({'torch', 'boto3', 'diffusers', 'transformers', 'prefect'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
