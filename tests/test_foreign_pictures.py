"""Pictures as other programs and telephones write them: long texts, large profiles, HEIC under any name."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from foreign_sets import draw
from PIL import Image, PngImagePlugin
from test_training_pictures import BLUE, GREEN, RED, near, swapped_profile

from models.errors import InputError
from models.lora.data.pictures import NO_HEIC, open_picture
from models.profiles import ROOT


def test_long_texts_and_large_profiles_are_no_fault(tmp_path: Path) -> None:
    graph = PngImagePlugin.PngInfo()
    graph.add_text("workflow", "x" * 2_000_000, zip=True)
    graph.add_itxt("parameters", "қ" * 900_000, zip=True)
    Image.new("RGB", (8, 8), RED).save(tmp_path / "graph.png", pnginfo=graph)
    assert near(open_picture(tmp_path / "graph.png"), 4, 4, RED, 0)
    large = swapped_profile() + bytes(2_000_000)
    large = struct.pack(">I", len(large)) + large[4:]
    for name in ("large.png", "large.jpg"):
        Image.new("RGB", (8, 8), RED).save(tmp_path / name, icc_profile=large, quality=100)
        assert near(open_picture(tmp_path / name), 4, 4, GREEN, 3), name
    Image.new("RGB", (8, 8), RED).save(tmp_path / "padded.png", icc_profile=swapped_profile() + bytes(2_000_000))
    assert near(open_picture(tmp_path / "padded.png"), 4, 4, RED, 0)


def test_a_text_that_unpacks_to_a_bomb_is_refused_with_its_way_out(tmp_path: Path) -> None:
    graph = PngImagePlugin.PngInfo()
    graph.add_text("workflow", "x" * (2**26 + 1), zip=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "bomb.png", pnginfo=graph)
    with pytest.raises(InputError, match=r"bomb\.png: its text .* more than 64 MB; save it without metadata"):
        open_picture(tmp_path / "bomb.png")


def test_a_grey_of_16_bits_that_is_declared_transparent_lies_on_white(tmp_path: Path) -> None:
    ramp = Image.frombytes("I;16", (2, 1), struct.pack("<2H", 0, 25700))
    ramp.save(tmp_path / "deep.png", transparency=0)
    assert np.asarray(open_picture(tmp_path / "deep.png"))[0, :, 0].tolist() == [255, 100]


def test_heic_is_read_with_its_rotation_whatever_the_file_is_called(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    wide = Image.new("RGB", (64, 32), BLUE)
    wide.paste(RED, (0, 0, 32, 32))
    pillow_heif.register_heif_opener()
    wide.save(tmp_path / "phone.heic", quality=100, exif=exif.tobytes())
    shutil.copy(tmp_path / "phone.heic", tmp_path / "sent.jpg")
    for name in ("phone.heic", "sent.jpg"):
        picture = open_picture(tmp_path / name)
        assert picture.size == (32, 64)
        assert near(picture, 16, 8, RED, 12)


def test_heic_without_its_package_is_told_by_name(tmp_path: Path) -> None:
    draw(tmp_path / "phone.heic", 1)
    shutil.copy(tmp_path / "phone.heic", tmp_path / "sent.jpg")
    code = (
        "import sys; sys.modules['pillow_heif'] = None\nfrom pathlib import Path\n"
        "from models.errors import InputError\nfrom models.lora.data.pictures import open_picture\n"
        "for name in sys.argv[1:]:\n    try: open_picture(Path(name))\n    except InputError as error: print(error)\n"
    )
    files = [str(tmp_path / name) for name in ("phone.heic", "sent.jpg")]
    told = subprocess.run([sys.executable, "-c", code, *files], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == [f"{file}: {NO_HEIC}" for file in files]
