"""Escapes user text for markdown, so that it is shown as written.

A browser loads images that markdown or HTML names, so a title must not become an image on somebody's server.
"""

from __future__ import annotations

import base64
import re


def escape(text: str) -> str:
    """Return the text escaped for markdown, on one line; also valid in a table's cell."""
    return re.sub(r"([\\`*_\[\]<>|~#&$])", r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Return the text as a code span on one line (https://spec.commonmark.org/0.31.2/#code-spans)."""
    line = " ".join(text.split(" ")).replace("\n", " ")
    longest = max(map(len, re.findall("`+", line)), default=0)
    pad = " " if longest else ""
    fence = "`" * (longest + 1)
    return f"{fence}{pad}{line}{pad}{fence}"


def inline_picture(data: bytes, kind: str, words: str) -> str:
    """A picture that the markdown itself carries: a dashboard shows no files of this machine.

    Args:
        data: the file's bytes.
        kind: of the file: png or jpeg.
        words: for those who do not see it; must hold no brackets.
    """
    return f"![{words}](data:image/{kind};base64,{base64.b64encode(data).decode('ascii')})"
