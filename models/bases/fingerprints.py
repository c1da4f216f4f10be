"""Fingerprints of base models' weights."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from models.bases.layouts import MODEL_INDEX
from models.sources import Component
from models.storage.files import check_file, fingerprint, sha256_of


def with_vae(base: str, vae: str | None) -> str:
    """Fingerprint of a base with this VAE in place of its own: sha256 of both fingerprints."""
    return base if vae is None else hashlib.sha256(f"{base} {vae}".encode()).hexdigest()


def component_fingerprint(component: Component, folder: Path) -> str:
    """Fingerprint of a component: sha256 over the model's own files, or over a hub repository's name and commit.

    A hub's snapshot folder is named by its commit, and hashing 7 GB for every run would take longer than a frame.

    Args:
        folder: where the component lies, as `models.diffusion.weights.fetch` gives it.

    Raises:
        WeightsInvalid, StorageError: the files cannot be read.
    """
    if not component.is_local:
        return hashlib.sha256(f"{component.source}@{folder.name}".encode()).hexdigest()
    if component.is_file:
        return sha256_of(folder)
    names = sorted(parts_of_pipeline(folder / MODEL_INDEX))
    with ThreadPoolExecutor() as threads:  # so SDXL's 7 GB take as long as its UNet's 5
        parts = list(threads.map(lambda name: fingerprint(folder / name), names))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def parts_of_pipeline(index: Path) -> list[str]:
    """The sub-folders that `model_index.json` names (`"unet": ["diffusers", "UNet2DConditionModel"]`).

    A folder without that file is one model: its only part is the folder itself.

    Raises:
        WeightsInvalid: the file is not what it should be.
    """
    if not index.is_file():
        return [""]
    check_file(index)
    entries = json.loads(index.read_bytes())
    return [name for name, value in entries.items() if isinstance(value, list) and value and value[0]]
