"""Fingerprints of base models' weights."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from models.bases.layouts import MODEL_INDEX
from models.sources import Component
from models.storage.files import check_file, fingerprint, list_names, local_errors, sha256_of


def with_vae(base: str, vae: str | None) -> str:
    """Return the fingerprint of a base with its VAE replaced: sha256 of both fingerprints."""
    return base if vae is None else hashlib.sha256(f"{base} {vae}".encode()).hexdigest()


def component_fingerprint(component: Component, folder: Path) -> str:
    """Return a component's fingerprint: sha256 of its local files, or of a hub repository's name and commit.

    The commit stands for the files, because hashing 7 GB in every run would take longer than a frame.

    Args:
        folder: the component's folder or file, as `models.bases.hub.fetch` returns it; a hub snapshot's folder is
            named by its commit.

    Raises:
        WeightsInvalid, StorageError: the files cannot be read.
    """
    if not component.is_local:
        return hashlib.sha256(f"{component.source}@{folder.name}".encode()).hexdigest()
    if component.is_file:
        return sha256_of(folder)
    names = sorted(parts_of_pipeline(folder / MODEL_INDEX))
    with ThreadPoolExecutor() as threads:  # parts are hashed in parallel; the largest one sets the time
        parts = list(threads.map(lambda name: fingerprint(folder / name), names))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def stamp_of(place: Path) -> str:
    """Return a sha256 of the names, inodes, sizes and times of a component's files, without reading them.

    Two machines with equal stamps have the same files, as on a shared disk; those of copies differ.

    Raises:
        StorageError: the files cannot be listed.
    """
    with local_errors(place):
        files = [place / name for name in list_names(place)] if place.is_dir() else [place]
        told = [(str(file.relative_to(place)), file.stat()) for file in files]
    listing = [(name, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns) for name, at in told]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def parts_of_pipeline(index: Path) -> list[str]:
    """Return the subfolders that `model_index.json` lists (`"unet": ["diffusers", "UNet2DConditionModel"]`).

    A folder without that file is a single model; its only part is the folder itself ("").

    Raises:
        WeightsInvalid: the file is no JSON object.
    """
    if not index.is_file():
        return [""]
    check_file(index)
    entries = json.loads(index.read_bytes())
    return [name for name, value in entries.items() if isinstance(value, list) and value and value[0]]
