"""Creates the dashboard's artifacts. The dashboard renders descriptions as markdown, so they are escaped here.

A page's own text is escaped where the page is made, with `models/board/markdown.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from models.board.markdown import escape


def show_page(key: str, markdown: str, description: str) -> None:
    """Show a page of markdown.

    Args:
        key: the artifact's key; the dashboard shows the newest artifact of a key first.
        markdown: the page, with user text escaped.
        description: the page's description as plain text.
    """
    create_markdown_artifact(key=key, markdown=markdown, description=escape(description))


def show_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Show a table. Its cells must not hold user text, since Prefect's first UI renders markdown in them."""
    create_table_artifact(key=key, table=[dict(row) for row in rows], description=escape(description))
