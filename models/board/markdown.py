"""Text of people inside markdown: shown as it was written, and never read as markdown.

A browser fetches what markdown or HTML names, so a title may not become an image of somebody's server.
"""

from __future__ import annotations

import base64
import re


def escape(text: str) -> str:
    """Text as markdown shows it: on one line, every sign as it is, in a table's cell too."""
    return re.sub(r"([\\`*_\[\]<>|~#&$])", r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Text as a span of code, on one line; https://spec.commonmark.org/0.31.2/#code-spans."""
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
