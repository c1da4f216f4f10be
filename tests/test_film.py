"""Films: their frames to the number, their pictures, their words, their moves, and what they say of their origin."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from certificates import make_chain
from PIL import Image
from test_export_forms import with_panels
from test_origin import DESCRIPTION, NAME
from test_signing import CERTIFICATE, KEY
from written_boards import write_board

from models.errors import InputError
from models.export.camera import ease, view
from models.export.cuts import cuts
from models.export.film import SHORTEST_SIDE, film_size
from models.export.film_words import MOST_LINES, draw_words
from models.export.forms import FORMS
from models.export.options import ExportOptions
from models.export.panels import ExportBoard
from models.origin.boxes import XMP_UUID
from models.origin.mark import PAINTED
from models.origin.signing import RECIPE_LABEL
from models.shots import Movement
from models.sizes import Size

FILMS = ("mp4", "webm")
BARE: dict[str, Any] = {"captions": False, "moves": False}
SHORT: dict[str, object] = {"seconds": 0.5}


def film(board: ExportBoard, name: str = "mp4", **given: Any) -> Path:
    """The film of a board, beside its pictures."""
    file = board.folder / FORMS[name].file
    assert FORMS[name].make(board, ExportOptions(forms=(name,), **given), file) == ()
    return file


def frames_of(file: Path) -> list[Image.Image]:
    with av.open(str(file)) as found:
        return [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in found.decode(video=0)]


def unlikeness(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures' values, 0..255."""
    small = other.convert("RGB").resize((64, 64), Image.Resampling.BOX)
    large = one.convert("RGB").resize((64, 64), Image.Resampling.BOX)
    return float(np.abs(np.asarray(small, float) - np.asarray(large, float)).mean())


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of an MP4's boxes at its top level."""
    at = 0
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        yield name, data[at + 8 : at + size]
        at += size


@pytest.mark.parametrize("fps", [24, 25, 30])
@pytest.mark.parametrize("name", FILMS)
def test_every_frame_shows_the_panel_of_its_time(name: str, fps: int, tmp_path: Path) -> None:
    """1.02 s are 24.48, 25.5 and 30.6 frames; three of them rounded by themselves would be a frame off at 24 and 25."""
    board = with_panels(write_board(tmp_path), *[{"seconds": 1.02}] * 3).model_copy(update={"fps": fps})
    file = film(board, name, **BARE)
    ends = {24: [24, 49, 73], 25: [26, 51, 77], 30: [31, 61, 92]}[fps]
    assert list(cuts(board)) == [0, *ends]
    pictures = [Image.open(panel.picture) for panel in board.panels]
    shown = []
    for frame in frames_of(file):
        far = [unlikeness(frame, picture) for picture in pictures]
        shown.append(far.index(min(far)))
    assert [shown.count(number) for number in range(3)] == [
        end - start for start, end in zip([0, *ends], ends, strict=False)
    ]
    assert shown == sorted(shown)
    with av.open(str(file)) as found:
        stream = found.streams.video[0]
        assert stream.average_rate == fps
        assert found.duration is not None
        assert found.duration / av.time_base == pytest.approx(ends[-1] / fps, abs=0.002)


def test_a_long_film_does_not_drift_and_the_shortest_panel_has_a_frame(tmp_path: Path) -> None:
    board = write_board(tmp_path)
    panel = with_panels(board, {}).panels[0]
    many = tuple(panel.model_copy(update={"start": n * 1.37, "end": (n + 1) * 1.37}) for n in range(500))
    long = with_panels(board, {}).model_copy(update={"panels": many, "fps": 25})
    assert all(abs(cut - n * 1.37 * 25) <= 0.5 for n, cut in enumerate(cuts(long)))
    assert cuts(with_panels(board, *[{"seconds": 0.001}] * 3)) == (0, 1, 2, 3)


