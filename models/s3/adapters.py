"""Fetches a LoRA from S3 or local disk."""

from __future__ import annotations

from pathlib import Path

from models.progress import ByteProgress
from models.records import Adapter
from models.secrets.keys import Keys
from models.storage.adapters import is_s3, local_path, locate_adapter, with_calibration
from models.storage.files import fingerprint


def fetch_adapter(source: str, *, cache_dir: Path, keys: Keys, progress: ByteProgress | None = None) -> Adapter:
    """Return a LoRA as local files, downloaded if its source is in S3.

    Args:
        source: `s3://bucket/prefix`, a folder, or a .safetensors file; a local one is used in place.
        cache_dir: folder of downloads from S3; they are downloaded again only after they changed.
        keys: credentials and endpoint; unset ones are looked up by boto3's own chain.
        progress: called while bytes arrive, from several threads but never from two at once.

    Raises:
        InputError: the source is malformed.
        ObjectNotFound: there is no LoRA, or one of its files is missing.
        WeightsInvalid: a file is broken, or the source is ambiguous.
        StorageError: the download failed; the subclasses tell the cases apart.
    """
    if is_s3(source):
        from models.s3 import download  # here, because boto3 imports slowly and local weights do not need it

        root = download.fetch(source, cache_dir=cache_dir, keys=keys, choose=with_calibration, progress=progress)
    else:
        root = local_path(source)
    path = locate_adapter(root)
    return Adapter(path=str(path), fingerprint=fingerprint(path), source=source)
