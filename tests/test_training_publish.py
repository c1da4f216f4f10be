"""A published character: what its folder holds, that it is read back, and that an older one stays until it is whole."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import s3_server
import tiny_loras
import tiny_models
from PIL import Image
from s3_server import S3Server
from safetensors import safe_open
from tiny_loras import PARTS, Tensors
from tiny_publication import character, halved, save_checkpoint, told

from models.diffusion.adapters import fuse_adapters
from models.errors import InputError, ObjectNotFound, StorageError, StoryboardError, WeightsInvalid
from models.lora.publishing.character import Character
from models.lora.publishing.publish import (
    assemble,
    character_of,
    find_publish_problems,
    publish,
    publish_to_folder,
)
from models.lora.records import Checkpoint
from models.profiles import Profile
from models.records import Adapter
from models.s3.adapters import fetch_adapter
from models.storage.files import fingerprint, list_names, sha256_of
from models.storage.manifests import Manifest

tiny_world = tiny_models.tiny_world
base, lora, parts = tiny_loras.base, tiny_loras.lora, tiny_loras.parts
running_server, server = s3_server.running_server, s3_server.server

PIECES = [
    f"{folder}/{name}"
    for folder in ("text_encoder_one_lora", "text_encoder_two_lora", "unet_lora")
    for name in ("adapter_config.json", "adapter_model.safetensors")
]
FILES = ["README.md", "aldar.safetensors", "pytorch_lora_weights.safetensors", "samples.jpg", *PIECES]


@pytest.fixture
def checkpoint(lora: Tensors, tmp_path: Path) -> Checkpoint:
    return save_checkpoint(tmp_path / "checkpoint-300", lora)


@pytest.fixture
def aldar(checkpoint: Checkpoint, tmp_path: Path) -> Character:
    return character(tmp_path, checkpoint)


@pytest.fixture
def better(lora: Tensors, tmp_path: Path) -> Character:
    """The same character from another checkpoint."""
    return character(tmp_path, save_checkpoint(tmp_path / "checkpoint-600", halved(lora)), card="# Better\n")


def use(source: str, server: S3Server, cache: Path) -> Adapter:
    return fetch_adapter(source, cache_dir=cache, keys=server.keys)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in list_names(folder)}


def test_a_published_folder_is_a_lora_with_all_that_is_told_of_it(
    server: S3Server, aldar: Character, tmp_path: Path
) -> None:
    published = publish(aldar, str(tmp_path / "published"), keys=server.keys)
    folder = tmp_path / "published" / "aldar"
    assert sorted(published.files) == sorted([*FILES, "manifest.json"]) == sorted(list_names(folder))
    assert published.files[-1] == "manifest.json"
    promised = Manifest.model_validate_json((folder / "manifest.json").read_bytes()).files
    assert {name: (entry.sha256, entry.size) for name, entry in promised.items()} == {
        name: (sha256_of(folder / name), (folder / name).stat().st_size) for name in FILES
    }
    found = use(published.location, server, tmp_path)
    assert found == Adapter(path=str(folder), fingerprint=published.fingerprint, source=str(folder))
    assert sorted(path.name for path in folder.parent.iterdir()) == [".aldar.lock", "aldar"]


def test_published_to_s3_it_is_fetched_and_acts_as_the_checkpoint(
    server: S3Server, aldar: Character, parts: dict[str, Any], base: Any, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    address = f"s3://{server.make_bucket()}/characters/"
    published = publish(aldar, address, keys=server.keys, progress=lambda done, total: seen.append((done, total)))
    assert published.location == f"{address}aldar"
    assert seen[-1][0] == seen[-1][1] > sum((Path(aldar.checkpoint.path) / name).stat().st_size for name in PIECES)
    found = use(published.location, server, tmp_path / "cache")
    assert list_names(Path(found.path)) == PIECES
    fuse_adapters([found], parts)
    others = {part: copy.deepcopy(getattr(base, part)) for part in PARTS}
    fuse_adapters([tiny_loras.adapter(Path(aldar.checkpoint.path))], others)
    tiny_loras.assert_same(tiny_loras.weights(parts), tiny_loras.weights(others))


def test_a_training_publishes_what_it_chose(
    server: S3Server, tiny_world: Profile, lora: Tensors, tmp_path: Path
) -> None:
    options, training_set, comparison = told(
        tmp_path / "grid.png",
        profile=tiny_world.name,
        publish_to=str(tmp_path / "published"),
        name=None,
        trigger="Алдар",
    )
    comparison = comparison.model_copy(update={"chosen": save_checkpoint(tmp_path / "checkpoint-300", lora)})
    Image.new("RGB", (8, 8)).save(comparison.grid)
    published = publish(character_of(options, training_set, comparison), options.publish_to, keys=server.keys)
    folder = tmp_path / "published" / "Алдар"
    assert published.location == str(folder)
    assert {"Алдар.safetensors", "samples.png"} <= set(published.files)
    assert "# Алдар" in (folder / "README.md").read_text("utf-8")
    with safe_open(folder / "Алдар.safetensors", "pt") as opened:
        assert opened.metadata()["modelspec.trigger_phrase"] == "Алдар"
    again = publish(character_of(options, training_set, comparison), options.publish_to, keys=server.keys)
    assert again == published


def test_publishing_again_sends_nothing(server: S3Server, aldar: Character) -> None:
    address = f"s3://{server.make_bucket()}/characters"
    first = publish(aldar, address, keys=server.keys)
    server.requests.clear()
    assert publish(aldar, address, keys=server.keys) == first
    assert {request.partition(" ")[0] for request in server.requests} == {"HEAD"}


def test_a_newer_publication_takes_the_place_of_an_older_one(
    server: S3Server, aldar: Character, better: Character, tmp_path: Path
) -> None:
    first = publish(aldar, str(tmp_path / "published"), keys=server.keys)
    with pytest.raises(
        InputError, match=r"published/aldar: an earlier publication is there; choose another --name, or"
    ):
        publish(better, str(tmp_path / "published"), keys=server.keys)
    assert publish(aldar, str(tmp_path / "published"), keys=server.keys) == first
    second = publish(better, str(tmp_path / "published"), keys=server.keys, replace=True)
    assert second.location == first.location
    assert second.fingerprint == fingerprint(Path(second.location)) != first.fingerprint
    assert (Path(second.location) / "README.md").read_text() == "# Better\n"
    assert sorted(path.name for path in Path(second.location).parent.iterdir()) == [".aldar.lock", "aldar"]


def break_checkpoint(better: Character) -> type[StoryboardError]:
    file = Path(better.checkpoint.path) / "unet_lora" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    return WeightsInvalid


def lose_samples(better: Character) -> type[StoryboardError]:
    """What is copied last."""
    better.samples.unlink()
    return ObjectNotFound


def lose_a_folder(better: Character) -> type[StoryboardError]:
    shutil.rmtree(Path(better.checkpoint.path) / "text_encoder_two_lora")
    return WeightsInvalid


@pytest.mark.parametrize("harm", [break_checkpoint, lose_samples, lose_a_folder])
def test_the_older_publication_stays_where_the_new_one_fails(
    harm: Callable[[Character], type[StoryboardError]],
    server: S3Server,
    aldar: Character,
    better: Character,
    tmp_path: Path,
) -> None:
    location = Path(publish(aldar, str(tmp_path / "published"), keys=server.keys).location)
    before = bytes_of(location)
    expected = harm(better)
    with pytest.raises(expected):
        publish(better, str(tmp_path / "published"), keys=server.keys, replace=True)
    assert bytes_of(location) == before
    assert sorted(path.name for path in location.parent.iterdir()) == [".aldar.lock", "aldar"]


def test_the_older_publication_comes_back_where_the_rename_fails(
    aldar: Character, better: Character, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "published" / "aldar"
    publish_to_folder(aldar, target)
    before, rename = bytes_of(target), Path.rename

    def refuse_the_new(path: Path, other: Path) -> Path:
        if path.name.endswith(".new"):
            raise PermissionError(13, "Permission denied")
        return rename(path, other)

    monkeypatch.setattr(Path, "rename", refuse_the_new)
    with pytest.raises(StorageError, match="permission denied"):
        publish_to_folder(better, target, replace=True)
    assert bytes_of(target) == before


def test_whoever_was_killed_between_the_renames_is_put_right(
    aldar: Character, better: Character, tmp_path: Path
) -> None:
    target = tmp_path / "published" / "aldar"
    publish_to_folder(aldar, target)
    before = bytes_of(target)
    target.rename(target.with_name(".aldar.old"))
    (target.with_name(".aldar.new") / "half").mkdir(parents=True)
    lose_samples(better)
    with pytest.raises(ObjectNotFound):
        publish_to_folder(better, target)
    assert bytes_of(target) == before
    assert sorted(path.name for path in target.parent.iterdir()) == [".aldar.lock", "aldar"]


@pytest.mark.parametrize("name", ["diary.txt", ".git/config", "unet_lora/notes.txt"])
def test_a_folder_that_holds_other_things_is_never_replaced(
    name: str, server: S3Server, aldar: Character, tmp_path: Path
) -> None:
    kept = tmp_path / "published" / "aldar" / name
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    with pytest.raises(InputError, match="which no publication wrote; choose another name"):
        publish(aldar, str(tmp_path / "published"), keys=server.keys)
    assert kept.read_text() == "mine"
    assert any(name in line for line in find_publish_problems(str(tmp_path / "published"), server.keys, "aldar"))
    shutil.rmtree(tmp_path / "published" / "aldar")
    (tmp_path / "published" / "aldar").write_text("mine")
    with pytest.raises(InputError, match="a file of that name"):
        publish(aldar, str(tmp_path / "published"), keys=server.keys)


@pytest.mark.parametrize("name", ["pytorch_lora_weights", "a/b", "../aldar", ".aldar", "a\\b", "a\nb"])
def test_names_that_can_not_be_files_are_refused(
    name: str, server: S3Server, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="name: "):
        assemble(character(tmp_path, checkpoint, name=name), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert list(find_publish_problems(str(tmp_path / "published"), server.keys, name))


def test_only_a_picture_is_published_as_one(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"grid\.txt is no picture"):
        assemble(character(tmp_path, checkpoint, samples=tmp_path / "grid.txt"), tmp_path / "out")


def test_publish_problems_are_found_before_a_training(server: S3Server, aldar: Character, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a")
    absent = s3_server.make_keys(aws_endpoint_url=server.url)
    cases = {
        ("s3://s/aldar", server.keys): "expected s3://bucket/prefix",
        ("s3:steppe", server.keys): "expected s3://bucket/prefix",
        ("s3://steppe/aldar", absent): "no AWS credentials found",
        ("gs://steppe/aldar", server.keys): "gs://… is no place to publish to",
        ("https://user:secret@example.org/a", server.keys): "https://… is no place to publish to",
        (str(tmp_path / "file" / "below"), server.keys): "directory writable?",
    }
    for (publish_to, keys), words in cases.items():
        problems = list(find_publish_problems(publish_to, keys))
        assert len(problems) == 1, publish_to
        assert words in problems[0]
        assert "secret" not in problems[0]
    for publish_to in ("s3://steppe", "s3://steppe/aldar/", str(tmp_path / "published")):
        assert not list(find_publish_problems(publish_to, server.keys, "aldar"))
    with pytest.raises(InputError, match=r"gs://… is no place"):
        publish(aldar, "gs://a/b", keys=server.keys)
    assert not server.requests
