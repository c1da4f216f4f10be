"""A storyboard out of what a server sent: completions in their several shapes, and JSON among other text."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from models.language.failures import Reply
from models.secrets.redaction import redact

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)|\A.*</(?:think|thinking|reasoning)>", re.DOTALL)
"""What a model thought aloud, also where its beginning or its end was left out."""
_JSON = json.JSONDecoder()
MOST_BRACES = 200
"""Braces in an answer that may begin no JSON: each costs a reading of all that was before it."""


class Message(NamedTuple):
    """What a model answered."""

    text: str
    refusal: str | None = None
    cut: str | None = None
    """Why the answer stopped before its end, if it did."""


def read_message(reply: Reply) -> Message | None:
    """The message of a completion, or None where there is none. Secrets that a server repeats are hidden."""
    body = reply.body() or _joined(reply.text)
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return None
    message = choice["message"]
    reason = choice.get("finish_reason")
    refusal = message.get("refusal")
    return Message(
        text=redact(_content(message)),
        refusal=redact(str(refusal)) if refusal else None,
        cut=reason if reason in ("length", "content_filter") else None,
    )


def _content(message: dict[str, Any]) -> str:
    """The text: a string, a list of parts of which some are thoughts, or the argument of a function."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if _is_text(part))
    if isinstance(content, str) and content.strip():
        return content
    calls = message.get("tool_calls")
    function = calls[0].get("function") if isinstance(calls, list) and calls and isinstance(calls[0], dict) else None
    return str(function.get("arguments", "")) if isinstance(function, dict) else ""


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in ("text", "output_text")


def _joined(text: str) -> dict[str, Any] | None:
    """A completion that came as events, though it was not asked for so."""
    pieces, reason = [], None
    for line in text.splitlines():
        event = Reply(200, line.removeprefix("data:")).body() if line.startswith("data:") else None
        choices = event.get("choices") if isinstance(event, dict) else None
        for choice in choices or []:
            pieces.append(str(choice.get("delta", {}).get("content") or ""))
            reason = choice.get("finish_reason") or reason
    return {"choices": [{"message": {"content": "".join(pieces)}, "finish_reason": reason}]} if pieces else None


def find_storyboard(text: str) -> dict[str, Any] | None:
    """The JSON object in an answer: alone, fenced, after a thought or among prose; of several the last with scenes."""
    found = [candidate for candidate in _objects(_THOUGHT.sub("", text)) if candidate]
    boards = [board for candidate in found if (board := _unwrapped(candidate))]
    return boards[-1] if boards else max(found, key=len, default=None)


def _objects(text: str) -> list[dict[str, Any]]:
    """All outermost JSON objects in a text; where one brace after the other begins none, the rest is left unread."""
    found, start, failed = [], text.find("{"), 0
    while start >= 0 and failed < MOST_BRACES:
        try:
            value, end = _JSON.raw_decode(text, start)
            found.append(value)
        except (ValueError, RecursionError):
            end, failed = start + 1, failed + 1
        start = text.find("{", end)
    return found


def _unwrapped(value: dict[str, Any]) -> dict[str, Any] | None:
    """The object that has scenes: this one, or the only one in it."""
    if "scenes" in value:
        return value
    inner = next(iter(value.values())) if len(value) == 1 else None
    return inner if isinstance(inner, dict) and "scenes" in inner else None
