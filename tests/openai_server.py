"""A real HTTP server on 127.0.0.1 that speaks the chat-completions API, and can misbehave in scripted ways."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["Handler"], None]
"""Answers one request."""


@dataclass
class Script:
    """What the server will answer, one reply a request (the last one again and again), and what it has seen."""

    replies: list[Reply]
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    base_url: str = ""


class Handler(BaseHTTPRequestHandler):
    """One request, recorded and answered by the script."""

    script: Script

    def do_POST(self) -> None:
        """Record the request and answer it."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.script.requests.append(body)
        self.script.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.script.paths.append(self.path)
        index = min(len(self.script.requests), len(self.script.replies)) - 1
        self.script.replies[index](self)

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """A complete response."""
        self.send_response(status)
        for name, value in (
            {"content-type": "application/json", "content-length": str(len(body))} | dict(headers or {})
        ).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing on the test's output."""


def completion(content: str | None, *, refusal: str | None = None, finish_reason: str = "stop") -> Reply:
    """A well-formed completion with this message."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "tale-1", "choices": [choice]}
    return lambda handler: handler.send(200, json.dumps(body).encode())


def failure(
    status: int, message: str = "no", *, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """An error in the API's form."""
    body = json.dumps({"error": {"message": message, "type": "some_error", "param": None, "code": code}}).encode()
    return lambda handler: handler.send(status, body, headers)


def raw(body: bytes, content_type: str) -> Reply:
    """Status 200 with any body."""
    return lambda handler: handler.send(200, body, {"content-type": content_type})


def stall(handler: Handler) -> None:
    """Accepts the request and says nothing until the server closes."""
    handler.script.closing.wait(30)


def cut(handler: Handler) -> None:
    """Promises a long body and hangs up in the middle of it."""
    handler.send(200, b'{"id": "c1", "choices": [', {"content-length": "5000"})
    handler.close_connection = True


@contextmanager
def serving(*replies: Reply) -> Iterator[Script]:
    """A running server that answers with these replies in turn."""
    script = Script(list(replies))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Scripted", (Handler,), {"script": script}))
    server.daemon_threads = True
    script.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        script.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
