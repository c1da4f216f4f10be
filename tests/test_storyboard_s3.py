"""A LoRA in S3: fetched once, judged before the writer is asked, asked for again where that may help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3_server
import tiny_loras
import torch
from answers import converse
from flow_runs import Stage
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from test_storyboard_failures import error_of, whole

import flows.storyboard
import tasks.review
from flows.edit_board import edit_board
from models.errors import AdapterMismatch, ConnectionFailed
from models.settings import StoryboardOptions
from tasks import weights


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[s3_server.S3Server]:
    s3_server.forget_aws(monkeypatch, tmp_path)
    with s3_server.S3Server().running() as server:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET_KEY)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


def test_a_lora_of_another_base_in_s3_is_refused_before_the_writer_is_asked(
    stage: Stage, bucket: s3_server.S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {"unet": {"conv_in.lora_A.weight": torch.zeros(4, 99), "conv_in.lora_B.weight": torch.zeros(8, 4)}}
    file = tiny_loras.save_kohya(tmp_path / "lora.safetensors", {**whole(), **wide})
    name = bucket.make_bucket()
    bucket.put(name, "aldar", {"aldar.safetensors": file.read_bytes()})
    monkeypatch.setattr(flows.storyboard, "write_scenes", pytest.fail)
    for review in ("none", "scenes"):
        error = error_of(stage.run(lora_path=f"s3://{name}/aldar", review=review))
        assert isinstance(error, AdapterMismatch)
        assert "this base's weight is [8, 4, 3, 3]" in str(error)


def test_a_lora_comes_from_s3_once_and_changes_the_pictures(
    stage: Stage, bucket: s3_server.S3Server, tmp_path: Path
) -> None:
    folder = tiny_loras.save_checkpoint(tmp_path / "lora", whole())
    name = bucket.make_bucket()
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    bucket.put(name, "aldar", files)
    plain = stage.run(frames=1)
    ran = stage.run(frames=1, lora_path=f"s3://{name}/aldar")
    assert sorted(set(bucket.gets())) == sorted(f"aldar/{file}" for file in files)
    assert ran.report.weights.adapter is not None
    assert ran.painted == [1]
    assert (ran.pixels != plain.pixels).any()
    bucket.reset()
    again = stage.run(frames=1, lora_path=f"s3://{name}/aldar", refresh=True)
    assert bucket.gets() == []
    assert again.pictures == ran.pictures


def test_an_edited_board_of_a_lora_in_s3_is_reviewed(
    stage: Stage, bucket: s3_server.S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.review, "POLL_SECONDS", 0.05)
    name = bucket.make_bucket()
    file = tiny_loras.save_kohya(tmp_path / "lora.safetensors", whole())
    bucket.put(name, "aldar", {"aldar.safetensors": file.read_bytes()})
    before = stage.run(lora_path=f"s3://{name}/aldar")
    scenes = before.board / "scene_breakdown.json"
    parts = json.loads(scenes.read_text("utf-8"))
    parts["scenes"][1]["action"] = "is sleeping"
    scenes.write_text(json.dumps(parts), "utf-8")

    def edit() -> State[Any]:
        return edit_board(str(before.board), StoryboardOptions(review="frames"), return_state=True)

    with get_client(sync_client=True) as client:
        after = converse(edit, stage.output, client, lambda _: {"redo": [{"frame": 2, "seed": 777}]}, lambda _: {})
    assert after.painted == [0, 1, 0]
    assert [frame.seed for frame in after.report.frames] == [42, 777, 3042]
    assert after.report.weights == before.report.weights
    assert after.report.weights.adapter is not None
    assert [after.pictures[n] == before.pictures[n] for n in range(3)] == [True, False, True]


def test_an_endpoint_out_of_reach_is_tried_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def fetch_adapter(source: str, **_: Any) -> None:
        calls.append(source)
        raise ConnectionFailed("out of reach")

    monkeypatch.setattr(weights, "fetch_adapter", fetch_adapter)
    monkeypatch.setattr(flows.storyboard, "fetch_weights", weights.fetch_weights.with_options(retry_delay_seconds=0))
    file = tiny_loras.save_kohya(stage.output.parent / "lora.safetensors", whole())
    error = error_of(stage.run(lora_path=str(file)))
    assert "out of reach" in str(error)
    assert len(calls) == 4
