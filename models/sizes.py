"""Width and height of a picture: one type for profiles, requests and records, and a profile's table of shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from models.records import Record

GRAIN = 8
"""Width and height are multiples of this: a latent's cell has as many pixels a side."""
SMALLEST, LARGEST = 64, 2048
"""Limits of a width and a height that may be asked for, in pixels."""
SQUARE = "1:1"
"""The aspect of squares."""


class Size(NamedTuple):
    """A picture's width and height in pixels."""

    width: int
    height: int

    @classmethod
    def square(cls, side: int) -> Self:
        """Return the size of a square."""
        return cls(side, side)

    @property
    def is_square(self) -> bool:
        """Whether width and height are equal."""
        return self.width == self.height

    @property
    def pixels(self) -> int:
        """The number of pixels."""
        return self.width * self.height

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def __repr__(self) -> str:
        return str(self)


def _read(value: object) -> Size:
    """Return the size that a number (a square's side), "336x192" or a pair gives.

    Raises:
        ValueError: it is none of these, or a side is no positive multiple of `GRAIN`.
    """
    if isinstance(value, int):
        size = Size.square(value)
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}x[0-9]{1,5}", value):
        size = Size(*map(int, value.split("x")))
    elif isinstance(value, list | tuple) and [type(side) for side in value] == [int, int]:
        size = Size(*value)
    else:
        raise ValueError('write width and height as "1344x768"')
    if min(size) < GRAIN or size.width % GRAIN or size.height % GRAIN:
        raise ValueError(f"width and height must be multiples of {GRAIN}")
    return size


def _written(size: Size) -> int | str:
    return size.width if size.is_square else str(size)


PictureSize = Annotated[Size, BeforeValidator(_read), PlainSerializer(_written)]
"""A record's field. A square is written as its side, as before there were other shapes, so that the keys of stored work
and the bytes of pictures stay the same; another shape as "336x192"."""


def _check_limits(size: Size) -> Size:
    if min(size) < SMALLEST or max(size) > LARGEST:
        raise ValueError(f"width and height must be {SMALLEST} to {LARGEST}")
    return size


class Shape(Record):
    """The size in which a base paints one aspect."""

    aspect: str = Field(pattern=r"^[0-9]+(\.[0-9]+)?:[0-9]+(\.[0-9]+)?$")
    """Width to height: "16:9"."""
    size: Annotated[PictureSize, AfterValidator(_check_limits)]


def _read_shapes(value: object) -> object:
    """Return the entries of a table as a JSON file has it: {"16:9": "1344x768"}."""
    if not isinstance(value, Mapping):
        return value
    if SQUARE in value:
        raise ValueError(f"{SQUARE} is not set here: its side is native_size")
    return tuple({"aspect": aspect, "size": size} for aspect, size in value.items())


def _written_shapes(shapes: tuple[Shape, ...]) -> dict[str, Size]:
    return {shape.aspect: shape.size for shape in shapes}


Shapes = Annotated[
    tuple[Shape, ...],
    BeforeValidator(_read_shapes),
    PlainSerializer(_written_shapes, return_type=dict[str, PictureSize]),
]
"""A table of aspects and sizes, written as {"16:9": "1344x768"}."""


def without_size(options: object) -> object:
    """Return a storyboard's recorded options without `size`, which in earlier versions was the side of its squares."""
    if not isinstance(options, dict) or "size" not in options:
        return options
    others = {name: value for name, value in options.items() if name != "size"}
    return others | {"width": options["size"], "height": options["size"]}
