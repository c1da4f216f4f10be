"""Painting with a tiny random SDXL of the real classes: seeds, batches, guidance, lines, and what goes wrong."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image, ImageDraw
from tiny_models import SIZE, control, request, setup

from models import profiles
from models.diffusion import painter, vae
from models.diffusion.loading import Models, load, unload
from models.diffusion.painter import paint, starting_noise
from models.diffusion.requests import PaintRequest
from models.errors import OutOfMemory, PaintError
from models.sizes import Size

tiny_world = tiny_models.tiny_world


def bytes_of(models: Models, *requests: PaintRequest) -> list[bytes]:
    return [painting.image.tobytes() for painting in paint(models, requests)]


def test_a_seed_paints_the_same_bytes_again(tiny_world: profiles.Profile) -> None:
    models = load(setup())
    assert bytes_of(models, request(3)) == bytes_of(models, request(3))
    assert bytes_of(models, request(3)) != bytes_of(models, request(4))


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize("size", [Size.square(SIZE), Size(88, 48), Size(48, 88)])
def test_it_paints_what_diffusers_paints(tiny_world: profiles.Profile, size: Size) -> None:
    """Own noise and own decoding change nothing: the plain pipeline with one CPU generator gives the same bytes."""
    models = load(setup())
    expected = models.plain(
        prompt="aldar in a yurt",
        height=size.height,
        width=size.width,
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=torch.Generator("cpu").manual_seed(3),
    ).images[0]
    assert bytes_of(models, request(3, size=size)) == [expected.tobytes()]


def test_a_frame_does_not_depend_on_its_batch(tiny_world: profiles.Profile) -> None:
    """Up to the rounding of batched arithmetic: 1 of 255 at most, and in few places."""
    models = load(setup())
    requests = [request(seed, prompt=f"aldar and {seed} sheep") for seed in (5, 6, 7)]
    together = [np.asarray(painting.image, dtype=int) for painting in paint(models, requests)]
    for one, in_batch in zip(requests, together, strict=True):
        alone = np.asarray(paint(models, [one])[0].image, dtype=int)
        assert np.abs(alone - in_batch).max() <= 1
        assert np.abs(alone - in_batch).mean() < 0.01


def test_noise_is_standard_normal_and_the_seeds_own() -> None:
    noise = starting_noise(7, Size.square(512))
    assert noise.shape == (1, 4, 64, 64)
    assert torch.equal(noise, starting_noise(7, Size.square(512)))
    assert not torch.equal(noise, starting_noise(8, Size.square(512)))
    assert abs(float(noise.std()) - 1) < 0.02
    assert starting_noise(7, Size(width=336, height=192)).shape == (1, 4, 24, 42)


@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_without_guidance_the_negative_prompt_is_not_used(tiny_world: profiles.Profile, guidance: float) -> None:
    models = load(setup())
    plain, negative = (request(1, guidance=guidance, negative_prompt=text) for text in ("", "a horse"))
    assert bytes_of(models, plain) == bytes_of(models, negative)


def test_the_negative_prompt_acts_under_guidance(tiny_world: profiles.Profile) -> None:
    models = load(setup())
    assert bytes_of(models, request()) != bytes_of(models, request(negative_prompt="a horse"))


def test_progress_rises_to_one(tiny_world: profiles.Profile) -> None:
    shares: list[float] = []
    paint(load(setup()), [request(1), request(2)], shares.append)
    assert shares == sorted(shares)
    assert len(shares) == 5
    assert shares[-1] == 1.0


def test_a_stopped_painting_leaves_the_models_usable(tiny_world: profiles.Profile) -> None:
    models = load(setup())
    expected = bytes_of(models, request())

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint(models, [request()], stop)
    assert not models.lock.locked()
    assert bytes_of(models, request()) == expected


def test_a_batch_of_unlike_requests_is_a_mistake(tiny_world: profiles.Profile) -> None:
    for requests in ([], [request(), request(steps=4)], [request(), request(negative_prompt="a horse")]):
        with pytest.raises(ValueError, match="batch_key"):
            paint(load(setup()), requests)


def test_a_picture_of_nan_is_marked_and_the_others_are_not(
    tiny_world: profiles.Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = load(setup())

    def noise(seed: int, *more: Any) -> torch.Tensor:
        return starting_noise(seed, *more) * (float("nan") if seed == 2 else 1.0)

    monkeypatch.setattr(painter, "starting_noise", noise)
    paintings = paint(models, [request(1), request(2), request(3)])
    assert [painting.finite for painting in paintings] == [True, False, True]
    assert paintings[1].image.getextrema() == ((0, 0),) * 3


def test_out_of_memory_names_the_remedy(tiny_world: profiles.Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    models = load(setup())

    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more lines")

    monkeypatch.setattr(models.plain.unet, "forward", full)
    with pytest.raises(OutOfMemory, match=r"2 picture.* of 64x64; try --batch-size 1") as raised:
        paint(models, [request(1), request(2)])
    assert raised.value.retryable
    with pytest.raises(OutOfMemory, match="a --width and --height under 64x64"):
        paint(models, [request()])


@pytest.fixture
def square_file(tmp_path: Path) -> Path:
    image = Image.new("RGB", (SIZE, SIZE), (200, 180, 120))
    ImageDraw.Draw(image).rectangle((16, 16, 48, 48), fill=(30, 60, 160))
    image.save(tmp_path / "square.png")
    return tmp_path / "square.png"


@pytest.mark.parametrize(("guided", "scale", "original"), [(False, 1.0, (48, 88)), (True, 4.0, (192, 352))])
def test_the_base_is_told_the_pictures_height_and_width_and_the_originals(
    tiny_world: profiles.Profile, square_file: Path, guided: bool, scale: float, original: tuple[int, int]
) -> None:
    models, told = load(setup(with_controlnet=True)), list[list[float]]()

    def note(_module: object, _args: object, given: dict[str, dict[str, torch.Tensor]]) -> None:
        told.extend(given["added_cond_kwargs"]["time_ids"].tolist())

    hook = models.plain.unet.register_forward_pre_hook(note, with_kwargs=True)
    lines = control(square_file) if guided else None
    (painting,) = paint(models, [request(size="88x48", original_scale=scale, control=lines)])
    hook.remove()
    assert painting.image.size == (88, 48)
    assert {tuple(one) for one in told} == {(*original, 0, 0, 48, 88)}  # original size, corner of the crop, target size


def test_the_lines_act(tiny_world: profiles.Profile, square_file: Path) -> None:
    models = load(setup(with_controlnet=True))
    plain, guided = bytes_of(models, request()), bytes_of(models, request(control=control(square_file)))
    assert plain != guided
    assert guided != bytes_of(models, request(control=control(square_file, scale=0.5)))
    for off in ({"scale": 0.0}, {"end": 0.0}):
        assert bytes_of(models, request(control=control(square_file, **off))) == plain


def test_the_controlnet_does_not_run_after_its_end(
    tiny_world: profiles.Profile, square_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = load(setup(with_controlnet=True))
    assert models.controlled is not None
    controlnet, runs = models.controlled.controlnet, []
    hook = controlnet.controlnet_mid_block.register_forward_hook(lambda *_: runs.append(1))
    paint(models, [request(steps=10, control=control(square_file, end=0.3))])
    hook.remove()
    assert len(runs) == 3


def test_skipping_the_controlnet_paints_what_multiplying_by_zero_paints(
    tiny_world: profiles.Profile, square_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = load(setup(with_controlnet=True))
    wanted = request(steps=5, control=control(square_file, end=0.5))
    skipped = bytes_of(models, wanted)
    monkeypatch.setattr(painter, "skipped_when_off", lambda controlnets: nullcontext())
    assert bytes_of(models, wanted) == skipped


def test_lines_are_read_once_a_painting_and_the_picture_is_the_same(
    tiny_world: profiles.Profile, square_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = load(setup(with_controlnet=True))
    assert models.controlled is not None
    reads: list[int] = []
    first_of_it = models.controlled.controlnet.controlnet_cond_embedding.conv_in
    hook = first_of_it.register_forward_hook(lambda *_: reads.append(1))
    wanted = request(steps=5, control=control(square_file))
    once = [bytes_of(models, wanted), bytes_of(models, wanted)]
    assert len(reads) == 2
    monkeypatch.setattr(painter, "lines_read_once", lambda controlnets, alike: nullcontext())
    assert [bytes_of(models, wanted)] * 2 == once
    hook.remove()
    assert len(reads) == 2 + 5


def test_lines_of_one_reference_are_read_for_one_picture_of_a_batch(
    tiny_world: profiles.Profile, square_file: Path, tmp_path: Path
) -> None:
    models = load(setup(with_controlnet=True))
    assert models.controlled is not None
    reads: list[int] = []
    first_of_it = models.controlled.controlnet.controlnet_cond_embedding.conv_in
    hook = first_of_it.register_forward_hook(lambda _module, inputs, _output: reads.append(len(inputs[0])))
    copy = tmp_path / "copy.png"
    shutil.copy(square_file, copy)
    alike, unlike = (
        paint(models, [request(1, control=control(square_file)), request(2, control=control(second))])
        for second in (square_file, copy)
    )
    hook.remove()
    assert reads == [1, 4]  # two pictures, each with guidance and without
    for one, other in zip(alike, unlike, strict=True):
        difference = np.asarray(one.image, dtype=int) - np.asarray(other.image, dtype=int)
        assert np.abs(difference).max() <= 1


def test_pixels_are_rounded_as_diffusers_rounds_them(tiny_world: profiles.Profile) -> None:
    pixels = torch.randn((1, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    processor = load(setup()).plain.image_processor
    for dtype in (torch.float32, torch.bfloat16):
        theirs = processor.postprocess(pixels.to(dtype).float())[0]
        assert vae.to_image(pixels.to(dtype)).tobytes() == theirs.tobytes()


def test_lines_of_another_picture_are_read_anew(
    tiny_world: profiles.Profile, square_file: Path, tmp_path: Path
) -> None:
    models = load(setup(with_controlnet=True))
    blank = tmp_path / "blank.png"
    Image.new("RGB", (64, 64)).save(blank)
    square, empty = (bytes_of(models, request(steps=3, control=control(file))) for file in (square_file, blank))
    assert square != empty
    assert bytes_of(models, request(steps=3, control=control(square_file))) == square


def test_lines_without_a_controlnet_are_refused(tiny_world: profiles.Profile, square_file: Path) -> None:
    unload()
    with pytest.raises(PaintError, match="without its ControlNet"):
        paint(load(setup()), [request(control=control(square_file))])


def test_each_sampler_paints_its_own_picture_the_same_every_time(tiny_world: profiles.Profile) -> None:
    models = load(setup())
    euler, solver = request(steps=4), request(steps=4, sampler="DPM++ 2M")
    first = bytes_of(models, solver)
    assert first != bytes_of(models, euler)
    assert first == bytes_of(models, solver)
    assert euler.batch_key != solver.batch_key