@pytest.mark.parametrize(("name", "codec"), [("mp4", "h264"), ("webm", "vp9")])
def test_players_and_browsers_find_what_they_can_play(name: str, codec: str, tmp_path: Path) -> None:
    file = film(with_panels(write_board(tmp_path, width=96, height=64), *[SHORT] * 3), name)
    with av.open(str(file)) as found:
        stream = found.streams.video[0]
        assert (stream.codec_context.name.removeprefix("lib"), stream.pix_fmt) == (codec, "yuv420p")
        assert (stream.width, stream.height) == (1080, 720)
        assert (stream.color_range, stream.colorspace) == (1, 1)  # limited range, BT.709
        assert found.metadata["title"] == "The khan"


def test_an_mp4_begins_to_play_before_it_is_loaded(tmp_path: Path) -> None:
    names = [name for name, _ in boxes(film(with_panels(write_board(tmp_path), *[SHORT] * 3)).read_bytes())]
    assert names.index(b"moov") < names.index(b"mdat")


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((64, 64), (720, 720)), ((192, 336), (720, 1260)), ((200, 184), (784, 720)), ((1344, 767), (1344, 768))],
)
def test_width_and_height_are_even_and_large_enough(
    size: tuple[int, int], wanted: tuple[int, int], tmp_path: Path
) -> None:
    board = with_panels(write_board(tmp_path), {})
    first = board.panels[0].model_copy(update={"width": size[0], "height": size[1]})
    assert film_size(board.model_copy(update={"panels": (first,)})) == wanted
    assert min(wanted) >= SHORTEST_SIDE


def test_a_picture_of_another_shape_is_padded_and_not_stretched(tmp_path: Path) -> None:
    board = with_panels(write_board(tmp_path), *[SHORT] * 3)
    odd = tmp_path / "odd.png"
    Image.new("RGB", (51, 101), "white").save(odd)
    panels = (board.panels[0], board.panels[1].model_copy(update={"picture": odd, "width": 51, "height": 101}))
    shown = np.asarray(frames_of(film(board.model_copy(update={"panels": panels}), **BARE))[15].convert("L"))
    bright = np.argwhere(shown > 128)
    (top, left), (bottom, right) = bright.min(0), bright.max(0)
    assert (bottom - top + 1, right - left + 1) == pytest.approx((720, 720 * 51 / 101), abs=3)
    assert left == pytest.approx(719 - right, abs=2)


def test_words_are_in_the_picture_or_not(tmp_path: Path) -> None:
    board = with_panels(write_board(tmp_path), *[SHORT] * 3)
    bare, spoken = (frames_of(film(board, moves=False, captions=captions))[0] for captions in (False, True))
    upper, lower = (0, 0, 720, 500), (0, 600, 720, 720)
    assert unlikeness(bare.crop(upper), spoken.crop(upper)) < 2
    assert unlikeness(bare.crop(lower), spoken.crop(lower)) > 6


def test_words_that_do_not_fit_are_cut_and_told(tmp_path: Path) -> None:
    said = {"seconds": 0.1, "dialogue": [{"speaker": "Aldar", "text": "Бай, не бар екенін білесің бе? " * 16}]}
    board = with_panels(write_board(tmp_path), {"seconds": 0.1}, said, {"seconds": 0.1})
    warnings = FORMS["mp4"].make(board, ExportOptions(), tmp_path / "x.mp4")
    assert warnings == ("panel 2: its words are too long for the film and end in …",)
    words = draw_words(" \n ", Size(720, 720))
    assert words is None
    long = draw_words("a b c d e " * 99, Size(720, 720))
    assert long is not None
    assert long.is_cut
    top = min(np.argwhere(np.asarray(long.image)[..., 3] > 0)[:, 0])
    assert top > 720 - (MOST_LINES + 2) * 720 * 0.052


