"""Painting of a batch, from prompts, seeds and control pictures to pictures.

Each frame's noise comes from its own CPU generator, on every device: the starting noise in fp32, then that of a
stochastic sampler's steps. A frame therefore does not depend on the rest of its batch, up to the rounding of batched
arithmetic.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from PIL import Image

from models.bases.schedules import OWN_TIMESTEPS, STEP_SETTINGS
from models.diffusion.attention import noted_inputs
from models.diffusion.compute import compute
from models.diffusion.controlnets import lines_read_once, skipped_when_off
from models.diffusion.edges import control_image
from models.diffusion.fallback import to_own_code
from models.diffusion.graphs import as_graphs
from models.diffusion.hero import find_heroes
from models.diffusion.loading import Models
from models.diffusion.pace import Pace
from models.diffusion.requests import ControlPicture, PaintRequest
from models.diffusion.vae import decode_one, to_image
from models.diffusion.weights import first_line, is_out_of_memory
from models.errors import OutOfMemory, PaintError
from models.progress import Progress
from models.scores import Hero
from models.sizes import GRAIN, Size

Finished = Callable[[int, "Painting"], None]
FEW_STEPS = 4
"""Up to this many steps, no graph is recorded: recording would cost more than it saves."""


@dataclass(frozen=True)
class Painting:
    """One painted picture."""

    image: Image.Image
    """RGB, of the requested size."""
    finite: bool
    """Whether all latents and pixels were finite; if not, the picture is meaningless."""
    hero: Hero | None = None
    """Where the request's trigger word acts in it; None if the request names none."""
    waiting: float = 0.0
    """Seconds that its request waited for the device."""
    ahead: int = 0
    """Requests that were before it in the device's queue when it came."""


def paint(
    models: Models,
    requests: Sequence[PaintRequest],
    progress: Progress | None = None,
    finished: Finished | None = None,
) -> list[Painting]:
    """Return one painting per request, in order, painted as one batch in the device's own thread.

    If the caller is stopped while it waits, the painting ends at its next step.

    Args:
        models: from `models.diffusion.loading.load`.
        requests: at least one; they share their `batch_key`.
        progress: called with the share done, 0..1, after each step and each decoded picture. An error in it stops
            the painting and is raised to the caller; the models stay usable.
        finished: called with a request's index and painting as soon as it is decoded. Both callbacks run in the
            device's thread, in the caller's context.

    Raises:
        ValueError: the requests do not fit one batch.
        InputError: a control picture can't be used.
        OutOfMemory: retryable.
        PaintError: a control picture without a ControlNet, or the device failed.
    """
    if len({request.batch_key for request in requests}) != 1:
        raise ValueError("requests of one batch must share their batch_key, and there must be one at least")
    left = threading.Event()

    def report(share: float) -> None:
        _go_on_unless(left)
        if progress is not None:
            progress(share)

    def tell(number: int, painting: Painting) -> None:
        _go_on_unless(left)
        if finished is not None:
            finished(number, painting)

    try:
        return compute(models.device, lambda: _paint(models, requests, report, tell))
    finally:
        left.set()


class _CallerLeft(BaseException):
    """Ends a painting whose caller was stopped. It is no error of the painting."""


def _go_on_unless(left: threading.Event) -> None:
    if left.is_set():
        raise _CallerLeft


def _paint(models: Models, requests: Sequence[PaintRequest], report: Progress, finished: Finished) -> list[Painting]:
    lines, callers = _lines(models, requests), _Callers()
    report, finished = callers.noting(report), callers.noting(finished)

    def paint_all() -> list[Painting]:
        denoised = _denoise(models, requests, lines, report)
        return list(_decode(models, denoised, requests[0].steps, report, finished))

    with ExitStack() as stack:
        stack.enter_context(models.lock)
        stack.enter_context(_one_line_errors(len(requests), requests[0].size))
        stack.enter_context(torch.inference_mode())
        if models.device.startswith("cuda"):
            stack.enter_context(torch.cuda.device(models.device))
        try:
            return paint_all()
        except Exception as error:
            if error in callers.raised or is_out_of_memory(error) or not to_own_code(models, error):
                raise
        return paint_all()


class _Callers:
    """The errors raised by the callers' callbacks: they must not trigger the fallback to the libraries' code."""

    def __init__(self) -> None:
        self.raised: list[Exception] = []

    def noting(self, function: Callable[..., None]) -> Callable[..., None]:
        """Wrap a callback so that its errors are noted and raised again."""

        def called(*given: Any) -> None:
            try:
                function(*given)
            except Exception as error:
                self.raised.append(error)
                raise

        return called


def starting_noise(seed: int, size: Size, channels: int = 4, generator: torch.Generator | None = None) -> torch.Tensor:
    """Return the standard normal noise of one frame, float32 [1, channels, height / 8, width / 8], on the CPU.

    Args:
        seed: of the frame.
        size: of the picture.
        channels: of the base's latents.
        generator: on the CPU; it is seeded and drawn from, and goes on to draw the noise of stochastic steps.
    """
    generator = (generator or torch.Generator("cpu")).manual_seed(seed)
    height, width = size.height // GRAIN, size.width // GRAIN
    return torch.randn((1, channels, height, width), generator=generator, dtype=torch.float32)


