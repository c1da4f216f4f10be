"""Painting where memory runs out goes on in smaller batches, then with less on the device, and says so once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
import torch
from tiny_models import request, setup

from models import profiles
from models.diffusion import fitting, loading
from models.diffusion.fitting import paint_fitting
from models.diffusion.loading import load
from models.diffusion.painter import Painting, paint
from models.errors import OutOfMemory
from models.records import Adapter
from models.sizes import Size

tiny_world = tiny_models.tiny_world


@pytest.fixture(autouse=True)
def _nothing_found_yet() -> Iterator[None]:
    fitting._FITTING.clear()
    yield
    fitting._FITTING.clear()


class Device:
    """Has room for so many pictures at once; notes the batches that were begun."""

    def __init__(self, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        unet = load(setup()).plain.unet
        real = unet.forward

        def forward(sample: torch.Tensor, timestep: torch.Tensor, *args: object, **kwargs: object) -> object:
            pictures = len(sample) // 2  # with and without the prompt
            if not self.batches or self.batches[-1] != pictures:
                self.batches.append(pictures)
            if pictures > room:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more lines")
            return real(sample, timestep, *args, **kwargs)

        monkeypatch.setattr(unet, "forward", forward)


def test_the_pictures_come_in_smaller_batches_and_the_way_is_kept(
    tiny_world: profiles.Profile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [request(seed) for seed in range(1, 6)]
    alone = [paint(load(setup()), [one])[0].image.tobytes() for one in requests]
    device, told, shares = Device(2, monkeypatch), dict[int, Painting](), list[float]()
    with caplog.at_level(logging.WARNING, "models.diffusion"):
        paintings = paint_fitting(setup(batch_size=5), requests, shares.append, told.__setitem__)
        assert device.batches == [5, 2, 1]
        paint_fitting(setup(batch_size=5), requests)
    assert device.batches == [5, 2, 1, 2, 1]
    other = setup(batch_size=5, adapter=Adapter(path="/a", fingerprint="0" * 64, source="/a"))
    assert fitting._fitting(other, requests[0].size) == other.model_copy(update={"batch_size": 2})
    assert fitting._fitting(other, Size(32, 128)).batch_size == 2  # another shape of as many pixels
    assert fitting._fitting(other, Size(72, 64)) == other
    assert [record.getMessage() for record in caplog.records] == [
        "no memory left for 5 picture(s) of 64x64; going on with batches of 2"
    ]
    assert [told[number] for number in range(5)] == paintings
    assert shares[-1] == 1.0
    for painting, bytes_alone in zip(paintings, alone, strict=True):
        apart = torch.frombuffer(bytearray(painting.image.tobytes()), dtype=torch.uint8).short()
        assert (apart - torch.frombuffer(bytearray(bytes_alone), dtype=torch.uint8).short()).abs().max() <= 1


def test_where_one_picture_does_not_fit_no_other_try_is_made(
    tiny_world: profiles.Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(0, monkeypatch)
    with pytest.raises(OutOfMemory, match=r"1 picture.* of 64x64; try a --width and --height under 64x64") as raised:
        paint_fitting(setup(batch_size=4), [request(seed) for seed in range(1, 5)])
    assert device.batches == [4, 2, 1]
    assert not raised.value.retryable


def test_what_has_less_than_a_smaller_batch(caplog: pytest.LogCaptureFixture) -> None:
    on_gpu, tried = setup(device="cuda", batch_size=5), []
    for pictures in (5, 2, 1):
        on_gpu = fitting._with_less(on_gpu, fitting._Lack("no memory left", pictures))
        tried.append((on_gpu.batch_size, on_gpu.low_memory))
    assert tried == [(2, False), (1, False), (1, True)]
    with pytest.raises(OutOfMemory):
        fitting._with_less(on_gpu, fitting._Lack("no memory left", 1))
    while_loading = fitting._with_less(setup(device="cuda", batch_size=5), fitting._Lack("no memory left", 0))
    assert (while_loading.batch_size, while_loading.low_memory) == (5, True)
    assert "no memory left; going on with low_memory" in caplog.text


def test_memory_that_runs_out_while_loading_is_met_too(
    tiny_world: profiles.Profile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OutOfMemory("unet: no memory left on cpu to load it")

    monkeypatch.setattr(loading, "load", full)
    with pytest.raises(OutOfMemory, match="to load it") as raised:
        paint_fitting(setup(batch_size=4), [request(1)])
    assert not raised.value.retryable
