"""What may be published, and in whose place: nothing is lost unasked, and what failed is not published unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import s3_server
import tiny_loras
from s3_server import S3Server
from tiny_loras import Tensors
from tiny_publication import character, halved, save_checkpoint, told

from models.errors import InputError, TrainingError
from models.lora.publishing.character import Character
from models.lora.publishing.publish import find_earlier_publication, publish, publish_to_folder, refuse_failed
from models.s3.adapters import fetch_adapter
from models.storage.adapters import calibration_file

base, lora = tiny_loras.base, tiny_loras.lora
running_server, server = s3_server.running_server, s3_server.server


@pytest.fixture
def aldar(lora: Tensors, tmp_path: Path) -> Character:
    return character(tmp_path, save_checkpoint(tmp_path / "checkpoint-300", lora))


@pytest.fixture
def better(lora: Tensors, tmp_path: Path) -> Character:
    """The same character from another checkpoint."""
    return character(tmp_path, save_checkpoint(tmp_path / "checkpoint-600", halved(lora)), card="# Better\n")


def test_in_s3_too_an_earlier_publication_is_never_lost_unasked(
    server: S3Server, aldar: Character, better: Character
) -> None:
    place = f"s3://{server.make_bucket()}/characters"
    assert not list(find_earlier_publication(place, server.keys, "aldar"))
    first = publish(aldar, place, keys=server.keys)
    (problem,) = find_earlier_publication(place, server.keys, "aldar")
    assert problem.startswith(f"publishing: {place}/aldar: an earlier publication is there; choose another --name")
    server.requests.clear()
    with pytest.raises(
        InputError, match="an earlier publication is there; choose another --name, or let this one take"
    ):
        publish(better, place, keys=server.keys)
    assert {request.partition(" ")[0] for request in server.requests} == {"HEAD"}
    assert publish(aldar, place, keys=server.keys) == first
    assert publish(better, place, keys=server.keys, replace=True).fingerprint != first.fingerprint


def test_where_nobody_may_look_nothing_is_overwritten_unasked(server: S3Server, aldar: Character) -> None:
    place = f"s3://{server.make_bucket()}/characters"

    def no_looking(environ: dict[str, Any], start_response: Any) -> Any:
        return refused(environ, start_response) if environ["REQUEST_METHOD"] == "HEAD" else None

    refused, server.rule = s3_server.answer_error("AccessDenied", 403), no_looking
    try:
        with pytest.raises(InputError, match="may not check for an earlier publication; --replace writes anyway"):
            publish(aldar, place, keys=server.keys)
        publish(aldar, place, keys=server.keys, replace=True)
    finally:
        server.rule = None


def test_what_failed_the_comparison_is_published_only_where_that_is_asked_for(tmp_path: Path) -> None:
    options, _, comparison = told(tmp_path / "grid.png")
    refuse_failed(options, comparison)
    failed = comparison.model_copy(update={"chosen": comparison.rows[2].checkpoint, "reason": "variety 0.1"})
    with pytest.raises(
        TrainingError, match=r"^nothing is published: variety 0\.1\. It is kept in /out/checkpoint-300, and"
    ):
        refuse_failed(options, failed)
    refuse_failed(options.model_copy(update={"publish_anyway": True}), failed)


def test_a_calibration_stays_with_its_weights(aldar: Character, better: Character, tmp_path: Path) -> None:
    target = tmp_path / "characters" / "aldar"
    publish_to_folder(aldar, target)
    (target / "hero.json").write_text("{}")
    publish_to_folder(aldar, target)
    assert (target / "hero.json").read_text() == "{}"
    publish_to_folder(better, target, replace=True)
    assert not (target / "hero.json").exists()


def test_a_calibration_beside_a_lora_in_s3_comes_with_it_and_is_no_part_of_its_fingerprint(
    server: S3Server, aldar: Character, tmp_path: Path
) -> None:
    bucket = server.make_bucket()
    place = f"s3://{bucket}/characters"
    published = publish(aldar, place, keys=server.keys)
    before = fetch_adapter(published.location, cache_dir=tmp_path / "cache", keys=server.keys)
    assert not calibration_file(Path(before.path)).exists()
    server.put(bucket, "characters/aldar", {"hero.json": b"{}"})
    after = fetch_adapter(published.location, cache_dir=tmp_path / "cache", keys=server.keys)
    assert calibration_file(Path(after.path)).read_bytes() == b"{}"
    assert after.fingerprint == before.fingerprint
