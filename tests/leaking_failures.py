"""Some thirty ways to fail with a secret in one's mouth. Secrets come from the environment."""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEY = os.environ["OPENAI_API_KEY"]
AWS = os.environ["AWS_SECRET_ACCESS_KEY"]
CREDENTIALS = os.environ["CREDENTIALS"]
"""User and password, as they stand in some of the addresses."""
DEAD = f"http://{CREDENTIALS}@127.0.0.1:9"
"""Nobody listens there."""
FAILURES: list[Callable[[], Any]] = []


def failing(function: Callable[[], Any]) -> Callable[[], Any]:
    """Put it on the list."""
    FAILURES.append(function)
    return function


# --- this project's own ways to services


def _write(reply: Callable[[Any], None] | None, base_url: str = f"{DEAD}/v1", **keys: str) -> None:
    import openai_server

    from models.language import chat
    from models.records import Story
    from models.secrets.keys import Keys
    from models.settings import StoryboardOptions

    with openai_server.serving(reply or openai_server.failure(500)) as server:
        url = server.base_url.replace("//", f"//{CREDENTIALS}@") if reply else base_url
        given = {"openai_api_key": KEY, "openai_base_url": url, **keys}
        options = StoryboardOptions.model_validate({"profile": "sdxl", "frames": 1})
        chat.write(
            Story(text="Aldar lends a coat."), options, options.get_profile(), Keys.model_validate(given), timeout_s=5
        )


@failing
def a_library_that_shows_its_files_of_keys() -> None:
    files = [Path(os.environ[name]) for name in ("AWS_SHARED_CREDENTIALS_FILE", "HF_TOKEN_PATH")]
    raise RuntimeError(" ".join(file.read_text("utf-8") for file in files))


@failing
def a_writer_that_refuses_the_key() -> None:
    import openai_server

    _write(openai_server.failure(401, f"Incorrect API key provided: {KEY}"))


@failing
def a_busy_writer() -> None:
    import openai_server

    _write(openai_server.failure(429, f"slow down, {KEY!r}"))


@failing
def a_writer_that_breaks_down() -> None:
    import openai_server

    _write(openai_server.failure(500, json.dumps({"headers": {"Authorization": f"Bearer {KEY}"}})))


@failing
def a_writer_that_refuses_the_story() -> None:
    import openai_server

    _write(openai_server.completion(None, refusal=f"Not with {KEY}"))


@failing
def a_writer_that_answers_nonsense() -> None:
    import openai_server

    _write(openai_server.completion(f"{KEY} " * 3))


@failing
def a_writer_that_sends_a_page() -> None:
    import openai_server

    _write(openai_server.raw(f"<html>{KEY}</html>".encode(), "text/html"))


@failing
def a_writer_out_of_reach() -> None:
    _write(None)


@failing
def a_writer_without_a_scheme() -> None:
    _write(None, f"{CREDENTIALS}@127.0.0.1:9/v1")


@failing
def a_writer_at_a_wrong_port() -> None:
    _write(None, f"http://{CREDENTIALS}@127.0.0.1:99999/v1")


@failing
def a_key_that_cannot_be_sent() -> None:
    _write(None, openai_api_key=f"{KEY}\n{KEY}")


def _fetch(endpoint: str, **keys: str) -> None:
    from models.s3.adapters import fetch_adapter
    from models.secrets.keys import Keys

    given = {**keys, "aws_endpoint_url": endpoint}
    fetch_adapter("s3://steppe/aldar", cache_dir=Path("cache"), keys=Keys.model_validate(given))


@failing
def a_bucket_out_of_reach() -> None:
    _fetch(DEAD)


@failing
def an_endpoint_that_is_no_address() -> None:
    _fetch(f"{CREDENTIALS}@127.0.0.1")


@failing
def an_aws_key_that_cannot_be_sent() -> None:
    _fetch(DEAD, aws_secret_access_key=f"{AWS}\x07{AWS}")


@failing
def an_address_that_is_no_lora() -> None:
    from models.s3.adapters import fetch_adapter
    from models.secrets.keys import Keys

    fetch_adapter(f"https://{CREDENTIALS}@studio.example/aldar", cache_dir=Path("cache"), keys=Keys())


@failing
def an_own_error() -> None:
    from models.errors import ChecksFailed

    raise ChecksFailed([f"no {KEY}", f"no {AWS}"])


# --- what libraries and programming errors say


@failing
def a_header_that_cannot_be_sent() -> None:
    import httpx

    httpx.get("http://127.0.0.1:9", headers={"Authorization": f"Bearer {KEY}\n"}, trust_env=False)


@failing
def a_header_of_the_standard_library() -> None:
    http.client.HTTPConnection("127.0.0.1", 9).putheader("Authorization", f"Bearer {KEY}\n")


@failing
def an_address_of_httpx() -> None:
    import httpx

    httpx.get(f"http://{CREDENTIALS}@[steppe")


@failing
def an_answer_of_httpx() -> None:
    import httpx

    httpx.Response(404, request=httpx.Request("GET", f"{DEAD}/?key={KEY}")).raise_for_status()


@failing
def an_address_of_urllib() -> None:
    urllib.request.urlopen(f"http://{CREDENTIALS}@127.0.0.1:port")


@failing
def an_endpoint_of_boto3() -> None:
    import boto3

    boto3.client("s3", endpoint_url=f"{CREDENTIALS}@127.0.0.1", region_name="us-east-1")


@failing
def a_validation() -> None:
    from pydantic import TypeAdapter

    TypeAdapter(int).validate_python(KEY)


@failing
def a_number() -> None:
    int(KEY)


@failing
def a_missing_name() -> None:
    os.environ[AWS]


@failing
def a_missing_file() -> None:
    Path("/none", KEY).read_text()


@failing
def an_encoding() -> None:
    f"{KEY}€".encode("ascii")


@failing
def a_command() -> None:
    subprocess.run([sys.executable, "-c", "raise SystemExit(3)", "--key", KEY], check=True)


@failing
def a_chain() -> None:
    try:
        raise KeyError(KEY)
    except KeyError:
        raise RuntimeError("no coat") from ValueError(AWS)


@failing
def a_group() -> None:
    raise ExceptionGroup("two", [ValueError(KEY), OSError(13, "denied", AWS)])


@failing
def a_note() -> None:
    error = ValueError("no coat")
    error.add_note(f"of {KEY}")
    raise error


@failing
def the_environment() -> None:
    raise AssertionError(dict(os.environ))


@failing
def base64_of_it() -> None:
    raise ValueError(base64.b64encode(f"user:{AWS}".encode()).decode())


@failing
def an_address_with_it() -> None:
    raise ValueError(f"https://studio.example/?token={urllib.parse.quote_plus(AWS)}")


@failing
def a_state() -> Any:
    from prefect.states import Failed

    return Failed(message=f"given by hand: {KEY}")
