"""The layout of a model's files: which ones loading needs, and how its JSON files are read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from models.errors import WeightsInvalid

MODEL_INDEX = "model_index.json"
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
"""Subfolders of an SDXL base in the diffusers layout."""
PICKLE = "pytorch_model.bin"
WEIGHTS = ".safetensors"
_WORDS = (".json", ".txt")
_OTHER_ENGINES = ("openvino", "onnx", "flax", "non_ema")


def choose_files(names: Iterable[str], variant: str | None, *, pickled: bool) -> list[str]:
    """Return those of a repository's files that loading reads.

    Args:
        names: all files of the repository, with forward slashes.
        variant: the preferred variant of the weights, such as "fp16".
        pickled: whether a pickle is accepted if there are no other weights.
    """
    all_names = sorted(names)
    folders = PARTS if MODEL_INDEX in all_names else ("",)
    chosen = [MODEL_INDEX] if MODEL_INDEX in all_names else []
    for folder in folders:
        own = [PurePosixPath(name) for name in all_names if _folder(name) == folder and name != MODEL_INDEX]
        weights = choose_weights([path.name for path in own], variant, pickled=pickled)
        chosen += [str(path) for path in own if path.suffix in _WORDS and not _is_other_index(path.name, weights)]
        chosen += [str(PurePosixPath(folder) / name) for name in weights]
    return chosen


def choose_weights(names: Iterable[str], variant: str | None, *, pickled: bool = False) -> list[str]:
    """Return one folder's weight files: those of the variant, else those without a variant, else any."""
    all_names = sorted(names)
    weights = [name for name in all_names if name.endswith(WEIGHTS) and not any(o in name for o in _OTHER_ENGINES)]
    by_variant: dict[str | None, list[str]] = {}
    for name in weights:
        by_variant.setdefault(variant_of(name), []).append(name)
    for wanted in (variant, None, *sorted(key for key in by_variant if key)):
        if wanted in by_variant:
            return by_variant[wanted]
    return [PICKLE] if pickled and PICKLE in all_names else []


def variant_of(name: str) -> str | None:
    """Return "fp16" for "model.fp16.safetensors" and "model.fp16-00001-of-00002.safetensors"; None without variant."""
    pieces = name.removesuffix(WEIGHTS).split(".")
    if len(pieces) < 2:
        return None
    return pieces[1].partition("-0")[0] or None


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _is_other_index(name: str, weights: list[str]) -> bool:
    """Whether this is the index of sharded weights while the chosen weights are not sharded."""
    return ".index." in name and not any("-of-" in weight for weight in weights)


def read_json(file: Path) -> dict[str, Any]:
    """Return a JSON object from a model's folder.

    Raises:
        WeightsInvalid: missing or not a JSON object.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsInvalid(f"{file}: missing; fetch the weights again") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsInvalid(f"{file}: not readable JSON ({reason}); delete it and fetch the weights again") from error
    if not isinstance(value, dict):
        raise WeightsInvalid(f"{file}: expected a JSON object; delete it and fetch the weights again")
    return value
