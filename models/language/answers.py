"""Parsing of a server's answer: completions in several shapes, and a storyboard's JSON among other text."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from models.language.failures import Reply
from models.secrets.redaction import redact

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)|\A.*</(?:think|thinking|reasoning)>", re.DOTALL)
"""A model's reasoning, also with a missing opening or closing tag."""
_JSON = json.JSONDecoder()
MOST_BRACES = 200
"""Failed braces after which the search for JSON stops, because each attempt reads far into the text."""


class Message(NamedTuple):
    """A model's message."""

    text: str
    refusal: str | None = None
    cut: str | None = None
    """Why the answer was cut off (length or content_filter), or None."""


def read_message(reply: Reply) -> Message | None:
    """Return the message of a completion, with secrets redacted, or None if the reply holds no message."""
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
    """Return the text: a string, the text parts of a list, or the arguments of the first function call."""
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
    """Return a completion from server-sent events, which some servers send without being asked; None without events."""
    pieces, reason = [], None
    for line in text.splitlines():
        event = Reply(200, line.removeprefix("data:")).body() if line.startswith("data:") else None
        choices = event.get("choices") if isinstance(event, dict) else None
        for choice in choices or []:
            pieces.append(str(choice.get("delta", {}).get("content") or ""))
            reason = choice.get("finish_reason") or reason
    return {"choices": [{"message": {"content": "".join(pieces)}, "finish_reason": reason}]} if pieces else None


def find_storyboard(text: str) -> dict[str, Any] | None:
    """Return the storyboard's JSON object: the last one with scenes, else the largest, else None.

    It may stand alone, in a code fence, after reasoning or among prose.
    """
    found = [candidate for candidate in _objects(_THOUGHT.sub("", text)) if candidate]
    boards = [board for candidate in found if (board := _unwrapped(candidate))]
    return boards[-1] if boards else max(found, key=len, default=None)


def _objects(text: str) -> list[dict[str, Any]]:
    """Return all outermost JSON objects in a text, up to `MOST_BRACES` failed attempts."""
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
    """Return the object that has scenes: this one or its only value, else None."""
    if "scenes" in value:
        return value
    inner = next(iter(value.values())) if len(value) == 1 else None
    return inner if isinstance(inner, dict) and "scenes" in inner else None
