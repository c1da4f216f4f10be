"""Training pictures: files of every kind become what a person sees, and any shape becomes a square."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from models.errors import InputError
from models.lora.data.pictures import crop_of, open_picture, prepare
from models.sizes import Size

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def at(image: Image.Image, x: int, y: int) -> np.ndarray:
    assert (image.mode, image.info) == ("RGB", {})
    return np.array(image.getpixel((x, y)))


def near(image: Image.Image, x: int, y: int, colour: tuple[int, int, int], most: int = 6) -> bool:
    return bool(np.abs(at(image, x, y) - np.array(colour)).max() <= most)


def corner_marked(mode: str = "RGB") -> Image.Image:
    """64x32: red, with the upper left quarter blue."""
    image = Image.new("RGB", (64, 32), RED)
    image.paste(BLUE, (0, 0, 32, 16))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("orientation", "size", "blue"),
    [
        (1, (64, 32), (4, 4)),
        (2, (64, 32), (60, 4)),
        (3, (64, 32), (60, 28)),
        (4, (64, 32), (4, 28)),
        (5, (32, 64), (4, 4)),
        (6, (32, 64), (28, 4)),
        (7, (32, 64), (28, 60)),
        (8, (32, 64), (4, 60)),
    ],
)
@pytest.mark.parametrize("name", ["turned.jpg", "turned.tif", "turned.webp", "turned.png"])
def test_the_cameras_rotation_is_undone(
    tmp_path: Path, name: str, orientation: int, size: tuple[int, int], blue: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    corner_marked().save(tmp_path / name, exif=exif)
    picture = open_picture(tmp_path / name)
    assert picture.size == size
    assert near(picture, *blue, BLUE, 12)
    assert near(picture, size[0] - 1 - blue[0], size[1] - 1 - blue[1], RED, 12)


@pytest.mark.parametrize("name", ["clear.png", "clear.webp", "clear.tif"])
def test_transparency_lies_on_white(tmp_path: Path, name: str) -> None:
    image = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    image.paste((255, 0, 0, 128), (0, 0, 8, 16))
    image.paste((255, 0, 0, 255), (0, 0, 8, 8))
    image.save(tmp_path / name, lossless=True)
    picture = open_picture(tmp_path / name)
    assert near(picture, 2, 2, RED)
    assert near(picture, 2, 12, (255, 127, 127))
    assert near(picture, 12, 12, WHITE, 0)


def test_transparency_of_greys_palettes_and_colour_keys_too(tmp_path: Path) -> None:
    grey = Image.new("LA", (8, 8), (40, 0))
    grey.paste((40, 255), (0, 0, 4, 8))
    grey.save(tmp_path / "grey.png")
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(0, (0, 0, 4, 8))
    palette.save(tmp_path / "one.gif", transparency=1)
    palette.save(tmp_path / "some.png", transparency=b"\xff\x00")
    keyed = Image.new("RGB", (8, 8), (1, 2, 3))
    keyed.paste(RED, (0, 0, 4, 8))
    keyed.save(tmp_path / "keyed.png", transparency=(1, 2, 3))
    for name, colour in {"grey.png": (40, 40, 40), "one.gif": RED, "some.png": RED, "keyed.png": RED}.items():
        picture = open_picture(tmp_path / name)
        assert near(picture, 2, 4, colour, 0), name
        assert near(picture, 6, 4, WHITE, 0), name


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_colours_of_every_mode_are_seen(tmp_path: Path, mode: str) -> None:
    plain = Image.new("RGB", (32, 16), WHITE)
    plain.paste((0, 0, 0), (0, 0, 16, 16))
    name = "picture.jpg" if mode in ("CMYK", "YCbCr") else "picture.png"
    plain.convert(mode).save(tmp_path / name)
    picture = open_picture(tmp_path / name)
    assert near(picture, 3, 3, (0, 0, 0))
    assert near(picture, 28, 3, WHITE)


@pytest.mark.parametrize(("name", "mode"), [("deep.png", "I;16"), ("deep.tif", "I;16"), ("other.tif", "I;16B")])
def test_greys_of_16_bits_are_scaled_not_cut(tmp_path: Path, name: str, mode: str) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype("<u2" if mode == "I;16" else ">u2")
    Image.frombytes(mode, (256, 2), ramp.tobytes() * 2).save(tmp_path / name)
    seen = np.asarray(open_picture(tmp_path / name))
    assert (seen == np.arange(256)[None, :, None]).all()


@pytest.mark.parametrize(
    ("name", "kind"), [("moving.gif", "GIF"), ("moving.webp", "WEBP"), ("moving.png", "PNG"), ("camera.jpg", "MPO")]
)
def test_of_several_frames_the_first_is_seen(tmp_path: Path, name: str, kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (GREEN, RED, BLUE)]
    frames[0].save(tmp_path / name, kind, save_all=True, append_images=frames[1:], duration=50)
    assert near(open_picture(tmp_path / name), 8, 8, GREEN)


def swapped_profile() -> bytes:
    """An RGB profile whose red is sRGB's green and the other way round."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def ink_profile() -> bytes:
    """A CMYK profile in which paper is white, cyan alone a Lab of (50, 0, 0), which is a middle grey, and key black."""
    lightness = [0 if node % 2 else 128 if node >= 8 else 255 for node in range(16)]  # cyan is the highest bit
    nodes = b"".join(bytes([level, 128, 128]) for level in lightness)
    matrix = struct.pack(">9i", *(65536 if index % 4 == 0 else 0 for index in range(9)))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + bytes(range(256)) * 4 + nodes + bytes(range(256)) * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    head = struct.pack(">I4sI4s4s4s", 144 + len(table), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3I", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + tags + table


def test_an_embedded_profile_says_what_the_colours_are(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), RED).save(tmp_path / "swapped.png", icc_profile=swapped_profile())
    assert near(open_picture(tmp_path / "swapped.png"), 4, 4, GREEN, 3)
    Image.new("RGBA", (8, 8), (*RED, 255)).save(tmp_path / "clear.png", icc_profile=swapped_profile())
    assert near(open_picture(tmp_path / "clear.png"), 4, 4, GREEN, 3)
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "ink.jpg", icc_profile=ink_profile(), quality=100)
    assert near(open_picture(tmp_path / "ink.jpg"), 4, 4, (119, 119, 119), 3)