@pytest.mark.parametrize("movement", get_args(Movement))
def test_a_move_stays_in_the_picture_and_keeps_its_shape(movement: Movement) -> None:
    size, seen = Size(336, 192), [view(movement, Size(336, 192), share / 20) for share in range(21)]
    for left, upper, right, lower in seen:
        assert 0 <= left < right <= size.width + 1e-9
        assert 0 <= upper < lower <= size.height + 1e-9
        assert (right - left) / (lower - upper) == pytest.approx(336 / 192)
    assert (len(set(seen)) == 1) == (movement == "static")
    assert view("static", size, 0.3) == (0, 0, 336, 192)


def test_a_move_starts_and_ends_slowly() -> None:
    steps = [ease((share + 1) / 10) - ease(share / 10) for share in range(10)]
    assert sum(steps) == pytest.approx(1)
    assert steps == pytest.approx(steps[::-1])
    assert steps[0] < steps[2] < steps[4]


def test_the_camera_moves_over_the_picture_or_stands(tmp_path: Path) -> None:
    board = with_panels(write_board(tmp_path), {"movement": "pan", **SHORT}, SHORT, SHORT)
    first, *_, last = frames_of(film(board, captions=False))[:12]
    with Image.open(board.panels[0].picture) as picture:
        seen = [picture.crop(box) for box in ((0, 6, 51, 58), (13, 6, 64, 58))]
    assert unlikeness(first, seen[0]) < unlikeness(first, seen[1]) / 2
    assert unlikeness(last, seen[1]) < unlikeness(last, seen[0]) / 2
    first, *_, last = frames_of(film(board, captions=False, moves=False))[:12]
    assert unlikeness(first, last) < 2


def test_both_films_say_that_a_machine_made_them(tmp_path: Path) -> None:
    board = with_panels(write_board(tmp_path), *[SHORT] * 3)
    (packet,) = [
        data[16:] for name, data in boxes(film(board).read_bytes()) if name == b"uuid" and data[:16] == XMP_UUID
    ]
    (description,) = ElementTree.fromstring(packet.decode().lstrip("\ufeff")).iter(DESCRIPTION)
    assert description.get(NAME) == PAINTED
    with av.open(str(film(board, "webm"))) as found:
        assert found.metadata["DIGITAL_SOURCE_TYPE"] == PAINTED


def test_a_signed_film_is_trusted_and_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = make_chain(tmp_path / "own")
    board = with_panels(write_board(tmp_path), *[SHORT] * 3)
    plain = len(frames_of(film(board)))
    monkeypatch.setenv(CERTIFICATE, str(chain.certificate))
    monkeypatch.setenv(KEY, str(chain.key))
    file = film(board)
    reader = chain.read(file)
    assert reader.get_validation_state() == "Trusted"
    manifest = reader.get_active_manifest()
    assert manifest is not None
    assertions = {each["label"]: each["data"] for each in manifest["assertions"]}
    assert assertions["c2pa.actions.v2"]["actions"][0]["digitalSourceType"] == PAINTED
    assert json.loads(assertions[RECIPE_LABEL]["json"])["cuts"] == [0, 12, 24, 36]
    assert [each["title"] for each in manifest["ingredients"]] == [panel.picture.name for panel in board.panels]
    assert len(frames_of(file)) == plain == 36
    names = [name for name, _ in boxes(file.read_bytes())]
    assert names.index(b"moov") < names.index(b"mdat")
    assert names.count(b"uuid") == 2  # XMP and C2PA
    data = bytearray(file.read_bytes())
    data[data.index(b"mdat") + 400] ^= 1
    file.write_bytes(data)
    assert chain.read(file).get_validation_state() == "Invalid"


def test_a_certificate_that_is_gone_is_told_before_anything_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = with_panels(write_board(tmp_path), SHORT)
    monkeypatch.setenv(CERTIFICATE, str(tmp_path / "gone.pem"))
    monkeypatch.setenv(KEY, str(tmp_path / "gone.pem"))
    with pytest.raises(InputError, match=rf"^{CERTIFICATE} '.*gone\.pem': no such file or directory$"):
        film(board)
    assert not (board.folder / FORMS["mp4"].file).exists()
