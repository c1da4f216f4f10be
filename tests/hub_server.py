"""A real HTTP server on 127.0.0.1 that speaks the Hugging Face hub's protocol: SDXL's file names, tiny weights."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "462165984030d82259a11f4367a4eed129e94a7b"
OTHER_COMMIT = "0" * 39 + "1"
NAMED = {"main": COMMIT, COMMIT: COMMIT, "v2": OTHER_COMMIT, OTHER_COMMIT: OTHER_COMMIT}
"""Branches, tags and commits of every repository."""

BESIDE = (
    ".gitattributes",
    "README.md",
    "sd_xl_base_1.0.safetensors",
    "sd_xl_base_1.0_0.9vae.safetensors",
    "sd_xl_offset_example-lora_1.0.safetensors",
    "text_encoder/flax_model.msgpack",
    "text_encoder/model.onnx",
    "text_encoder/openvino_model.bin",
    "text_encoder/openvino_model.xml",
    "unet/model.onnx_data",
    "vae_1_0/config.json",
    "vae_1_0/diffusion_pytorch_model.safetensors",
    "vae_decoder/config.json",
)
"""What else lies in SDXL's repository, and nobody here reads."""


@dataclass
class Hub:
    """What the server has, how it refuses, and what it was asked for."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refusal: tuple[int, str, str] | None = None
    """Status, X-Error-Code and X-Error-Message that answer everything."""
    requests: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def downloads(self) -> set[str]:
        """Files that were downloaded."""
        return {
            line.split("/resolve/")[1].partition("/")[2]
            for line in self.requests
            if line.startswith("GET") and "/resolve/" in line
        }


def sdxl_files(folder: Path, *, variants: tuple[str | None, ...] = ("fp16", None)) -> dict[str, bytes]:
    """The base in `folder` under the names of SDXL's repository, its weights once a variant."""
    files = dict.fromkeys(BESIDE, b"not for you")
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name.startswith(("controlnet", "clip")):
            continue
        for variant in variants if path.suffix == ".safetensors" else (None,):
            stem, suffix = name.rsplit(".", 1)
            files[f"{stem}.{variant}.{suffix}" if variant else name] = path.read_bytes()
    return files


def _oid(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def _answer(self, *, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            hub.requests.append(f"{self.command} {path}")
            status, headers, body = hub_answer(hub, path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    return Handler


def hub_answer(hub: Hub, path: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body."""
    if hub.refusal is not None:
        return _refused(*hub.refusal)
    api = path.startswith("api/models/")
    pieces = path.removeprefix("api/models/").split("/")
    files = hub.repositories.get("/".join(pieces[:2]))
    if files is None:
        return _refused(401, "RepoNotFound", "Invalid username or password.")  # what it says to strangers
    commit = NAMED.get(pieces[3] if len(pieces) > 3 else "main")
    if commit is None:
        return _refused(404, "RevisionNotFound", "Invalid rev id")
    if not api:
        name = "/".join(pieces[4:])
        if name not in files:
            return _refused(404, "EntryNotFound", "Entry not found")
        return 200, {"ETag": f'"{_oid(files[name])}"', "X-Repo-Commit": commit}, files[name]
    listed = [{"type": "file", "path": name, "size": len(data), "oid": _oid(data)} for name, data in files.items()]
    siblings = [{"rfilename": name} for name in files]
    told: Any = listed if pieces[2:3] == ["tree"] else {"id": "/".join(pieces[:2]), "sha": commit, "siblings": siblings}
    return 200, {"Content-Type": "application/json"}, json.dumps(told).encode()


def _refused(status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
    return status, {**headers, "Content-Type": "application/json"}, json.dumps({"error": message}).encode()


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub without repositories."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
