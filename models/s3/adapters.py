"""A LoRA onto this machine, from S3 or from local disk."""

from __future__ import annotations

from pathlib import Path

from models.progress import ByteProgress
from models.records import Adapter
from models.secrets.keys import Keys
from models.storage.adapters import adapter_files, is_s3, local_path, locate_adapter
from models.storage.files import fingerprint


def fetch_adapter(source: str, *, cache_dir: Path, keys: Keys, progress: ByteProgress | None = None) -> Adapter:
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
        from models.s3 import download  # boto3 takes a moment to import, and local weights do without

        root = download.fetch(source, cache_dir=cache_dir, keys=keys, choose=adapter_files, progress=progress)
    else:
        root = local_path(source)
    path = locate_adapter(root)
    return Adapter(path=str(path), fingerprint=fingerprint(path), source=source)
