"""One web page that stands alone: panels, fields, scores, takes and a player. Nothing is fetched from anywhere.

The page's policy (CSP) lets only its own script and style work, by their hashes, and pictures that it holds itself.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from models.board.report import show_score
from models.export.options import ExportOptions
from models.export.panels import ExportBoard
from models.export.pictures import jpeg
from models.export.words import clock, facts

PICTURE, TAKE = 1600, 360
"""Longer sides of pictures and of earlier takes, in pixels."""
_HERE = Path(__file__).parent


def write_html(board: ExportBoard, options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the board as one page; it has no warnings, because a browser has fonts of its own."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # `embed` returns only letters of base64; everything else is escaped by autoescape.
    pages = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    pages.globals |= {"embed": _embed, "facts": facts, "clock": clock, "score": show_score}
    style, script = ((_HERE / name).read_text("utf-8") for name in ("page.css", "page.js"))
    page = pages.get_template("page.html").render(
        board=board,
        takes={panel.frame: [take for take in panel.takes if take.picture.is_file()] for panel in board.panels},
        style=style,
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'",
        sizes=(PICTURE, TAKE),
    )
    file.write_bytes(page.encode())
    return ()


def _embed(picture: Path, most: int) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(picture, most)).decode()}"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
