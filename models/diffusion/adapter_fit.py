"""Whether a LoRA fits a base: every key has its module, every module its kind, every shape its weight.

Only headers are read, so that the checks can judge a LoRA before anything is loaded; loading judges by the same code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from models.bases.layouts import choose_weights
from models.diffusion.adapter_files import ComponentFile, open_adapter
from models.diffusion.adapter_keys import PARTS, TEXT_MODEL, BaseShapes, Shape, Shapes, Target, sort_keys, split_key
from models.diffusion.adapter_kinds import BIASES, LENGTHS, difference_shape, flat, kind_of, of_outputs
from models.diffusion.weights import read_header
from models.errors import AdapterMismatch, WeightsInvalid
from models.sources import Component


@dataclass(frozen=True)
class Change:
    """What a file says about one module."""

    target: Target
    kind: str | None
    """One of `adapter_kinds.KINDS`; None for a bias alone."""
    keys: Mapping[str, str]
    """Role -> key."""
    shapes: Mapping[str, Shape]
    """Role -> shape."""


@dataclass(frozen=True)
class Fit:
    """A file that fits the base."""

    file: ComponentFile
    changes: tuple[Change, ...]
    embeddings: tuple[str, ...]
    """Triggers of embeddings that lie in it and are not used."""


def canonical(key: str) -> str:
    """A weight's name without what some releases of transformers put before it."""
    return key.removeprefix(TEXT_MODEL)


def fit(file: ComponentFile, base: BaseShapes) -> Fit:
    """Every key of the file as a change to a module of the base.

    Raises:
        WeightsInvalid: a missing, broken or unsafe file.
        AdapterMismatch: a key of another kind or of no module, a piece without its partner, a shape that does not fit.
    """
    found = sort_keys(list(file.shapes), base, str(file.path), file.part)
    changes = []
    for target, keys in found.targets.items():
        first = f"{file.path}: {next(iter(keys.values()))!r}"
        kind, wrong = kind_of(set(keys))
        if wrong:
            raise AdapterMismatch(f"{first}: {wrong}")
        if file.configs.get(target.part, {}).get("use_dora") and not set(LENGTHS) & set(keys):
            raise AdapterMismatch(f"{first}: its config says use_dora, and the lengths of a DoRA are not in the file")
        change = Change(target, kind, keys, {role: file.shapes[key] for role, key in keys.items()})
        wrong = _why_no_fit(change, base[target.part])
        if wrong:
            raise AdapterMismatch(f"{first}: {wrong}")
        changes.append(change)
    return Fit(file, tuple(changes), found.embeddings)


def _why_no_fit(change: Change, weights: Shapes) -> str | None:
    """Why the tensors do not fit the module's weights, in words; None where they do."""
    said = change.shapes
    if 0 in [length for shape in said.values() for length in shape]:
        return "it has rank 0 and holds no numbers"
    if flat(said.get("alpha", ())) not in ((), (1,), (1, 1)):
        return f"its alpha has shape {list(said['alpha'])}, where one number must be"
    bias = weights.get(f"{change.target.module}.bias")
    wrong = [role for role in BIASES if role in said and said[role] != bias]
    if wrong:
        return f"{wrong[0]} has shape {list(said[wrong[0]])}, this base's bias is {_shown(bias)}"
    return None if change.kind is None else _why_no_weight(change.target.module, change.kind, said, weights)


def _why_no_weight(name: str, kind: str, said: Mapping[str, Shape], weights: Shapes) -> str | None:
    weight = weights.get(f"{name}.weight")
    if weight is None or difference_shape(kind, said) != flat(weight):
        shapes = " and ".join(f"{role} {list(shape)}" for role, shape in said.items() if role != "alpha")
        return f"{name!r} has {shapes}, this base's weight is {_shown(weight)}"
    lengths = (prod(said["magnitude"]),) if "magnitude" in said else said.get("dora_scale")
    if lengths is not None and of_outputs(lengths, weight) is None:
        return f"{name!r} has a DoRA's lengths {list(lengths)}, this base's weight is {_shown(weight)}"
    return None


def _shown(shape: Shape | None) -> str:
    return "none" if shape is None else str(list(shape))


def judge(path: Path, base: Component) -> None:
    """Whether the LoRA at this path fits the base, as far as headers say.

    Args:
        path: as `models.storage.adapters.locate_adapter` gives it.
        base: one that is not on this machine yet is not asked for; then only the kind of the LoRA is judged.

    Raises:
        WeightsInvalid, AdapterMismatch: as `fit` raises them.
    """
    shapes = dict(_shapes_of(base))
    for file in open_adapter(path):
        if len(shapes) == len(PARTS):
            fit(file, shapes)
        for key in file.shapes:
            if not key.startswith("bundle_emb."):
                split_key(key, str(file.path))


def _shapes_of(base: Component) -> Iterator[tuple[str, Shapes]]:
    """The base's weights by part, from the headers of those of its files that are here."""
    folder = _folder_of(base)
    for part in PARTS:
        place = folder / part if folder else Path()
        names = [file.name for file in place.iterdir()] if folder and place.is_dir() else []
        files = [place / name for name in choose_weights(names, base.variant)]
        try:
            shapes = {canonical(key): shape for file in files for key, (_, shape) in read_header(file).items()}
        except WeightsInvalid:
            return  # which the check of the base tells
        if shapes:
            yield part, shapes


def _folder_of(base: Component) -> Path | None:
    if base.is_local:
        return Path(base.source)
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(base.source, "model_index.json", revision=base.revision)
    return Path(index).parent if isinstance(index, str) else None
