"""A training set as people look at it: all its pictures on one sheet, and the dashboard's markdown."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from models.board.contact_sheet import CLAY, GREY, INK, PAPER, RULE
from models.board.lettering import Colour, get_font
from models.board.markdown import escape, inline_picture
from models.lora.buckets import count_buckets
from models.lora.data.pictures import open_picture, prepare
from models.lora.records import TrainingPicture, TrainingSet
from models.sizes import Size

SHOWN = 200
"""Pictures at most on the sheet and in the table."""

_STEPPE: Colour = (58, 110, 120)
_BORDER, _GAP, _LINE = 3, 6, 22  # pixels
_LEAST_WIDTH = 320  # of the sheet, in pixels: what the legend needs


class _Kind(NamedTuple):
    """Pictures that a training uses alike."""

    name: str
    meaning: str
    colour: Colour
    """Of the frame on the sheet."""
    pictures: tuple[TrainingPicture, ...]


def _kinds(training_set: TrainingSet) -> tuple[_Kind, ...]:
    """The validation pictures first: they are few, and the end of a large set isn't shown."""
    return (
        _Kind("validation", "measured, not trained on", CLAY, training_set.validation),
        _Kind("train", "the character", RULE, training_set.train),
        _Kind("prior", "the character's kind, kept as the base has it", _STEPPE, training_set.prior),
    )


def _shown(kinds: Sequence[_Kind]) -> list[tuple[_Kind, TrainingPicture]]:
    return [(kind, picture) for kind in kinds for picture in kind.pictures][:SHOWN]


def set_sheet(training_set: TrainingSet, columns: int = 10, cell: int = 96) -> bytes:
    """The pictures as the training sees them, cut to squares or buckets: a JPEG with a legend below.

    Args:
        training_set: of any size; `SHOWN` of its pictures are drawn, and the legend says how many more there are.
        columns: pictures in a row, at most.
        cell: side of a picture in pixels, its frame included.

    Raises:
        InputError: a picture is gone or broken.
    """
    assert columns > 0, "a row has at least one picture"
    assert cell > 2 * _BORDER, "a picture is larger than its frame"
    kinds = _kinds(training_set)
    shown = _shown(kinds)
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    lines = list(_legend(kinds, len(shown)))
    width = max(_GAP + columns * (cell + _GAP), _LEAST_WIDTH)
    top_of_legend = 2 * _GAP + rows * (cell + _GAP)
    sheet = Image.new("RGB", (width, top_of_legend + len(lines) * _LINE + _GAP), PAPER)
    for number, (kind, picture) in enumerate(shown):
        row, column = divmod(number, columns)
        corner = (_GAP + column * (cell + _GAP), _GAP + row * (cell + _GAP))
        sheet.paste(_framed(picture, kind.colour, cell), corner)
    for number, (text, colour) in enumerate(lines):
        _draw_line(sheet, top_of_legend + number * _LINE, text, colour)
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=75, optimize=True)
    return buffer.getvalue()


def _framed(picture: TrainingPicture, colour: Colour, cell: int) -> Image.Image:
    """A cell with the picture in its frame; one in a bucket has the bucket's shape, and paper around its frame."""
    room, (width, height) = cell - 2 * _BORDER, picture.bucket or (1, 1)
    size = Size(max(1, room * width // max(width, height)), max(1, room * height // max(width, height)))
    left, top = ((cell - side) // 2 for side in size)
    framed = Image.new("RGB", (cell, cell), PAPER)
    framed.paste(colour, (left - _BORDER, top - _BORDER, left + size.width + _BORDER, top + size.height + _BORDER))
    framed.paste(prepare(open_picture(Path(picture.file)), size), (left, top))
    return framed


def _legend(kinds: Sequence[_Kind], shown: int) -> Iterator[tuple[str, Colour | None]]:
    """Lines of text, with the colour of the frame that each explains."""
    for kind in kinds:
        if kind.pictures:
            yield f"{len(kind.pictures)} {kind.name}: {kind.meaning}", kind.colour
    if more := _more(kinds, shown):
        yield more, None


def _more(kinds: Sequence[_Kind], shown: int) -> str:
    count = sum(len(kind.pictures) for kind in kinds) - shown
    return f"and {count} more, not shown" if count else ""


def _draw_line(sheet: Image.Image, top: int, text: str, colour: Colour | None) -> None:
    draw = ImageDraw.Draw(sheet)
    if colour:
        draw.rectangle((_GAP, top + 4, _GAP + 12, top + 16), outline=colour, width=_BORDER)
    ink = INK if colour else GREY
    draw.text((_GAP + 20, top + 10), text, fill=ink, font=get_font("regular", 13), anchor="lm")


def set_markdown(training_set: TrainingSet, sheet: bytes) -> str:
    """The set as markdown that carries its picture.

    Args:
        training_set: its first `SHOWN` pictures have a row in the table.
        sheet: what `set_sheet` returned.
    """
    parts = (_facts(training_set, sheet), _buckets(training_set), _table(training_set), _passed_over(training_set))
    return "\n\n".join(text for part in parts if (text := "\n".join(part))) + "\n"


def _facts(training_set: TrainingSet, sheet: bytes) -> Iterator[str]:
    yield f"{inline_picture(sheet, 'jpeg', 'training pictures')}\n"
    yield f"- **Folder:** {escape(training_set.folder)}"
    for kind in _kinds(training_set):
        yield f"- **{kind.name.capitalize()}:** {len(kind.pictures)} ({kind.meaning})"


def _buckets(training_set: TrainingSet) -> Iterator[str]:
    """How many pictures each aspect bucket has; nothing without buckets."""
    kinds = [kind for kind in reversed(_kinds(training_set)) if kind.pictures]
    counts = [count_buckets(kind.pictures) for kind in kinds]
    sizes = sorted({size for count in counts for size in count}, key=lambda size: size.width / size.height)
    if sizes:
        yield f"| bucket | {' | '.join(kind.name for kind in kinds)} |"
        yield f"| --- |{' ---: |' * len(kinds)}"
    for size in sizes:
        yield f"| {size} | {' | '.join(str(count.get(size, 0)) for count in counts)} |"


def _table(training_set: TrainingSet) -> Iterator[str]:
    kinds = _kinds(training_set)
    shown = _shown(kinds)
    yield "| file | use | size | caption |"
    yield "| --- | --- | ---: | --- |"
    for kind, picture in shown:
        use = kind.name if kind.name == "train" else f"**{kind.name}**"
        use += f" x {picture.repeats}" if picture.repeats > 1 else ""
        name = escape(_name(picture, training_set.folder))
        yield f"| {name} | {use} | {picture.width}x{picture.height} | {escape(_caption(picture))} |"
    if more := _more(kinds, len(shown)):
        yield f"\n{more}"


def _passed_over(training_set: TrainingSet) -> Iterator[str]:
    """The files that are not used, each with the reason."""
    names = training_set.passed_over
    if names:
        yield f"**{len(names)} files are not used:**\n"
        yield from (f"- {escape(name)}" for name in names[:SHOWN])
    if len(names) > SHOWN:
        yield f"\nand {len(names) - SHOWN} more, not shown"


def _caption(picture: TrainingPicture) -> str:
    more = f" (or {len(picture.alternatives)} others)" if picture.alternatives else ""
    return f"{picture.caption}{more}"


def _name(picture: TrainingPicture, folder: str) -> str:
    """The file's name in the set's folder; of a prior picture, which lies elsewhere, the last part alone."""
    path = Path(picture.file)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
