"""Pictures as JPEG, which is a tenth of their PNG."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from models.errors import CorruptFile
from models.storage.files import local_errors


def jpeg(picture: Path, most: int | None = None) -> bytes:
    """Return a picture as JPEG, whole and in its own shape.

    Args:
        picture: the file.
        most: the longer side's greatest length in pixels; None: as large as it is.

    Raises:
        ObjectNotFound, CorruptFile, StorageError: it can't be read.
    """
    buffer = io.BytesIO()
    try:
        with local_errors(picture), picture.open("rb") as file, Image.open(file) as image:
            copy = image.convert("RGB")
    except (ValueError, SyntaxError) as error:
        raise CorruptFile(f"{picture} is not a readable picture: {error}") from None
    if most is not None:
        copy.thumbnail((most, most), Image.Resampling.LANCZOS)
    copy.save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()
