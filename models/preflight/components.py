"""Checks that a profile's base models are on this machine or can be downloaded, and that the disks have room."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from models.bases.configurations import find_misfits
from models.bases.fingerprints import component_fingerprint, parts_of_pipeline, with_vae
from models.bases.hub import is_offline
from models.bases.layouts import MODEL_INDEX, PICKLE
from models.diffusion.requests import sampling
from models.errors import StoryboardError
from models.frames.render_config import render_settings, turbo_of
from models.profiles import ROOT, Profile
from models.settings import EMBEDDED, StoryboardOptions
from models.sources import SINGLE, Component
from models.storage.files import check_file
from models.turbo import is_in_hub

NEARLY_ALL = 0.98
"""Least cached share of a component's bytes to count as complete; below 1 because profiles give rounded sizes."""


class Need(NamedTuple):
    """Bytes that a run will write below a folder."""

    what: str
    size: int
    folder: Path


def needed_components(options: StoryboardOptions, profile: Profile) -> list[Component]:
    """Return the profile's models that these options use: a ControlNet only in the reference_guided pipeline.

    A distillation LoRA of a hub repository is one of them; others are checked with the LoRAs.

    Raises:
        InputError: speed turbo can't be painted with these options.
    """
    guided = [profile.controlnet] if options.pipeline == "reference_guided" else []
    turbo = turbo_of(options, profile)
    loras = [turbo.lora] if turbo and is_in_hub(turbo.lora) else []
    own = [part for part in (profile.vae, profile.dino) if part]
    return [profile.base, *own, *guided, profile.clip, *loras]


def find_component_problems(options: StoryboardOptions, profile: Profile) -> Iterator[str]:
    """Yield one line for each model that is missing and can't be downloaded, or that does not fit the others."""
    absent = list(find_absent(needed_components(options, profile)))
    yield from absent
    if not absent:
        sampler = sampling(options.speed, 1, turbo_of(options, profile)).sampler
        yield from find_misfits(profile, sampler, guided=options.pipeline == "reference_guided")
    vocabulary = profile.vocabulary
    if vocabulary and Path(vocabulary).parent.is_dir() and not Path(vocabulary).is_file():
        yield _incomplete(Path(vocabulary).parent, [Path(vocabulary).name])


def find_absent(components: list[Component]) -> Iterator[str]:
    """Yield one line for each model that is missing and can't be downloaded."""
    yield from _local_problems([component for component in components if component.is_local])
    for component in components:
        if not component.is_local and is_offline() and bytes_to_fetch(component):
            yield (
                f"{component.source} is not in the cache, or only in part, and HF_HUB_OFFLINE is set: "
                f"unset it to download {_amount(component.size)}, or set HF_HOME to where it is"
            )


def _local_problems(components: list[Component]) -> Iterator[str]:
    absent: list[Path] = []
    for component in components:
        folder = Path(component.source)
        if any(parent in absent for parent in folder.parents):
            continue  # reported already
        if not folder.exists():
            absent.append(folder)
            kind = "file" if folder.suffix == SINGLE else "folder"
            yield _incomplete(folder, [f"there is no such {kind}"])
            continue
        lacks = list(_missing_parts(folder, pickled=component.pickled) if folder.is_dir() else _faults(folder))
        if lacks:
            yield _incomplete(folder, lacks)


def _incomplete(folder: Path, lacks: list[str]) -> str:
    ours = folder.is_relative_to(ROOT)
    shown = folder.relative_to(ROOT) if ours else folder
    way_out = f"bring it back: git checkout -- {shown}, or python -m steppe.pretrain" if ours else "fetch it again"
    return f"{shown} is missing or incomplete: {', '.join(lacks)}; {way_out}"


def _missing_parts(folder: Path, *, pickled: bool) -> Iterator[str]:
    """Yield the missing and broken files of a model in the diffusers or transformers layout."""
    try:
        parts = parts_of_pipeline(folder / MODEL_INDEX)
    except StoryboardError as error:
        yield str(error)
        return
    for part in parts:
        if not (pickled and (folder / part / PICKLE).is_file() and (folder / part / "config.json").is_file()):
            yield from _missing_files(folder / part, part or folder.name, is_model=not part)


def _faults(file: Path) -> Iterator[str]:
    try:
        check_file(file)
    except StoryboardError as error:
        yield str(error)


