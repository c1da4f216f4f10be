"""Reads the configurations of a profile's models, and finds models that do not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from models.bases.compatibility import (
    INDEX,
    Config,
    Configs,
    find_base_problems,
    find_clip_problems,
    find_controlnet_problems,
    find_vae_problems,
)
from models.bases.hub import CONFIGS, fetch_part, name_of
from models.bases.layouts import MODEL_INDEX, PARTS, read_json
from models.bases.schedules import CONFIG_FILE, Sampler, find_schedule_problems
from models.bases.single_files import configs_of_base, kind_of, read_header
from models.errors import ConnectionFailed, StoryboardError, WeightsInvalid
from models.profiles import Profile
from models.sources import Component

SCHEDULER = "scheduler"


def find_misfits(profile: Profile, sampler: Sampler | Literal["training"], *, guided: bool) -> Iterator[str]:
    """Yield one line for each model of the profile that does not fit the others.

    Args:
        profile: names the models. Configurations missing from the hub's cache are downloaded.
        sampler: must be able to follow the base's noise schedule.
        guided: whether the ControlNet is used.
    """
    try:
        found = list(_base_problems(profile, sampler))
    except ConnectionFailed as error:  # the other checks would wait for the same hub
        yield str(error)
        return
    yield from found
    if guided and not found:
        unet = read_configs(profile.base, profile.layout).get("unet", {})
        yield from _part_problems("controlnet", profile.controlnet, profile, unet)
    if profile.vae is not None:
        yield from _part_problems("vae", profile.vae, profile, {})
    yield from _part_problems("clip", profile.clip, profile, {})


def _base_problems(profile: Profile, sampler: Sampler | Literal["training"]) -> Iterator[str]:
    name = name_of(profile.base)
    try:
        configs = dict(read_configs(profile.base, profile.layout))
    except ConnectionFailed:
        raise
    except StoryboardError as error:
        yield str(error)
        return
    if profile.vae:  # it replaces the base's own
        configs.pop("vae", None)
        configs[INDEX] = {**configs.get(INDEX, {}), "vae": ["diffusers", "AutoencoderKL"]}
    yield from find_base_problems(name, configs)
    if SCHEDULER in configs:
        yield from find_schedule_problems(configs[SCHEDULER], sampler, f"base {name}")


def _part_problems(part: str, component: Component, profile: Profile, unet: Config) -> Iterator[str]:
    try:
        config, name = read_config(component, part, profile.layout), name_of(component)
        if part == "controlnet":
            yield from find_controlnet_problems(name, config, unet)
        elif part == "vae":
            yield from find_vae_problems(name, config)
        else:
            yield from find_clip_problems(name, config)
    except StoryboardError as error:
        yield str(error)


def read_configs(base: Component, layout: str) -> Configs:
    """Return all configurations of a base; for a single file the layout's, corrected by the file's header.

    Raises:
        WeightsInvalid: a file is broken, or holds no base.
        ConnectionFailed: the hub can't be reached.
    """
    if base.is_file:
        return configs_of_base(Path(base.source), read_folder(Path(layout)))
    return read_folder(fetch_part(base, CONFIGS))


def read_config(component: Component, part: str, layout: str) -> Config:
    """Return the configuration of a ControlNet, VAE or CLIP.

    For a single file it is the config.json beside the file, or else the layout's.

    Raises:
        WeightsInvalid, ConnectionFailed: as `read_configs`.
    """
    if not component.is_file:
        folder = fetch_part(component, CONFIGS)
        own = folder / "config.json"  # absent: the folder is a whole pipeline, and the part is a subfolder
        return read_json(own if own.is_file() else folder / part / "config.json")
    file = Path(component.source)
    if part == "clip":
        raise WeightsInvalid(f"CLIP {file}: name the folder with its configuration and tokenizer, not one file")
    found = kind_of(read_header(file))
    if found != part:
        raise WeightsInvalid(f"{part} {file}: holds {found or 'something else'}; name another file")
    beside = file.parent / "config.json"
    return read_json(beside if beside.is_file() else Path(layout) / part / "config.json")


def read_folder(folder: Path) -> Configs:
    """Return all configurations found in a base's folder."""
    files = {
        INDEX: folder / MODEL_INDEX,
        SCHEDULER: folder / SCHEDULER / CONFIG_FILE,
        **{part: folder / part / "config.json" for part in PARTS if part != SCHEDULER},
    }
    return {part: read_json(file) for part, file in files.items() if file.is_file()}
