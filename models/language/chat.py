"""The writer that asks a language model: OpenAI, or any server of its chat-completions API (vLLM, Ollama, …).

One request per storyboard, answered as strict JSON. An answer that does not fit is asked again once, with what is
wrong in the conversation. Nothing is retried here beyond that: the errors say themselves whether to come back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, NoReturn

import openai
from openai.types.chat import ChatCompletionMessageParam
from pydantic import ValidationError

from models.errors import AnswerInvalid, QuotaExhausted, WriterRefused, WriterUnavailable
from models.keys import Keys, find_key_problem
from models.language.instructions import Answer, answer_schema, misfits, system_prompt, user_prompt
from models.language.vocabulary import Vocabulary, load_vocabulary
from models.records import Scene, SceneBreakdown, Story
from models.redaction import redact
from models.settings import StoryboardOptions

VERSION = "1"
"""Part of cache keys: raise it with every change of the prompt or of how answers are read."""

TIMEOUT_S = 120.0
"""Longest silence of the server. A board of 24 scenes is written in well under a minute."""
CONNECT_TIMEOUT_S = 10.0
MESSAGE_MAX = 300
PROBLEMS_MAX = 8
ASKED_AGAIN_MAX = 8000
"""Characters of an answer that are shown to the model again."""


class _Misfit(Exception):
    """An answer that does not fit the record."""

    def __init__(self, problem: str, answer: str = "") -> None:
        super().__init__(problem)
        self.answer = answer


def write(story: Story, options: StoryboardOptions, keys: Keys, *, timeout_s: float = TIMEOUT_S) -> SceneBreakdown:
    """`options.frames` scenes, written by `options.writer_model`.

    Args:
        timeout_s: longest silence of the server, in seconds.

    Raises:
        WriterRefused: no key, a refused key, an unknown model, or a request the server does not accept.
        QuotaExhausted: the account has no quota left.
        WriterUnavailable: rate limit, server error, timeout or a cut connection; may succeed later.
        AnswerInvalid: the answer did not fit twice, or is no chat completion at all.
    """
    secret = keys.reveal("openai_api_key")
    if problem := find_key_problem(keys, ["openai_api_key"]):
        raise WriterRefused(problem)
    if not secret:
        raise WriterRefused("OPENAI_API_KEY is not set; set it, or choose the offline writer")
    vocabulary = load_vocabulary(options.get_profile())
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": system_prompt(options.frames, vocabulary)},
        {"role": "user", "content": user_prompt(story)},
    ]
    timeout = openai.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))
    with openai.OpenAI(api_key=secret, base_url=keys.openai_base_url, max_retries=0, timeout=timeout) as client:
        try:
            return _read(_ask(client, messages, options, vocabulary), story, options, vocabulary)
        except _Misfit as misfit:
            messages += _complaint(misfit)
        try:
            return _read(_ask(client, messages, options, vocabulary), story, options, vocabulary)
        except _Misfit as misfit:
            problem = _one_line(str(misfit))
            raise AnswerInvalid(
                f"{options.writer_model} answered twice in a form that does not fit: {problem}"
            ) from None


def _ask(
    client: openai.OpenAI,
    messages: list[ChatCompletionMessageParam],
    options: StoryboardOptions,
    vocabulary: Vocabulary | None,
) -> str:
    """The text of one answer."""
    try:
        completion: Any = client.chat.completions.create(
            model=options.writer_model,
            messages=messages,
            temperature=options.temperature,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "storyboard", "strict": True, "schema": answer_schema(vocabulary)},
            },
        )
    except openai.APIStatusError as error:
        _raise_for_status(error, options.writer_model)
    except openai.APITimeoutError:
        raise WriterUnavailable("the language model's server did not answer in time") from None
    except openai.APIConnectionError as error:
        cause = _one_line(str(error.__cause__ or error))
        raise WriterUnavailable(f"the connection to the language model failed: {cause}") from None
    except (openai.OpenAIError, json.JSONDecodeError, UnicodeDecodeError):
        raise _no_completion(client) from None
    return _text_of(completion, client)


def _text_of(completion: Any, client: openai.OpenAI) -> str:
    """The message of a completion. The client does not check what a server sends, so this does."""
    choices: Any = getattr(completion, "choices", None)
    message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
    if message is None:
        raise _no_completion(client)
    content = redact(message.content) if isinstance(message.content, str) else ""  # some servers echo the key
    if getattr(message, "refusal", None):
        raise _Misfit(f"the model refused: {message.refusal}", str(message.refusal))
    if choices[0].finish_reason in ("length", "content_filter"):
        raise _Misfit(f"the answer was cut off ({choices[0].finish_reason})", content)
    return content


def _no_completion(client: openai.OpenAI) -> AnswerInvalid:
    return AnswerInvalid(f"what {client.base_url} sent is no chat completion; is OPENAI_BASE_URL right (…/v1)?")


def _read(text: str, story: Story, options: StoryboardOptions, vocabulary: Vocabulary | None) -> SceneBreakdown:
    """The answer as a breakdown; raises `_Misfit` with everything that is wrong."""
    try:
        answer = Answer.model_validate_json(text)
        if problems := misfits(answer, options.frames, vocabulary):
            raise _Misfit("; ".join(problems), text)
        return SceneBreakdown.model_validate(
            {
                "story": story,
                "writer": f"openai/{options.writer_model}",
                "title": answer.title,
                "cast": [member.model_dump() for member in answer.cast],
                "scenes": [Scene(number=n, **scene.model_dump()) for n, scene in enumerate(answer.scenes, start=1)],
            }
        )
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise _Misfit("; ".join(problems[:PROBLEMS_MAX]), text) from None


def _complaint(misfit: _Misfit) -> list[ChatCompletionMessageParam]:
    """The rest of the conversation that asks again."""
    return [
        {"role": "assistant", "content": misfit.answer[:ASKED_AGAIN_MAX] or "(no answer)"},
        {"role": "user", "content": f"That does not fit: {misfit}. Answer again with the whole storyboard as JSON."},
    ]


def _raise_for_status(error: openai.APIStatusError, model: str) -> NoReturn:
    """The error tree's word for an HTTP status."""
    status = error.status_code
    said = f"HTTP {status}: {_one_line(str(error.message))}"
    if status == 429 and "insufficient_quota" in (error.code, error.type):
        raise QuotaExhausted(f"the account has no quota left ({said})") from None
    if status in (408, 409, 425, 429) or status >= 500:
        wait = retry_after(error.response.headers, time())
        raise WriterUnavailable(f"the language model is not available now ({said})", retry_after=wait) from None
    if status in (401, 403):
        raise WriterRefused(f"OPENAI_API_KEY is refused, or may not use {model!r} ({said})") from None
    if status == 404:
        raise WriterRefused(f"the server has no model {model!r} ({said})") from None
    raise WriterRefused(f"the server does not accept the request for {model!r} ({said})") from None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a response asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as an HTTP date.

    Args:
        now: seconds since the epoch, from which a date is counted.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _one_line(text: str) -> str:
    """`text` on one line and not too long, and redacted before it is cut."""
    return " ".join(redact(text).split())[:MESSAGE_MAX]
