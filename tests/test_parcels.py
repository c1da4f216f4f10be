"""What goes to a painter elsewhere and back."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import tiny_loras
import tiny_models
from tiny_loras import Tensors, as_checkpoint

from models.errors import CorruptFile, OutOfMemory, PaintersUnreachable
from models.painters import parcels
from models.painters.parcels import LoraShelf, pack_error, unpack_error
from models.records import Adapter
from models.storage.files import fingerprint

tiny_world, base, lora = tiny_models.tiny_world, tiny_loras.base, tiny_loras.lora


def test_a_lora_that_arrives_with_other_bytes_is_refused(lora: Tensors, tmp_path: Path) -> None:
    path = as_checkpoint(tmp_path, lora)
    own = Adapter(path=str(path), fingerprint=fingerprint(path), source=path.name)
    shelf = LoraShelf(tmp_path / "shelf")
    files = parcels.lora_files(own)
    there = own.model_copy(update={"path": "/on/another/machine/checkpoint"})
    name = next(iter(files))
    with pytest.raises(CorruptFile, match="with other bytes"):
        shelf.put(there, {**files, name: b"other"})
    with pytest.raises(CorruptFile, match="is no name of a file in it"):
        shelf.put(there, {"../../outside": b"x"})
    assert fingerprint(Path(shelf.put(there, files))) == own.fingerprint


def received(shelf: LoraShelf, name: str) -> Adapter:
    """Receive a LoRA of one file, which was last named as many hours ago as its number."""
    file = shelf.folder.with_name(f"{name}.safetensors")
    file.write_bytes(name.encode())
    own = Adapter(path=str(file), fingerprint=fingerprint(file), source=name)
    file.unlink()
    place = Path(shelf.put(own, {"": name.encode()}))
    long_ago = time.time() - 3600 * float(name)
    os.utime(place, (long_ago, long_ago))
    return own


def test_received_loras_that_nobody_names_are_deleted_but_for_a_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcels, "FEW", 2)
    shelf, another = LoraShelf(tmp_path / "shelf"), LoraShelf(tmp_path / "shelf")
    oldest, older, old = (received(shelf, name) for name in ("4", "3", "2"))
    assert shelf.find(oldest) is None, "two were named later"
    assert another.find(older) is not None
    young = received(shelf, "0.1")
    received(shelf, "0.2")
    assert [each for each in (old, older, young) if shelf.find(each) is None] == [old], "the others were named lately"
    assert len(list(shelf.folder.iterdir())) == 3


def test_errors_keep_class_words_and_whether_to_try_again() -> None:
    for retryable in (True, False):
        error = unpack_error(json.loads(json.dumps(pack_error(OutOfMemory("no memory", retryable=retryable), {}))))
        assert (type(error), str(error), error.retryable) == (OutOfMemory, "no memory", retryable)
    foreign = unpack_error(pack_error(ZeroDivisionError("by zero"), {}))
    assert str(foreign) == "a painter failed: ZeroDivisionError: by zero"
    assert isinstance(unpack_error({"kind": "Exception", "said": "x", "retryable": False}), Exception)
    assert PaintersUnreachable.retryable is False
