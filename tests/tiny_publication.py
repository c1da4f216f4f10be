"""A checkpoint of the tiny SDXL as the training writes it, and what a publication of it is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from s3_server import Rule, answer_error, key_of
from safetensors.torch import save_file
from tiny_loras import ALPHA, RANK, Tensors

from models.diffusion.adapter_files import LAYOUT
from models.lora.options import TrainingOptions
from models.lora.publishing.character import Character
from models.lora.records import Checkpoint, CheckpointScores, Comparison, TrainingPicture, TrainingSet
from models.storage.files import list_names, sha256_of

TARGETS = {"unet": ["to_q", "to_v"], "text_encoder": ["q_proj", "v_proj"], "text_encoder_2": ["q_proj", "v_proj"]}
DROPOUT = 0.5
"""High on purpose: a reader that drops out while it paints shows."""


def lora_config(targets: list[str], **changes: Any) -> Any:
    """PEFT's own record of a LoRA."""
    from peft import LoraConfig

    plain = {"r": RANK, "lora_alpha": ALPHA, "lora_dropout": DROPOUT, "init_lora_weights": "gaussian"}
    return LoraConfig(**{**plain, "target_modules": targets, **changes})


def save_checkpoint(
    folder: Path, lora: Tensors, targets: Mapping[str, list[str]] = TARGETS, **changes: Any
) -> Checkpoint:
    """Three adapters, what the training goes on from, and the manifest of all that.

    Args:
        targets: the modules that learn, by part.
        changes: of PEFT's config.
    """
    for name, part in LAYOUT.items():
        lora_config(list(targets[part]), **changes).save_pretrained(folder / name)
        tensors = {f"base_model.model.{key}": value for key, value in lora[part].items()}
        save_file(tensors, folder / name / "adapter_model.safetensors", {"format": "pt"})
    (folder / "resume").mkdir()
    (folder / "resume" / "state.pt").write_bytes(b"optimizer")
    write_manifest(folder)
    return Checkpoint(path=str(folder), step=300, loss=0.04, validation_loss=0.05)


def write_manifest(folder: Path) -> None:
    """sha256 and size of every other file."""
    files = {name: folder / name for name in list_names(folder) if name != "manifest.json"}
    entries = {name: {"sha256": sha256_of(path), "size": path.stat().st_size} for name, path in files.items()}
    (folder / "manifest.json").write_text(json.dumps({"files": entries}))


def character(folder: Path, checkpoint: Checkpoint, **changes: Any) -> Character:
    """What is published, with a picture of samples made in the folder."""
    samples = folder / "grid.jpg"
    Image.new("RGB", (8, 8)).save(samples)
    plain = {"name": "aldar", "checkpoint": checkpoint, "card": "# Aldar\n", "samples": samples}
    return Character(**{**plain, "metadata": {"ss_output_name": "aldar"}, **changes})


def halved(lora: Tensors) -> Tensors:
    """Another LoRA of the same shapes."""
    return {part: {name: value / 2 for name, value in own.items()} for part, own in lora.items()}


def told(grid: Path, **changes: Any) -> tuple[TrainingOptions, TrainingSet, Comparison]:
    """Records of a training of three checkpoints, as a card tells of them."""
    picture = TrainingPicture(file="/a/b.png", sha256="0" * 64, caption="aldar in a yurt", width=64, height=64)
    train = picture.model_copy(update={"caption": changes.pop("caption", picture.caption)})
    rows = tuple(
        CheckpointScores(
            checkpoint=Checkpoint(path=f"/out/checkpoint-{step}", step=step, loss=0.1, validation_loss=validation),
            image_similarity=0.9,
            text_image_similarity=0.25,
            variety=float("nan"),
            drift=0.5,
            failed=failed,
        )
        for step, validation, failed in ((100, None, ()), (200, 0.05, ()), (300, 0.04, ("variety 0.1 | bar 0.2",)))
    )
    comparison = Comparison(
        rows=rows,
        chosen=rows[1].checkpoint,
        reason=changes.pop("reason", "most alike"),
        rule="bars, then image similarity",
        grid=str(grid),
    )
    options = TrainingOptions.model_validate({"publish_to": "s3://steppe/aldar", "name": "aldar", **changes})
    return options, TrainingSet(folder="/a", train=(train, picture), validation=(picture,)), comparison


def stop_after(count: int) -> Rule:
    """A rule that lets this many objects in, and refuses whatever is sent then."""
    sent: list[str] = []
    refuse = answer_error("SlowDown", 503)

    def rule(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] != "PUT":
            return None
        sent.append(key_of(environ))
        return refuse(environ, start_response) if len(sent) > count else None

    return rule
