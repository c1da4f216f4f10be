"""The writer that uses a language model: OpenAI, or any server of its chat-completions API (vLLM, Ollama, …).

One request per storyboard, answered as JSON. If the server refuses a parameter, the request is repeated without it. If
the answer does not fit the record, the request is repeated once, with the problems in the conversation. There are no
other retries here: the errors hold whether a retry can help.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import openai
from pydantic import ValidationError

from models.errors import AnswerInvalid, WriterRefused
from models.language.answers import find_storyboard, read_message
from models.language.endpoint import ANY_KEY, find_writer_problem, is_loopback, shown
from models.language.failures import Asked, Reply, connection_error, error_of, find_failure, no_completion, one_line
from models.language.instructions import (
    Answer,
    AnsweredScene,
    answer_schema,
    misfits,
    only_known,
    system_prompt,
    user_prompt,
)
from models.language.manners import Manner
from models.language.vocabulary import Vocabulary, load_vocabulary
from models.profiles import Profile
from models.records import Scene, SceneBreakdown, Story
from models.secrets.keys import Keys
from models.settings import StoryboardOptions

VERSION = "3"
"""Part of cache keys: raise it with every change of the prompt or of how answers are read."""
EARLIER = ("2",)
"""Versions whose stored answers are still used, since they were paid for. Version 2 asked for no panels."""

TIMEOUT_S = 120.0
"""Longest silence of the server. Writing 24 scenes takes well under a minute."""
CONNECT_TIMEOUT_S = 10.0
PROBLEMS_MAX = 8
QUOTED_MAX = 100
"""Characters of an answer that an error quotes."""
ASKED_AGAIN_MAX = 8000
"""Characters of a wrong answer that the second request quotes."""

logger = logging.getLogger(__name__)


class _Misfit(Exception):
    """An answer that does not fit the record."""

    def __init__(self, problem: str, answer: str = "") -> None:
        super().__init__(problem)
        self.answer = answer


def write(
    story: Story, options: StoryboardOptions, profile: Profile, keys: Keys, *, timeout_s: float = TIMEOUT_S
) -> SceneBreakdown:
    """Return `options.frames` scenes, written by `options.writer_model`.

    Args:
        timeout_s: longest silence of the server, in seconds.

    Raises:
        WriterRefused: no key, a refused key, an unknown model, or a request that the server does not accept.
        WriterUnreachable: no answer from the address, or no request can be sent there.
        QuotaExhausted: the account has no quota left.
        WriterUnavailable: rate limit, server error, timeout or a cut connection; may succeed later.
        AnswerInvalid: two answers did not fit, or the reply is not a chat completion.
    """
    if problem := find_writer_problem(keys):
        raise WriterRefused(problem)
    vocabulary = load_vocabulary(profile)
    with _client(keys, timeout_s) as client:
        manner = Manner.first(options.writer_model, "temperature" in options.model_fields_set)
        talk = _Talk(client, story, options, vocabulary, _asked(options, keys), manner)
        try:
            return talk.ask()
        except _Misfit as misfit:
            talk.complain(misfit)
        try:
            return talk.ask()
        except _Misfit as misfit:
            quoted = f"; it begins: {one_line(misfit.answer)[:QUOTED_MAX]!r}" if misfit.answer else ""
            raise AnswerInvalid(
                f"{options.writer_model} gave two answers that do not fit: {one_line(str(misfit))}{quoted}"
            ) from None


def _asked(options: StoryboardOptions, keys: Keys) -> Asked:
    return Asked(options.writer_model, shown(keys.openai_base_url), with_key=bool(keys.reveal("openai_api_key")))


def _client(keys: Keys, timeout_s: float) -> openai.OpenAI:
    """Return a client without retries, and without a proxy for a server on this machine."""
    return openai.OpenAI(
        api_key=keys.reveal("openai_api_key") or ANY_KEY,
        base_url=keys.openai_base_url,
        max_retries=0,
        timeout=openai.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
        http_client=openai.DefaultHttpxClient(trust_env=False) if is_loopback(keys.openai_base_url) else None,
    )


@dataclass
class _Talk:
    """One conversation about one story. Parameters that the server refused stay left out."""

    client: openai.OpenAI
    story: Story
    options: StoryboardOptions
    vocabulary: Vocabulary | None
    asked: Asked
    manner: Manner
    more: list[dict[str, str]] = field(default_factory=list)

    def ask(self) -> SceneBreakdown:
        """Return the scenes of one answer.

        Raises:
            WriterError: see `write`.
            _Misfit: the answer does not fit; lists all problems.
        """
        while True:
            reply = self._post()
            failure = find_failure(reply)
            if failure is None:
                return self._read(reply)
            simpler = self.manner.simpler(failure)
            if simpler is None:
                raise error_of(failure, self.asked)
            left_out = self.manner.without(simpler)
            logger.warning("%s refuses %s: repeating the request without it", self.asked.model, left_out)
            self.manner = simpler

    def complain(self, misfit: _Misfit) -> None:
        """Add this answer and its problems to the next request."""
        wrong = f"That does not fit: {misfit}. Answer again with the whole storyboard as JSON."
        self.more = [
            {"role": "assistant", "content": misfit.answer[:ASKED_AGAIN_MAX] or "(no answer)"},
            {"role": "user", "content": wrong},
        ]

    def _post(self) -> Reply:
        """Send the request and return the reply, also an error reply."""
        schema = answer_schema(self.vocabulary)
        rules = system_prompt(self.options.frames, self.vocabulary)
        messages: Any = [*self.manner.messages(rules, user_prompt(self.story), schema), *self.more]
        parameters: Any = self.manner.parameters(schema, self.options.temperature)
        try:
            raw = self.client.chat.completions.with_raw_response.create(
                model=self.options.writer_model, messages=messages, **parameters
            )
        except openai.APIStatusError as error:
            return Reply(error.status_code, error.response.text, error.response.headers)
        except (openai.APIConnectionError, UnicodeError) as error:  # UnicodeError: an invalid host or header
            raise connection_error(error, self.asked) from None
        return Reply(raw.status_code, raw.text, raw.headers)

    def _read(self, reply: Reply) -> SceneBreakdown:
        message = read_message(reply)
        if message is None:
            raise no_completion(reply, self.asked)
        if message.refusal:
            raise _Misfit(f"the model refused: {message.refusal}", message.refusal)
        if message.cut:
            raise _Misfit(
                f"the answer was cut off ({message.cut}): at the server's limit, or by its filter", message.text
            )
        found = find_storyboard(message.text)
        if found is None:
            raise _Misfit(f"there is no JSON object in the {'' if message.text else 'empty '}answer", message.text)
        return self._breakdown(found, message.text)

    def _breakdown(self, found: dict[str, Any], text: str) -> SceneBreakdown:
        """Return the answer as a breakdown; raises `_Misfit` with all problems."""
        try:
            answer = Answer.model_validate(only_known(found))
            if problems := misfits(answer, self.options.frames, self.vocabulary):
                raise _Misfit("; ".join(problems), text)
            return SceneBreakdown.model_validate(
                {
                    "story": self.story,
                    "writer": f"openai/{self.options.writer_model}",
                    "title": answer.title,
                    "cast": [member.model_dump() for member in answer.cast],
                    "scenes": [_scene(n, scene) for n, scene in enumerate(answer.scenes, start=1)],
                }
            )
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
            raise _Misfit("; ".join(problems[:PROBLEMS_MAX]), text) from None


def _scene(number: int, answered: AnsweredScene) -> Scene:
    """Return the scene; its panel's shot has its number."""
    parts = answered.model_dump(exclude_none=True)
    return Scene.model_validate(
        parts | {"number": number, "panel": {**parts.get("panel", {}), "shot_number": str(number)}}
    )
