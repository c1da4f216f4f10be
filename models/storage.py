"""Where weights live, and how files are written: checksums, atomic writes, and the character LoRA on local disk.

A LoRA is named as `s3://bucket/prefix`, as a folder or as one .safetensors file. What is local is used in place;
`models/s3.py` brings the rest into a cache folder. Either way the same layouts are accepted:

    unet_lora/  text_encoder_one_lora/  text_encoder_two_lora/     adapter_config.json and adapter_model.safetensors
                                                                   (or adapter_model.bin) in each
    adapter_config.json, adapter_model.safetensors                 a PEFT adapter of the UNet alone
    pytorch_lora_weights.safetensors                               or whatever the only .safetensors file is called
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from models.errors import InputError, ObjectNotFound, StorageError, WeightsInvalid
from models.keys import Keys
from models.records import Adapter
from models.sums import SUMS, recorded_sha256, sha256_once

ADAPTER_FOLDERS = ("unet_lora", "text_encoder_one_lora", "text_encoder_two_lora")
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
SINGLE_FILE = "pytorch_lora_weights.safetensors"
EXPECTED = (
    f"the folders {', '.join(ADAPTER_FOLDERS)} with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS[0]} in each, or {SINGLE_FILE}"
)
MAX_HEADER = 100 * 2**20
"""The safetensors format's own limit on its header, in bytes."""

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes there will be."""


def sha256_of(path: Path) -> str:
    """The file's sha256 in hexadecimal.

    Raises:
        ObjectNotFound, StorageError: there is no such file, or it can't be read.
    """
    with local_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path) -> str:
    """sha256 over names and contents of a folder's files, or the sha256 of one file.

    Names that begin with a dot do not count: they are bookkeeping (ours, the file manager's), not weights.

    Raises:
        ObjectNotFound, StorageError: there is no such path, the folder holds no files, or one can't be read.
    """
    names = list_names(path) if path.is_dir() else []
    if path.is_dir() and not names:
        raise ObjectNotFound(f"{path}: the folder holds no files")
    with local_errors(path):
        if not path.is_dir():
            return sha256_once(path)
        parts = (f"{len(name.encode())}:{name}{sha256_once(path / name)}" for name in names)
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def list_names(folder: Path) -> list[str]:
    """Names of all files below the folder, relative to it and with forward slashes, without hidden ones, sorted."""
    with local_errors(folder):
        names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


def write_atomically(path: Path, data: bytes) -> None:
    """Write the file so that whoever looks sees the old bytes or the new ones, never half of them.

    Raises:
        StorageError: no space, or no permission; the old file is as it was.
    """
    with _replacing(path) as file:
        file.write(data)


def copy_atomically(source: Path, target: Path) -> None:
    """Copy the file's bytes as `write_atomically` writes them.

    Raises:
        ObjectNotFound, StorageError: there is no source, no space, or no permission.
    """
    with local_errors(source), source.open("rb") as original, _replacing(target) as file:
        shutil.copyfileobj(original, file, length=2**20)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    # The name has nothing of the target's in it, so that a long name does not become too long.
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with local_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                yield file
                flush_to_disk(file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def flush_to_disk(file: BinaryIO) -> None:
    """Make sure that the bytes are on the disk before a rename makes them visible."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def local_errors(path: Path) -> Iterator[None]:
    """Turn an OSError about the path into one line that names it and the way out.

    Raises:
        ObjectNotFound: there is no such file.
        StorageError: everything else.
    """
    try:
        yield
    except FileNotFoundError:
        raise ObjectNotFound(f"{path}: no such file or folder") from None
    except OSError as error:
        raise StorageError(f"{path}: {_way_out(error)}") from error


def _way_out(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "no space left to write it; free some disk, or choose a folder on another one"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "permission denied; check the owner and the mode of the folder, or choose another one"
    return (error.strerror or type(error).__name__).lower()


def fetch_adapter(source: str, *, cache_dir: Path, keys: Keys, progress: Progress | None = None) -> Adapter:
    """The character LoRA as files on this machine.

    Args:
        source: `s3://bucket/prefix`, a folder, or a .safetensors file; a local one is used in place.
        cache_dir: where what comes from S3 is kept; it is not fetched again while unchanged.
        keys: credentials and endpoint; where they are unset, boto3's own chain finds them.
        progress: called while bytes arrive, from several threads but never from two at once.

    Raises:
        InputError: the source is no such name.
        ObjectNotFound: nothing is there, or a piece is missing.
        WeightsInvalid: a file is broken, or the source is ambiguous.
        StorageError: the download failed; its subclasses say how.
    """
    if is_s3(source):
        from models import s3  # boto3 takes a moment to import, and local weights do without

        root = s3.fetch(source, cache_dir=cache_dir, keys=keys, choose=adapter_files, progress=progress)
    else:
        root = local_path(source)
    path = locate_adapter(root)
    return Adapter(path=str(path), fingerprint=fingerprint(path), source=source)


def is_s3(source: str) -> bool:
    """Whether it is an address in S3, or was meant to be."""
    return source.lstrip().startswith("s3:")


def local_path(source: str) -> Path:
    """The absolute path of a LoRA that is named by a path.

    Raises:
        InputError: it is an address of another kind.
    """
    scheme, separator, _ = source.partition("://")
    if separator:
        raise InputError(
            f"{scheme}://… is no source of a LoRA; valid: s3://bucket/prefix, a folder, a .safetensors file"
        )
    return Path(source).expanduser().absolute()


def locate_adapter(root: Path) -> Path:
    """The LoRA at this path, checked: the folder of three adapter folders, or the single file.

    Raises:
        ObjectNotFound: nothing is there, or a piece is missing.
        WeightsInvalid: a file is broken, or there are several to choose from.
    """
    if root.is_file():
        if root.suffix.lower() != ".safetensors":
            raise WeightsInvalid(f"{root}: a single LoRA file must be .safetensors; expected {EXPECTED}")
        check_file(root)
        return root
    if not root.is_dir():
        raise ObjectNotFound(f"{root}: no such file or folder; expected {EXPECTED}")
    names = adapter_files(list_names(root), str(root))
    for name in names:
        check_file(root / name)
    return root / names[0] if len(names) == 1 else root


def adapter_files(names: Iterable[str], where: str) -> tuple[str, ...]:
    """Those of the names that make up the LoRA.

    Raises:
        ObjectNotFound: there is none, or a piece is missing; the message says what is expected.
        WeightsInvalid: several single files, none of which is called as the one that diffusers writes.
    """
    present = set(names)
    if any(name.split("/")[0] in ADAPTER_FOLDERS for name in present):
        return _three_folders(present, where)
    singles = sorted(name for name in present if re.fullmatch(r"[^/.][^/]*\.safetensors", name, re.IGNORECASE))
    if SINGLE_FILE in singles:
        return (SINGLE_FILE,)
    if ADAPTER_CONFIG in present and (weights := [name for name in ADAPTER_WEIGHTS if name in present]):
        return (ADAPTER_CONFIG, weights[0])
    if not singles:
        pickles = [name for name in sorted(present) if re.fullmatch(r"[^/]+\.(pt|pth|ckpt|bin)", name, re.IGNORECASE)]
        found = f" ({pickles[0]} is a pickle: save it as .safetensors)" if pickles else _below(present)
        raise ObjectNotFound(f"{where}: no LoRA here{found}; expected {EXPECTED}")
    if len(singles) > 1:
        raise WeightsInvalid(f"{where}: several LoRA files ({', '.join(singles)}); name one of them")
    return (singles[0],)


def _below(present: Iterable[str], most: int = 8) -> str:
    """Which subfolders hold a LoRA, such as a training's checkpoints, as a part of a message; empty where none does."""
    parts = [name.split("/") for name in present]
    pieces = {"/".join(path[:-2]) for path in parts if len(path) > 2 and path[-2] in ADAPTER_FOLDERS}
    singles = {"/".join(path[:-1]) for path in parts if len(path) > 1 and path[-1].endswith(".safetensors")}
    found = sorted(
        pieces or singles, key=lambda name: [int(part) if part.isdigit() else 0 for part in re.split(r"(\d+)", name)]
    )
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f" itself, but in its folders {', '.join(found[:most])}{more}; name one of them" if found else ""


def _three_folders(present: set[str], where: str) -> tuple[str, ...]:
    chosen: list[str] = []
    missing: list[str] = []
    for folder in ADAPTER_FOLDERS:
        alternatives = [f"{folder}/{name}" for name in ADAPTER_WEIGHTS]
        weights = next((name for name in alternatives if name in present), alternatives[0])
        for name in (f"{folder}/{ADAPTER_CONFIG}", weights):
            (chosen if name in present else missing).append(name)
    if missing:
        raise ObjectNotFound(f"{where}: missing {', '.join(missing)}; expected {EXPECTED}")
    return tuple(chosen)


def check_file(path: Path) -> None:
    """Refuse a file that can't be what its name says: an empty or changed one, a Git LFS pointer, a page of text.

    Raises:
        WeightsInvalid: names the file; also where its bytes are not those that its folder records.
        StorageError: it can't be read.
    """
    with local_errors(path), path.open("rb") as file:
        size = path.stat().st_size
        if size == 0:
            raise WeightsInvalid(f"{path}: the file is empty")
        if path.suffix.lower() == ".safetensors":
            _check_safetensors(file, size, path)
            recorded = recorded_sha256(path)
            if recorded is not None and recorded != sha256_once(path):
                raise WeightsInvalid(f"{path}: its bytes are not those that {SUMS} records")
        if path.suffix == ".json":
            _parse_json(file.read(), path)


def _check_safetensors(file: BinaryIO, size: int, path: Path) -> None:
    # The format: eight bytes with the header's length, the header as JSON, then the tensors up to the last offset.
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= min(size - 8, MAX_HEADER):
        raise WeightsInvalid(f"{path}: not a safetensors file; was it fetched by Git LFS?")
    header = _parse_json(file.read(length), path)
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    try:
        end = max((int(entry["data_offsets"][1]) for entry in tensors), default=0)
    except (KeyError, IndexError, TypeError, ValueError):
        raise WeightsInvalid(f"{path}: its safetensors header names no offsets") from None
    if 8 + length + end != size:
        raise WeightsInvalid(f"{path}: {size} bytes long where its header promises {8 + length + end}")


def _parse_json(data: bytes, path: Path) -> dict[str, dict[str, list[int]]]:
    try:
        parsed = json.loads(data)
    except ValueError:
        raise WeightsInvalid(f"{path}: holds no readable JSON where there must be some") from None
    if not isinstance(parsed, dict):
        raise WeightsInvalid(f"{path}: its JSON is no object")
    return parsed
