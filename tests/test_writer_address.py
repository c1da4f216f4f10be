"""Where the language model is asked: addresses that can be none, keys that are needed, proxies that are not."""

from __future__ import annotations

import pytest
from openai_server import Reply, completion, failure, serving
from test_openai_writer import KEY, STORY, board, options, write

from models.errors import WriterRefused, WriterUnreachable
from models.language import chat
from models.language.endpoint import find_writer_problem
from models.profiles import SDXL
from models.secrets.keys import Keys

NO_KEY = "the openai writer needs a key: Set OPENAI_API_KEY in .env, or use --writer offline"


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("127.0.0.1:8000/v1", "begins with neither http:// nor https://"),
        ("localhost:8000/v1", "begins with neither http:// nor https://"),
        ("joe:hunter2@studio/v1", "begins with neither http:// nor https://"),
        ("ftp://studio/v1", "begins with neither http:// nor https://"),
        ("http://joe:hunter2@127.0.0.1:99999/v1", "is no address"),
        ("http://127.0.0.1:port/v1", "is no address"),
        ("http://127.0.0.1:0/v1", "is no address"),
        ("http://[::1/v1", "is no address"),
        ("http:///v1", "is no address"),
        ("http://stu dio/v1", "is no address"),
        ("http://127.0.0.1:9/v1/chat/completions", "ends in /chat/completions; leave that out"),
    ],
)
def test_an_address_that_can_be_none_is_refused_before_any_request(url: str, named: str) -> None:
    keys = Keys(openai_api_key=KEY, openai_base_url=url)
    with pytest.raises(WriterRefused, match=named) as caught:
        chat.write(STORY, options(), SDXL, keys)
    assert "hunter2" not in str(caught.value)
    assert find_writer_problem(keys) == str(caught.value)


@pytest.mark.parametrize(
    ("url", "own"),
    [
        (None, False),
        ("https://api.openai.com/v1", False),
        ("https://router.example/v1", False),
        ("https://93.184.216.34/v1", False),
        ("http://localhost:11434/v1", True),
        ("http://127.0.0.1:1234/v1", True),
        ("http://[::1]:1234/v1", True),
        ("http://192.168.1.7:8000/v1", True),
        ("http://studio:8000/v1", True),
        ("http://gpu.studio.local:8000/v1", True),
    ],
)
def test_a_key_is_needed_on_the_internet_alone(url: str | None, own: bool) -> None:
    problem = find_writer_problem(Keys(openai_api_key=None, openai_base_url=url))
    assert problem == (None if own else NO_KEY)


def test_a_missing_key_is_refused_before_any_request() -> None:
    for key in (None, "", " "):
        keys = Keys(openai_api_key=key, openai_base_url="https://router.example/v1")
        with pytest.raises(WriterRefused, match="Set OPENAI_API_KEY"):
            chat.write(STORY, options(), SDXL, keys)


def test_a_server_of_ones_own_is_asked_without_a_key() -> None:
    with serving(completion(board())) as server:
        written = chat.write(STORY, options(), SDXL, Keys(openai_api_key=None, openai_base_url=server.base_url))
    assert len(written.scenes) == 2
    with serving(failure(401, "who?")) as server, pytest.raises(WriterRefused, match="OPENAI_API_KEY is not set"):
        chat.write(STORY, options(), SDXL, Keys(openai_api_key=None, openai_base_url=server.base_url))


def test_no_proxy_leads_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving(completion(board())) as server:
        assert len(write(server).scenes) == 2


@pytest.mark.parametrize("organization", ["org\n1", "órg-1"])
def test_a_header_that_cannot_be_sent_is_told_at_once(organization: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", organization)
    with serving(completion(board())) as server, pytest.raises(WriterUnreachable, match="no request can be sent"):
        write(server)
    assert server.requests == []


def test_a_server_that_speaks_no_tls_is_told_so() -> None:
    with serving(completion(board())) as server:
        keys = Keys(openai_api_key=KEY, openai_base_url=server.base_url.replace("http:", "https:"))
        with pytest.raises(WriterUnreachable, match="does not speak TLS"):
            chat.write(STORY, options(), SDXL, keys)


def test_a_host_that_is_none_and_a_way_in_circles_are_told_at_once() -> None:
    with pytest.raises(WriterUnreachable, match="no request can be sent to http://a"):
        chat.write(STORY, options(), SDXL, Keys(openai_api_key=KEY, openai_base_url="http://a..b/v1"))
    circling: Reply = lambda handler: handler.send(307, b"", {"location": handler.path})  # noqa: E731
    with serving(circling) as server, pytest.raises(WriterUnreachable, match="redirects"):
        write(server)
