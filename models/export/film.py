"""The animatic: each panel for its seconds, with its camera move and its words, as MP4 (H.264) or WebM (VP9)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from models.errors import CorruptFile, StorageError
from models.export.camera import view
from models.export.cuts import cuts
from models.export.film_words import draw_words
from models.export.options import ExportOptions
from models.export.panels import ExportBoard, ExportPanel
from models.export.subtitles import words_of
from models.frames.recipe import software_version
from models.origin.boxes import xmp_box
from models.origin.mark import PAINTED
from models.origin.signing import Ingredient, Manifest, load_signing, sign
from models.secrets.keys import Keys
from models.sizes import Size
from models.storage.files import local_errors, sha256_of

if TYPE_CHECKING:
    import av

SHORTEST_SIDE = 720
"""Least width and height of a film in pixels: smaller pictures are enlarged, so that words can be read."""
_BACKGROUND = (0, 0, 0)
_BT709, _LIMITED = 1, 1  # how the colours are coded, told in the file; players guess otherwise, and differ


class _Codec(NamedTuple):
    name: str
    container: str
    settings: dict[str, str]
    container_settings: dict[str, str]


_H264 = _Codec("libx264", "mp4", {"crf": "17", "preset": "fast", "profile": "high"}, {"movflags": "+faststart"})
_VP9 = _Codec("libvpx-vp9", "webm", {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"}, {})


def write_mp4(board: ExportBoard, options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the film as MP4, marked as a machine's work and, where a certificate is set, signed.

    Returns:
        A warning for each panel whose words do not fit.

    Raises:
        InputError: the certificate can't be used.
        CorruptFile, StorageError: a picture can't be read, or the film can't be written.
    """
    signing = load_signing(Keys())  # first, because encoding takes time
    warnings = _write(board, options, file, _H264)
    with local_errors(file):
        with file.open("ab") as end:
            end.write(xmp_box())  # at the end, where it moves no other box
        if signing is not None:
            file.write_bytes(sign(file.read_bytes(), "video/mp4", _manifest(board, options), signing))
    return warnings


def write_webm(board: ExportBoard, options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the film as WebM, whose mark is a tag: it has no place for XMP, and C2PA does not sign it.

    Returns:
        A warning for each panel whose words do not fit.

    Raises:
        CorruptFile, StorageError: a picture can't be read, or the film can't be written.
    """
    return _write(board, options, file, _VP9)


def film_size(board: ExportBoard) -> Size:
    """Return a film's width and height: the first picture's shape, even numbers, and no side under SHORTEST_SIDE."""
    first = board.panels[0]
    scale = max(Fraction(1), Fraction(SHORTEST_SIDE, min(first.width, first.height)))
    return Size(_even(first.width * scale), _even(first.height * scale))


def _even(side: Fraction) -> int:
    return 2 * -(-side // 2)


def _write(board: ExportBoard, options: ExportOptions, file: Path, codec: _Codec) -> tuple[str, ...]:
    import av

    size, warnings = film_size(board), list[str]()
    try:
        with local_errors(file), av.open(str(file), "w", codec.container, options=codec.container_settings) as film:
            film.metadata.update(_tags(board))
            stream = film.add_stream(codec.name, rate=board.fps, options=codec.settings)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
            stream.time_base = Fraction(1, board.fps)
            stream.codec_context.color_range = _LIMITED
            stream.codec_context.colorspace = stream.codec_context.color_primaries = _BT709
            stream.codec_context.color_trc = _BT709
            for number, image in enumerate(_images(board, options, size, warnings)):
                film.mux(stream.encode(_frame(image, number, board.fps)))
            film.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise StorageError(f"{file.name} can't be written: {error.strerror or error}") from None
    return tuple(warnings)


def _tags(board: ExportBoard) -> dict[str, str]:
    return {"title": board.title, "comment": f"DigitalSourceType: {PAINTED}", "DIGITAL_SOURCE_TYPE": PAINTED}


def _frame(image: Image.Image, number: int, fps: int) -> av.VideoFrame:
    import av
    import numpy as np

    rgb = av.VideoFrame.from_ndarray(np.asarray(image), "rgb24")
    frame = rgb.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED)
    frame.pts, frame.time_base = number, Fraction(1, fps)
    frame.color_primaries = frame.color_trc = _BT709
    return frame


def _images(board: ExportBoard, options: ExportOptions, size: Size, warnings: list[str]) -> Iterator[Image.Image]:
    """Yield the film's pictures in order, and note which panel's words did not fit."""
    for panel, (start, end) in zip(board.panels, pairwise(cuts(board)), strict=True):
        picture = _open(panel.picture)
        words = draw_words(words_of(panel), size) if options.captions else None
        if words is not None and words.is_cut:
            warnings.append(f"panel {panel.shot}: its words are too long for the film and end in …")
        drawn: Image.Image | None = None
        for number in range(end - start):
            if drawn is None or _moves(panel, options):
                share = number / (end - start - 1) if end - start > 1 else 0.0
                drawn = _view(picture, panel, size, share if _moves(panel, options) else None)
                if words is not None:
                    drawn.paste(words.image, (0, 0), words.image)
            yield drawn


def _moves(panel: ExportPanel, options: ExportOptions) -> bool:
    return options.moves and panel.panel.movement != "static"


def _view(picture: Image.Image, panel: ExportPanel, size: Size, share: float | None) -> Image.Image:
    """Return one picture of the film: a part of a panel's, or all of it, enlarged and never stretched.

    Args:
        picture: the panel's.
        panel: the panel, whose movement counts.
        size: of the film.
        share: of the panel's time; None: the camera stands still.
    """
    scale = min(size.width / picture.width, size.height / picture.height)
    shown = Size(round(picture.width * scale), round(picture.height * scale))
    box = view("static" if share is None else panel.panel.movement, Size(*picture.size), share or 0.0)
    page = Image.new("RGB", size, _BACKGROUND)
    part = picture.resize(shown, Image.Resampling.BICUBIC, box=box)
    page.paste(part, ((size.width - shown.width) // 2, (size.height - shown.height) // 2))
    return page


def _open(path: Path) -> Image.Image:
    try:
        with local_errors(path), Image.open(path) as image:
            return image.convert("RGB")
    except (ValueError, SyntaxError) as error:
        raise CorruptFile(f"{path} is not a readable picture: {error}") from None


def _manifest(board: ExportBoard, options: ExportOptions) -> Manifest:
    pictures = (
        Ingredient(title=panel.picture.name, sha256=sha256_of(panel.picture), picture=str(panel.picture))
        for panel in board.panels
    )
    told = {
        "title": board.title,
        "story": board.story,
        "fps": board.fps,
        "captions": options.captions,
        "moves": options.moves,
        "frames": [panel.frame for panel in board.panels],
        "cuts": cuts(board),
    }
    return Manifest(
        title="storyboard.mp4",
        version=software_version(),
        recipe=json.dumps(told, ensure_ascii=False),
        ingredients=tuple(pictures),
    )
