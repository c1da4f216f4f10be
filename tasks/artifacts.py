"""What the dashboard shows of a run. A description is read as markdown there, so it is escaped here, once for all.

The text of a page is escaped where the page is made: `models/board/markdown.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from models.board.markdown import escape


def show_page(key: str, markdown: str, description: str) -> None:
    """Show a page of markdown.

    Args:
        key: of the artifact; the newest of a key is what the dashboard shows first.
        markdown: the page, with all text of people escaped.
        description: what it is, in plain words.
    """
    create_markdown_artifact(key=key, markdown=markdown, description=escape(description))


def show_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Show rows of numbers and of words that are this project's own: the first UI draws images in cells too."""
    create_table_artifact(key=key, table=[dict(row) for row in rows], description=escape(description))
