"""Pictures as latents: encoded once, kept by picture and VAE, and found again by the next run.

Mean and standard deviation are kept, not a sample, so that each use of a picture draws its own.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.bases.fingerprints import component_fingerprint
from models.bases.hub import fetch
from models.diffusion.parts import base_configs, read_part, vae_of
from models.diffusion.weights import is_out_of_memory
from models.errors import OutOfMemory, WeightsInvalid
from models.lora.data.pictures import crop_of, open_picture, prepare
from models.lora.options import TrainingOptions
from models.lora.records import TrainingPicture, TrainingSet
from models.progress import Progress
from models.sizes import Size
from models.sources import Component
from models.storage.files import check_file, local_errors, write_atomically

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("models.lora")

FOLDER = ".latents"


@dataclass(frozen=True)
class LatentStore:
    """Where the latents of one VAE are kept, and at which size each picture is."""

    folder: Path
    side: int
    """Of the square that pictures without a bucket become, in pixels."""
    scale: float
    """`vae.config.scaling_factor`."""

    def size_of(self, picture: TrainingPicture) -> Size:
        """Width and height that this picture is trained at, in pixels."""
        return picture.bucket or Size.square(self.side)

    def file(self, picture: TrainingPicture, *, mirrored: bool = False) -> Path:
        """Where this picture's latents belong."""
        width, height = self.size_of(picture)
        size = f"{width}" if width == height else f"{width}x{height}"
        return self.folder / f"{picture.sha256}-{size}{'-mirrored' if mirrored else ''}.safetensors"

    def sample(self, picture: TrainingPicture, noise: torch.Tensor, *, mirrored: bool = False) -> torch.Tensor:
        """Scaled latents, float32 [4, height / 8, width / 8], from `noise` of that shape.

        Raises:
            WeightsInvalid, StorageError: the file is broken or gone.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = self.file(picture, mirrored=mirrored)
        try:
            with local_errors(file):
                kept = load_file(file)
        except SafetensorError as error:
            raise WeightsInvalid(f"{file}: broken; remove it, and run again") from error
        drawn: torch.Tensor = (kept["mean"] + kept["std"] * noise) * self.scale
        return drawn

    def time_ids(self, picture: TrainingPicture) -> list[float]:
        """SDXL's micro-conditioning: original size, crop corner, target size; each height before width."""
        crop = crop_of(picture.width, picture.height, self.size_of(picture))
        return [picture.height, picture.width, crop.top, crop.left, crop.height, crop.width]


def open_store(options: TrainingOptions) -> LatentStore:
    """The place for the latents of these options' VAE and size.

    Raises:
        WeightsInvalid, ConnectionFailed: the base can't be read.
    """
    profile = options.get_profile()
    scale = base_configs(profile).get("vae", {}).get("scaling_factor")
    if not isinstance(scale, int | float):
        raise WeightsInvalid(f"{vae_of(profile).source}: no scaling_factor of its VAE; fetch the weights again")
    key = hashlib.sha256(_vae_fingerprint(vae_of(profile)).encode()).hexdigest()[:16]
    return LatentStore(Path(options.output_dir).absolute() / FOLDER / key, options.side(), float(scale))


def _vae_fingerprint(component: Component) -> str:
    """A local VAE's own files, or a hub repository's commit."""
    place = fetch(component)
    own = place / "vae"
    if not component.is_local or not own.is_dir():
        return component_fingerprint(component, place)
    return component_fingerprint(Component(source=str(own), size=0), own)


def encode_set(
    options: TrainingOptions, training_set: TrainingSet, device: str, progress: Progress | None = None
) -> LatentStore:
    """Encode those pictures that are not kept yet.

    Args:
        device: where the VAE runs, in fp32: SDXL's overflows in fp16.
        progress: called before each picture and in the end; not at all where all are kept.

    Raises:
        InputError: a picture can't be read any more.
        WeightsInvalid, OutOfMemory, StorageError: see `models.errors`.
    """
    store = open_store(options)
    flips = (False, True) if options.random_flip else (False,)
    pictures = (*training_set.train, *training_set.validation, *training_set.prior)
    missing = [(picture, flip) for picture in pictures for flip in flips if not _is_kept(store, picture, flip)]
    if missing:
        _encode(options, store, missing, device, progress or (lambda share: None))
    logger.info("latents: %d encoded, %d found", len(missing), len(pictures) * len(flips) - len(missing))
    return store


def _is_kept(store: LatentStore, picture: TrainingPicture, mirrored: bool) -> bool:
    file = store.file(picture, mirrored=mirrored)
    if not file.is_file():
        return False
    try:
        check_file(file)
    except WeightsInvalid:
        return False  # left by a full disk, say: encoded again
    return True


def _encode(
    options: TrainingOptions,
    store: LatentStore,
    missing: Sequence[tuple[TrainingPicture, bool]],
    device: str,
    progress: Progress,
) -> None:
    import torch

    vae = read_part(options.get_profile(), "vae", torch.float32, device)
    with local_errors(store.folder):
        store.folder.mkdir(parents=True, exist_ok=True)
    for done, (picture, mirrored) in enumerate(missing):
        progress(done / len(missing))
        image = prepare(open_picture(Path(picture.file)), store.size_of(picture), mirrored=mirrored)
        write_atomically(store.file(picture, mirrored=mirrored), _encode_one(vae, image))
    progress(1.0)


def _encode_one(vae: Any, image: Any) -> bytes:
    """A picture's latents as the bytes of a safetensors file: mean and std, float32 [4, h / 8, w / 8]."""
    import numpy as np
    import torch
    from safetensors.torch import save

    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    try:
        with torch.inference_mode():
            found = vae.encode(pixels.to(vae.device)).latent_dist
            mean, std = found.mean[0].float().cpu().contiguous(), found.std[0].float().cpu().contiguous()
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(
                f"no memory left to encode {image.width}x{image.height}; set a smaller resolution, or close what else "
                "uses the device",
                retryable=False,
            ) from error
        raise
    if not bool(mean.isfinite().all()):
        raise WeightsInvalid("the VAE gave numbers that are not finite; fetch the base's weights again")
    return bytes(save({"mean": mean, "std": std}))