def _missing_files(place: Path, name: str, *, is_model: bool) -> Iterator[str]:
    configs, weights = sorted(place.glob("*.json")), sorted(place.glob("*.safetensors"))
    has_config = (place / "config.json").is_file()
    if not configs or (is_model and not has_config):
        yield f"no config in {name}"
    elif has_config and not weights:
        yield f"no weights in {name}"
    for file in [*configs, *weights]:
        yield from _faults(file)


def bytes_to_fetch(component: Component) -> int:
    """Return the bytes of a hub repository that are missing from the cache; 0 for a local component."""
    if component.is_local:
        return 0
    present = _cached_bytes(component)
    return 0 if present >= NEARLY_ALL * component.size else component.size - present


def _cached_bytes(component: Component) -> int:
    snapshot = _cached_snapshot(component)
    if snapshot is None:
        return 0
    files = (path for path in snapshot.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if _is_wanted(path.relative_to(snapshot), component))


def _cached_snapshot(component: Component) -> Path | None:
    """Return the folder of a hub repository in the local cache, complete or not."""
    from huggingface_hub import try_to_load_from_cache

    for name in (MODEL_INDEX, "config.json", *(file for file in component.files if "*" not in file)):
        found = try_to_load_from_cache(component.source, name, revision=component.revision)
        if isinstance(found, str):
            return Path(found).parents[name.count("/")]
    return None


def _is_wanted(path: Path, component: Component) -> bool:
    return not component.files or any(fnmatch(path.as_posix(), pattern) for pattern in component.files)


def find_room_problems(options: StoryboardOptions, profile: Profile) -> Iterator[str]:
    """Yield one line for each disk with too little room for a storyboard.

    Raises:
        InputError: the profile does not have the aspect.
    """
    from models.board.contact_sheet import most_bytes  # here, because only this function needs Pillow

    size = render_settings(options, profile).size
    # A PNG is at most about as large as its raw pixels. Every attempt is kept, and the chosen one is copied.
    pictures = Need("pictures", options.frames * (options.attempts + 1) * size.pixels * 3, Path(options.output_dir))
    sheet = Need("contact sheet", most_bytes(options.frames, size), Path(options.output_dir))
    models = needs_of(needed_components(options, profile)) if options.painters == EMBEDDED else ()
    yield from find_full_disks([*models, pictures, sheet])


def find_full_disks(all_needs: list[Need]) -> Iterator[str]:
    """Yield one line for each disk with too little room for these needs."""
    by_disk: dict[int, list[Need]] = defaultdict(list)
    for need in all_needs:
        by_disk[_existing(need.folder).stat().st_dev].append(need)
    for needs in by_disk.values():
        total = sum(need.size for need in needs)
        free = shutil.disk_usage(_existing(needs[0].folder)).free
        if free < total:
            what = ", ".join(f"{need.what} {_amount(need.size)}" for need in needs)
            yield (
                f"the disk of {needs[0].folder} has {_amount(free)} free, {_amount(total)} are needed ({what}): "
                "free some, or set HF_HOME or --output-dir to a folder on another disk"
            )


def needs_of(components: list[Component]) -> Iterator[Need]:
    """Yield the disk space that the missing models' downloads need."""
    from huggingface_hub.constants import HF_HUB_CACHE

    for component in components:
        missing = bytes_to_fetch(component)
        if missing and not is_offline():
            yield Need(component.source, missing, Path(HF_HUB_CACHE))


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def _amount(size: int) -> str:
    """Return the size in GB, or in MB below 1 GB."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def fingerprints_here(options: StoryboardOptions, profile: Profile) -> dict[str, str | None] | None:
    """Return the fingerprints of the options' base, ControlNet and CLIP; None if one is not on this machine.

    Nothing is downloaded. The values equal those of `models.diffusion.weights.fingerprints` after loading.

    Raises:
        WeightsInvalid, StorageError: a file can't be read.
    """
    parts = {"base": profile.base, "controlnet": profile.controlnet, "clip": profile.clip, "vae": profile.vae}
    needed = needed_components(options, profile)
    used = {name: part for name, part in parts.items() if part is not None and part in needed}
    places = {name: Path(part.source) if part.is_local else _cached_snapshot(part) for name, part in used.items()}
    here = {name: place for name, place in places.items() if place is not None and place.exists()}
    if len(here) < len(used):
        return None
    found = {name: component_fingerprint(used[name], place) for name, place in here.items()}
    base = with_vae(found["base"], found.get("vae"))
    return {"base": base, "controlnet": found.get("controlnet"), "clip": found["clip"]}
