"""Servers of the chat-completions API that are not OpenAI, each with its manner: what works, and what is said."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from openai_server import Handler, Reply, Script, completion, failure, raw, serving
from test_openai_writer import board, options

from models.errors import AnswerInvalid, QuotaExhausted, StoryboardError, WriterRefused, WriterUnavailable
from models.language import chat
from models.profiles import SDXL
from models.records import SceneBreakdown, Story
from models.secrets.keys import Keys
from models.settings import StoryboardOptions

STORY = Story(text="Aldar sells a shadow.")


def write(server: Script, base_url: str | None = None) -> SceneBreakdown:
    """Two scenes from this server, or what they fail with."""
    keys = Keys(openai_api_key=None, openai_base_url=base_url or server.base_url)
    return chat.write(STORY, options(), SDXL, keys, timeout_s=5)


def message(**parts: Any) -> Reply:
    """A completion whose message has these parts."""
    body = {"choices": [{"index": 0, "finish_reason": parts.pop("finish", "stop"), "message": parts}]}
    return raw(json.dumps(body).encode(), "application/json")


def events(text: str) -> Reply:
    """A completion in pieces, as it comes where it was asked for as a stream."""
    pieces = [text[start : start + 50] for start in range(0, len(text), 50)]
    lines = [json.dumps({"choices": [{"delta": {"content": piece}}]}) for piece in pieces]
    return raw("".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode(), "text/event-stream")


def refusing(*refusals: tuple[Callable[[dict[str, Any]], bool], Reply]) -> Reply:
    """Answers well where none of these conditions holds of the request, and else with what belongs to the first."""

    def reply(handler: Handler) -> None:
        request = handler.script.requests[-1]
        found = [answer for condition, answer in refusals if condition(request)]
        (found[0] if found else completion(board()))(handler)

    return reply


def form_of(request: dict[str, Any]) -> str | None:
    form = request.get("response_format") or {}
    return form.get("type")


def has_schema(request: dict[str, Any]) -> bool:
    return form_of(request) == "json_schema"


def has_form(request: dict[str, Any]) -> bool:
    return form_of(request) is not None


def has_system(request: dict[str, Any]) -> bool:
    return any(part["role"] == "system" for part in request["messages"])


def cools(request: dict[str, Any]) -> bool:
    return bool(request.get("temperature", 1) != 1)


DETAIL = {"detail": [{"loc": ["body", "response_format"], "msg": "unsupported", "type": "value_error"}]}
UNPROCESSABLE: Reply = lambda handler: handler.send(422, json.dumps(DETAIL).encode())  # noqa: E731
NO_COOLING = failure(400, "Unsupported value: 'temperature' takes only the default (1) with this model.")


@pytest.mark.parametrize(
    ("reply", "forms"),
    [
        (completion(board()), ["json_schema"]),
        (
            refusing((has_schema, failure(400, "response_format of that type is unavailable"))),
            ["json_schema", "json_object"],
        ),
        (refusing((has_schema, UNPROCESSABLE)), ["json_schema", "json_object"]),
        (refusing((has_form, failure(400, "bad request"))), ["json_schema", "json_object", None]),
        (refusing((cools, NO_COOLING)), ["json_schema", "json_schema"]),
        (refusing((cools, NO_COOLING), (has_form, UNPROCESSABLE)), ["json_schema"] * 2 + ["json_object", None]),
        (refusing((has_system, failure(400, "System role not supported"))), ["json_schema"] * 2),
    ],
    ids=["all", "schema-400", "schema-422", "any-form", "temperature", "both", "system"],
)
def test_what_a_server_refuses_is_left_out_and_said_once(
    reply: Reply, forms: list[str | None], caplog: pytest.LogCaptureFixture
) -> None:
    with serving(reply) as server, caplog.at_level(logging.WARNING, logger="models"):
        assert len(write(server).scenes) == 2
    assert [form_of(request) for request in server.requests] == forms
    said = [record.getMessage() for record in caplog.records]
    assert len(set(said)) == len(said) == len(forms) - 1
    rules = server.requests[-1]["messages"][0]["content"]
    assert ("additionalProperties" in rules) is (forms[-1] != "json_schema")


def test_what_was_refused_stays_left_out_when_an_answer_is_asked_again() -> None:
    told: list[int] = []

    def first_too_short(handler: Handler) -> None:
        told.append(1)
        completion(board(1 if len(told) == 1 else 2))(handler)

    with serving(refusing((has_schema, UNPROCESSABLE), (lambda _: True, first_too_short))) as server:
        assert len(write(server).scenes) == 2
    assert [form_of(request) for request in server.requests] == ["json_schema", "json_object", "json_object"]


@pytest.mark.parametrize("model", ["gpt-5.5", "o4-mini", "openai/gpt-5-mini"])
def test_models_that_take_no_temperature_work_without_a_word(model: str, caplog: pytest.LogCaptureFixture) -> None:
    takes_none = refusing((lambda request: "temperature" in request, NO_COOLING))
    with serving(takes_none) as server, caplog.at_level(logging.WARNING, logger="models"):
        keys = Keys(openai_api_key=None, openai_base_url=server.base_url)
        assert len(chat.write(STORY, options(writer_model=model), SDXL, keys).scenes) == 2
        assert (len(server.requests), caplog.messages) == (1, [])
        assert len(chat.write(STORY, options(writer_model=model, temperature=0.5), SDXL, keys).scenes) == 2
    assert [request.get("temperature") for request in server.requests] == [None, 0.5, None]
    assert not any("max_tokens" in request for request in server.requests)
    assert caplog.messages == [f"{model} refuses temperature: repeating the request without it"]


def test_the_default_model_is_one_of_these() -> None:
    assert StoryboardOptions().writer_model.startswith("gpt-5")


@pytest.mark.parametrize(
    "reply",
    [
        completion(f"```json\n{board()}\n```"),
        completion(f"```\n{board()}\n```\nDone."),
        completion(f"<think>\nTwo scenes, such as {{}} or {board(1)}.\n</think>\n\n{board()}"),
        completion(f"Two scenes are asked for: {board(1)}\n</think>{board()}"),
        completion(f"Here is the storyboard:\n\n{board()}\n\nLet me know if {{you}} like it!"),
        completion(json.dumps({"storyboard": json.loads(board())})),
        completion(board(moral="be clever", id=7)),
        completion(f"\ufeff{board()}"),
        message(role="assistant", content=[{"type": "thinking", "thinking": []}, {"type": "text", "text": board()}]),
        message(content=None, finish="tool_calls", tool_calls=[{"function": {"name": "f", "arguments": board()}}]),
        message(content=board(), reasoning_content="{no}"),
        events(board()),
        raw(json.dumps({"choices": [{"message": {"content": board()}}], "error": None}).encode(), "text/plain"),
    ],
    ids=[
        "fenced",
        "fenced-plain",
        "think",
        "think-without-its-beginning",
        "prose",
        "wrapped",
        "more-keys",
        "byte-order-mark",
        "parts",
        "tool-call",
        "reasoning",
        "events",
        "another-content-type",
    ],
)
def test_a_storyboard_is_found_in_every_answer_that_holds_one(reply: Reply) -> None:
    with serving(reply) as server:
        assert len(write(server).scenes) == 2
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "content",
    ["", "<think>never ends {}", "{" * 50000, "[]", "[1]", '{"title": "no scenes"}', "null", '[{"a":' * 5000, "{}"],
    ids=["empty", "thought", "braces", "list", "number", "no-scenes", "null", "deep", "empty-object"],
)
def test_an_answer_without_a_storyboard_is_refused_after_it_was_asked_again(content: str) -> None:
    with serving(completion(content)) as server, pytest.raises(AnswerInvalid, match="two answers that do not fit"):
        write(server)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("body", "expected", "named"),
    [
        (
            {"choices": None, "error": {"message": "Provider returned error", "code": 429}},
            WriterUnavailable,
            "HTTP 429",
        ),
        ({"error": {"message": "slow down", "code": "429"}}, WriterUnavailable, "slow down"),
        ({"error": {"message": "busy", "type": "overloaded_error"}}, WriterUnavailable, "busy"),
        ({"choices": [{"error": {"message": "cut", "code": 502}}]}, WriterUnavailable, "HTTP 502"),
        ({"error": {"message": "no money", "code": 402}}, QuotaExhausted, "no money"),
        ({"error": {"message": "bad key", "code": 401}}, WriterRefused, "bad key"),
        ({"object": "error", "message": "model not found", "code": 404}, WriterRefused, "no model 'tale-1'"),
        ({"error": "Unexpected endpoint or method."}, WriterRefused, "Unexpected endpoint"),
        ({"choices": []}, AnswerInvalid, "OPENAI_BASE_URL"),
        ({"choices": [{}]}, AnswerInvalid, "OPENAI_BASE_URL"),
        ([], AnswerInvalid, "OPENAI_BASE_URL"),
        (None, AnswerInvalid, "OPENAI_BASE_URL"),
    ],
)
def test_an_error_inside_a_success_is_that_error(body: Any, expected: type[StoryboardError], named: str) -> None:
    with (
        serving(raw(json.dumps(body).encode(), "application/json")) as server,
        pytest.raises(expected, match=named) as caught,
    ):
        write(server)
    assert len(server.requests) == 1
    assert caught.value.retryable is (expected is WriterUnavailable)


def test_what_a_server_behind_a_router_said_is_told() -> None:
    error = {"message": "Provider returned error", "code": 429, "metadata": {"raw": "Too Many Requests"}}
    reply = raw(json.dumps({"choices": None, "error": error}).encode(), "application/json")
    with serving(reply) as server, pytest.raises(WriterUnavailable, match="Provider returned error: Too Many Requests"):
        write(server)


def test_an_address_without_v1_is_said_to_lack_it() -> None:
    missing: Reply = lambda handler: handler.send(404, b"404 page not found", {"content-type": "text/plain"})  # noqa: E731
    with serving(missing) as server, pytest.raises(WriterRefused) as caught:
        write(server, server.base_url.removesuffix("/v1"))
    assert f"OPENAI_BASE_URL usually ends in /v1: {server.base_url}" in str(caught.value)
    with serving(missing) as server, pytest.raises(WriterRefused, match="is OPENAI_BASE_URL right"):
        write(server)
    absent = failure(404, "The model 'tale-1' does not exist")
    with serving(absent) as server, pytest.raises(WriterRefused, match=r"no model 'tale-1'.*--writer-model"):
        write(server, server.base_url.removesuffix("/v1"))


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_of_the_model_is_asked_once(status: int) -> None:
    with (
        serving(failure(status, "model tale-1 not found, try pulling it first")) as server,
        pytest.raises(WriterRefused),
    ):
        write(server)
    assert len(server.requests) == 1