@pytest.mark.parametrize("profile", [b"no profile", ink_profile(), ink_profile()[:300]])
def test_a_profile_that_is_broken_or_another_modes_is_none(tmp_path: Path, profile: bytes) -> None:
    Image.new("RGB", (8, 8), RED).save(tmp_path / "picture.png", icc_profile=profile)
    assert near(open_picture(tmp_path / "picture.png"), 4, 4, RED, 0)


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    noise.save(tmp_path / "plain.png")
    noise.save(tmp_path / "tagged.png", icc_profile=srgb)
    for name in ("plain.png", "tagged.png"):
        assert open_picture(tmp_path / name).tobytes() == noise.tobytes()


def test_what_cannot_be_read_is_refused_in_one_line_with_its_name(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(whole, "PNG")
    Image.new("F", (8, 8)).save(tmp_path / "float.tif")
    Image.new("L", (8, 8)).save(tmp_path / "old.ppm")
    (tmp_path / "old.ppm").rename(tmp_path / "other_kind.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "half.png").write_bytes(whole.getvalue()[:1000])
    reasons = {
        "float.tif": "32 bits and no fixed white; save it with 8 or 16 bits",
        "other_kind.png": "not a picture of a kind that is read; save it as PNG or JPEG",
        "empty.png": "the file is empty",
        "text.png": "not a picture of a kind that is read",
        "half.png": r"can't be read \(image file is truncated.*\); copy it again",
        "gone.png": "no such picture",
        "": "can't be read",
    }
    for name, reason in reasons.items():
        with pytest.raises(InputError, match=rf"{name}: .*{reason}") as caught:
            open_picture(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("most", [1000, 1500])
def test_too_many_pixels_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    corner_marked().save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)  # 2048 pixels: above twice the first, and above the second
    with pytest.raises(InputError, match=rf"huge\.png: .*more than {most}.*save it smaller"):
        open_picture(tmp_path / "huge.png")


@pytest.mark.parametrize(
    ("size", "side", "scaled", "corner"),
    [
        ((256, 256), 256, (256, 256), (0, 0)),
        ((300, 256), 256, (300, 256), (22, 0)),
        ((1000, 667), 256, (384, 256), (64, 0)),
        ((667, 1001), 64, (64, 96), (0, 16)),
        ((3, 1000), 64, (64, 21333), (0, 10634)),
    ],
)
def test_a_crop_covers_the_square_from_the_middle(
    size: tuple[int, int], side: int, scaled: tuple[int, int], corner: tuple[int, int]
) -> None:
    crop = crop_of(*size, Size.square(side))
    assert (crop.scaled_width, crop.scaled_height) == scaled
    assert (crop.left, crop.top, crop.width, crop.height) == (*corner, side, side)


def test_every_crop_covers_its_square() -> None:
    for width in range(64, 400, 7):
        for height in range(64, 400, 9):
            crop = crop_of(width, height, Size.square(64))
            assert min(crop.scaled_width, crop.scaled_height) == 64
            assert 0 <= crop.left <= crop.scaled_width - 64
            assert 0 <= crop.top <= crop.scaled_height - 64


def test_a_picture_of_the_right_size_keeps_its_pixels() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 80, 3), dtype=np.uint8))
    assert prepare(noise, Size.square(64)).tobytes() == noise.crop((8, 0, 72, 64)).tobytes()
    assert prepare(noise.crop((0, 0, 64, 64)), Size.square(64)).tobytes() == noise.crop((0, 0, 64, 64)).tobytes()


def test_a_larger_picture_is_scaled_with_antialiasing() -> None:
    rows, columns = np.indices((256, 384))
    checks = Image.fromarray(((rows + columns) % 2 * 255).astype(np.uint8)).convert("RGB")
    small = np.asarray(prepare(checks, Size.square(64)), dtype=float)
    assert small.shape == (64, 64, 3)
    assert np.abs(small[4:-4, 4:-4] - 127.5).max() < 3, "without antialiasing the checks would stay black and white"


def test_mirrored_is_the_same_cut_the_other_way_round() -> None:
    odd = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 99, 3), dtype=np.uint8))
    assert (
        prepare(odd, Size.square(64), mirrored=True).tobytes()
        == ImageOps.mirror(prepare(odd, Size.square(64))).tobytes()
    )
    assert prepare(odd, Size.square(64), mirrored=True).tobytes() != prepare(odd, Size.square(64)).tobytes()
