"""Folders of training pictures as other programs and people leave them: small, drawn here, each picture another one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()

FORMATS = {".heic": "HEIF", ".hif": "HEIF", ".jfif": "JPEG", ".jpe": "JPEG", ".jp2": "JPEG2000", ".dib": "BMP"}
"""Endings that Pillow does not know, or not in all releases."""


def pixels(seed: int, side: int = 64) -> Image.Image:
    """Coarse noise of its own for each seed, RGB, side x side."""
    blocks = np.random.default_rng(seed).integers(40, 216, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST)


def draw(file: Path, seed: int) -> None:
    """A picture in the format that its ending stands for; what Pillow can't write holds a few bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = FORMATS.get(file.suffix.lower()) or Image.registered_extensions().get(file.suffix.lower())
    if kind in Image.SAVE:
        pixels(seed).save(file, kind)
    else:
        file.write_bytes(b"a kind of its own")


def make(folder: Path, files: Mapping[str, str | None]) -> Path:
    """Write files: a picture where the content is None, else the text.

    Args:
        folder: is made.
        files: name, also in subfolders -> text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, text) in enumerate(files.items()):
        if text is None:
            draw(folder / name, seed)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def pairs(*names: str, caption: str = "hero sits") -> dict[str, str | None]:
    """Pictures of these names and the .txt beside each."""
    files: dict[str, str | None] = dict.fromkeys(names)
    return files | {str(Path(name).with_suffix(".txt")): caption for name in names}


def jsonl(captions: Mapping[str, object], column: str = "text") -> str:
    """The text of a metadata.jsonl."""
    return "".join(json.dumps({"file_name": name, column: text}) + "\n" for name, text in captions.items())


def table(captions: Mapping[str, str], column: str = "text", delimiter: str = ",") -> str:
    """The text of a metadata.csv, as spreadsheets write it."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerows([["file_name", column, "width"], *([name, text, 64] for name, text in captions.items())])
    return stream.getvalue()
