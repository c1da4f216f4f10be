"""Local weights and atomic writes; what comes from S3 is in test_s3.py."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from s3_server import adapter, make_keys, tensors

from models.errors import InputError, ObjectNotFound, StorageError, StoryboardError, WeightsInvalid
from models.records import Adapter
from models.s3.adapters import fetch_adapter
from models.s3.checksums import etag_of, stored_checksum_of
from models.storage.files import copy_atomically, fingerprint, sha256_of, write_atomically


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def use(path: Path) -> Adapter:
    return fetch_adapter(str(path), cache_dir=path / "unused", keys=make_keys())


@pytest.mark.parametrize("weights", ["adapter_model.safetensors", "adapter_model.bin"])
def test_three_folders_are_used_in_place(tmp_path: Path, weights: str) -> None:
    folder = lay(tmp_path / "aldar", adapter(name=weights))
    found = use(folder)
    assert found == Adapter(path=str(folder), fingerprint=fingerprint(folder), source=str(folder))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aldar"]


def test_a_single_file_is_found_by_its_name_and_in_its_folder(tmp_path: Path) -> None:
    folder = lay(tmp_path / "aldar", {"coat.safetensors": tensors(), "README.md": b"# Coat"})
    file = folder / "coat.safetensors"
    assert use(file).path == use(folder).path == str(file)
    assert use(file).fingerprint == sha256_of(file)


def test_the_name_that_diffusers_writes_wins_over_others(tmp_path: Path) -> None:
    names = ["a.safetensors", "pytorch_lora_weights.safetensors"]
    folder = lay(tmp_path, {name: tensors() for name in names})
    assert use(folder).path.endswith(names[1])


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({}, ObjectNotFound, "no LoRA here; expected the folders unet_lora, text_encoder_one_lora"),
        ({"notes.txt": b"a"}, ObjectNotFound, "pytorch_lora_weights.safetensors"),
        ({"a.safetensors": b"", "b.safetensors": b""}, WeightsInvalid, "several LoRA files (a.safetensors, b.saf"),
        ({"a.safetensors": b""}, WeightsInvalid, "the file is empty"),
        ({"a.safetensors": b"version https://git-lfs.github.com/spec/v1\n"}, WeightsInvalid, "Git LFS"),
        ({"a.safetensors": tensors()[:-1]}, WeightsInvalid, "where its header promises"),
        ({"a.safetensors": tensors() + b"a"}, WeightsInvalid, "where its header promises"),
        ({"a.safetensors": b"\x02" + bytes(7) + b"[]"}, WeightsInvalid, "its JSON is no object"),
        ({"a.safetensors": b"\x08" + bytes(7) + b'{"a": 1}'}, WeightsInvalid, "names no offsets"),
        (
            {**adapter(), "unet_lora/adapter_config.json": b"{"},
            WeightsInvalid,
            "unet_lora/adapter_config.json: holds no",
        ),
    ],
)
def test_what_is_no_lora_is_refused_by_what_is_wrong(
    tmp_path: Path, files: dict[str, bytes], error: type[StoryboardError], words: str
) -> None:
    with pytest.raises(error) as caught:
        use(lay(tmp_path, files))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_piece_is_named(tmp_path: Path) -> None:
    files = adapter()
    del files["text_encoder_two_lora/adapter_model.safetensors"]
    with pytest.raises(ObjectNotFound, match=r"missing text_encoder_two_lora/adapter_model\.safetensors; expected"):
        use(lay(tmp_path, files))


def test_other_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="https://… is no source of a LoRA"):
        fetch_adapter("https://user:secret@example.org/a", cache_dir=tmp_path, keys=make_keys())
    with pytest.raises(WeightsInvalid, match=r"must be \.safetensors"):
        use(lay(tmp_path, {"coat.ckpt": b"a"}) / "coat.ckpt")
    with pytest.raises(ObjectNotFound, match="no such file or folder"):
        use(tmp_path / "nowhere")


def test_the_fingerprint_is_of_names_and_contents_without_bookkeeping(tmp_path: Path) -> None:
    folder = lay(tmp_path, {"a/b": b"1", "c": b"2"})
    first = fingerprint(folder)
    lay(folder, {".fetched.json": b"{}", ".cache/x": b"3", "a/.DS_Store": b"4"})
    assert fingerprint(folder) == first
    (folder / "c").rename(folder / "d")
    renamed = fingerprint(folder)
    lay(folder, {"d": b"5"})
    assert len({first, renamed, fingerprint(folder)}) == 3


def test_the_fingerprint_needs_something(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFound, match="holds no files"):
        fingerprint(tmp_path)
    with pytest.raises(ObjectNotFound, match="no such file"):
        fingerprint(tmp_path / "nowhere")


def test_writing_replaces_the_whole_file_and_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.json"
    write_atomically(path, b"old and long")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    copy_atomically(path, tmp_path / "copy.json")
    assert (tmp_path / "copy.json").read_bytes() == b"new"
    assert sorted(item.name for item in path.parent.iterdir()) == ["report.json"]


def test_a_written_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


LIMITED = """
import resource, sys
from pathlib import Path
from models.errors import StorageError
from models.storage.files import copy_atomically, write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder = Path(sys.argv[1])
for write in (
    lambda: write_atomically(folder / "board.png", bytes(5000)),
    lambda: copy_atomically(folder / "large.png", folder / "board.png"),
):
    try:
        write()
    except StorageError as error:
        print(error)
"""


def test_a_disk_with_no_room_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    lay(tmp_path, {"board.png": b"old", "large.png": bytes(5000)})
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True)
    line = f"{tmp_path}/board.png: no space left to write it; free some disk, or choose a folder on another one"
    assert done.stdout.splitlines() == [line, line]
    assert (tmp_path / "board.png").read_bytes() == b"old"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["board.png", "large.png"]


def test_a_folder_that_is_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    lay(tmp_path, {"outputs": b""})
    with pytest.raises(StorageError, match=r"outputs/report\.json: "):
        write_atomically(tmp_path / "outputs" / "report.json", json.dumps({}).encode())
    with pytest.raises(ObjectNotFound, match=r"absent\.png: no such file"):
        copy_atomically(tmp_path / "absent.png", tmp_path / "target.png")
    assert not (tmp_path / "target.png").exists()


@pytest.mark.parametrize(
    ("algorithm", "check"),
    [("CRC64NVME", "rosUhgp5mIg="), ("CRC32C", "4waSgw=="), ("CRC32", "y/Q5Jg==")],
)
def test_checksums_have_their_published_values(tmp_path: Path, algorithm: str, check: str) -> None:
    path = lay(tmp_path, {"digits": b"123456789"}) / "digits"
    assert stored_checksum_of(path, algorithm) == check


def test_checksums_by_parts_are_of_the_parts_checksums(tmp_path: Path) -> None:
    path = lay(tmp_path, {"digits": b"123456789"}) / "digits"
    assert etag_of(path) == "25f9e794323b453885f5181f1b624d0b"
    assert etag_of(path, (9,)) == f"{hashlib.md5(hashlib.md5(b'123456789').digest()).hexdigest()}-1"
    assert stored_checksum_of(path, "CRC32", (4, 5)).endswith("-2")
    assert etag_of(path, (4, 5)) != etag_of(path, (5, 4))