def _lines(models: Models, requests: Sequence[PaintRequest]) -> list[Image.Image] | None:
    """Return the batch's line pictures, a single one if all requests share it, or None if no control picture acts."""
    controls = [request.control for request in requests if request.control is not None and request.control.acts]
    if not controls:
        return None
    if models.controlled is None:
        raise PaintError("a request carries a control picture, but the setup was loaded without its ControlNet")
    # The frames of a storyboard share one reference, so its edges are detected once.
    found = {control: control_image(control, requests[0].size) for control in set(controls)}
    return [found[control] for control in controls] if len(found) > 1 else list(found.values())


class _Denoised(NamedTuple):
    latents: torch.Tensor
    """[batch, 4, height / 8, width / 8]."""
    find_heroes: Callable[[], list[Hero | None]]
    """Returns where each request's hero is."""


def _denoise(
    models: Models, requests: Sequence[PaintRequest], lines: list[Image.Image] | None, report: Progress
) -> _Denoised:
    accept_old_array_protocol()
    first = requests[0]
    pipeline: Any = models.plain if lines is None else models.controlled
    pipeline.scheduler = models.scheduler(first.sampler)
    parts = first.steps + len(requests)
    pace = Pace(models.device)

    def after_step(_pipeline: Any, index: int, _timestep: Any, _tensors: dict[str, Any]) -> dict[str, Any]:
        pace.step()
        report((index + 1) / parts)
        return {}

    channels = pipeline.unet.config.in_channels
    generators = [torch.Generator("cpu") for _ in requests]
    noise = torch.cat(
        [
            starting_noise(request.seed, first.size, channels, generator)
            for request, generator in zip(requests, generators, strict=True)
        ]
    )
    # With None (not ""), the pipeline uses the base's own unconditional embedding.
    negative = [request.negative_prompt for request in requests] if first.negative_prompt else None
    used = [pipeline.unet] if lines is None else [pipeline.unet, pipeline.controlnet]
    recorded = used if models.speed != "plain" and not models.failures and first.steps > FEW_STEPS else []
    # With lines, `lines_read_once` computes in the first step; so each painting's first step must run without a graph.
    warm = models.warm if lines is None else set()
    alike = lines is not None and len(lines) == 1
    with ExitStack() as stack:
        inputs = stack.enter_context(noted_inputs(pipeline.unet))
        stack.enter_context(as_graphs(models.device, warm, *recorded))
        stack.enter_context(skipped_when_off(used[1:]))
        stack.enter_context(lines_read_once(used[1:], alike))
        latents: torch.Tensor = pipeline(
            prompt=[request.prompt for request in requests],
            negative_prompt=negative,
            height=first.size.height,  # also SDXL's target size; the corner of the crop is 0, 0
            width=first.size.width,
            original_size=tuple(round(side * first.original_scale) for side in reversed(first.size)),
            num_inference_steps=first.steps,
            timesteps=OWN_TIMESTEPS.get(first.sampler),
            generator=generators,
            guidance_scale=first.guidance,
            latents=noise.to(models.device, pipeline.unet.dtype),
            output_type="latent",
            callback_on_step_end=after_step,
            callback_on_step_end_tensor_inputs=[],
            **STEP_SETTINGS.get(first.sampler, {}),
            **_control_arguments(first.control, lines),
        ).images
    return _Denoised(latents, partial(find_heroes, pipeline, requests, latents, noise, inputs))


def _control_arguments(control: ControlPicture | None, lines: list[Image.Image] | None) -> dict[str, Any]:
    if control is None or lines is None:
        return {}
    return {"image": lines, "controlnet_conditioning_scale": control.scale, "control_guidance_end": control.end}


def _decode(
    models: Models, denoised: _Denoised, steps: int, report: Progress, finished: Finished
) -> Iterator[Painting]:
    """Decode one picture at a time: SDXL's VAE needs more memory per picture than its UNet."""
    heroes: list[Hero | None] = []
    for index, latent in enumerate(denoised.latents):
        pixels = decode_one(models.plain.vae, latent[None])
        # Python takes 70 ms to start the search for the heroes, while a GPU decodes the first picture.
        heroes = heroes or denoised.find_heroes()
        finite = bool(latent.isfinite().all()) and bool(pixels.isfinite().all())
        # Values that are not finite become black or white (they have no byte value); the painting is marked.
        painting = Painting(to_image(pixels.nan_to_num(-1.0, 1.0, -1.0)), finite, heroes[index])
        finished(index, painting)
        report((steps + index + 1) / (steps + len(heroes)))
        yield painting


@contextmanager
def _one_line_errors(batch: int, size: Size) -> Iterator[None]:
    """Turn a device's errors during painting into the project's errors; other errors pass unchanged."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            remedy = "--batch-size 1" if batch > 1 else f"a --width and --height under {size}"
            raise OutOfMemory(f"no memory left for {batch} picture(s) of {size}; try {remedy}") from error
        if isinstance(error, torch.AcceleratorError):
            raise PaintError(f"the device failed while painting: {first_line(error)}") from error
        raise


def accept_old_array_protocol() -> None:
    """Silence numpy 2's deprecation warning for the way diffusers' Euler converts a tensor; the result is right."""
    warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
