"""What a painted picture's signed manifest says: its recipe, and what it was painted from."""

from __future__ import annotations

from pathlib import Path

from models.diffusion.requests import ControlPicture
from models.frames.recipe import Recipe
from models.origin.signing import Ingredient, Manifest
from models.storage.files import sha256_of


def manifest_of(recipe: Recipe, control: ControlPicture | None) -> Manifest:
    """Return the manifest of a picture.

    Args:
        recipe: how it was painted.
        control: the picture whose lines guided it, frame 1 or a sketch; None: none did.
    """
    ingredients = [Ingredient(title=f"base of {recipe.profile}", sha256=recipe.base)]
    ingredients += [Ingredient(title=f"LoRA {lora.name}", sha256=lora.fingerprint) for lora in recipe.loras]
    if control is not None:
        title = "frame 1" if control.kind == "reference" else "sketch"
        ingredients.append(Ingredient(title=title, sha256=sha256_of(Path(control.file)), picture=control.file))
    return Manifest(
        title=f"frame_{recipe.frame:03d}.png",
        version=recipe.version,
        recipe=recipe.model_dump_json(),
        ingredients=tuple(ingredients),
    )
