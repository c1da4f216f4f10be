"""Weights whose bytes changed are noticed, by one reading of each file until it changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from models.errors import WeightsInvalid
from models.preflight.components import find_absent
from models.profiles import STEPPE
from models.storage.files import check_file, fingerprint
from models.storage.recorded_sums import SUMS, recorded_sha256, sha256_at
from steppe.sums import write_sums


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder of two files of weights and their record."""
    for name in ("unet", "vae"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        save_file({"a": np.arange(64, dtype=np.float32)}, tmp_path / name / "model.safetensors")
    write_sums(tmp_path)
    return tmp_path


def flip(file: Path) -> None:
    """Turn one bit of the last number round, as a bad disk does."""
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_all_shipped_weights_are_recorded_and_are_those() -> None:
    folder = Path(STEPPE.base.source)
    files = sorted(folder.rglob("*.safetensors"))
    assert len(files) == len((folder / SUMS).read_text("utf-8").splitlines()) == 11
    for file in files:
        assert recorded_sha256(file) is not None
        check_file(file)


def test_a_flipped_bit_is_refused_until_the_file_is_back(weights: Path) -> None:
    file = weights / "unet" / "model.safetensors"
    check_file(file)
    whole, before = file.read_bytes(), fingerprint(weights / "unet")
    flip(file)
    with pytest.raises(WeightsInvalid, match=r"its bytes are not those that SHA256SUMS records$"):
        check_file(file)
    (problem,) = find_absent([STEPPE.base.model_copy(update={"source": str(weights / "unet")})])
    assert problem.startswith(f"{weights / 'unet'} is missing or incomplete: {file}: its bytes are not those")
    assert fingerprint(weights / "unet") != before
    check_file(weights / "vae" / "model.safetensors")
    file.write_bytes(whole)
    check_file(file)
    assert fingerprint(weights / "unet") == before


def test_a_file_is_read_once_until_it_changes(weights: Path) -> None:
    file = weights / "unet" / "model.safetensors"
    check_file(file)
    read = sha256_at.cache_info().misses
    for _ in range(3):
        check_file(file)
    fingerprint(file)
    assert sha256_at.cache_info().misses == read
    flip(file)
    fingerprint(file)
    assert sha256_at.cache_info().misses == read + 1


def test_weights_without_a_record_are_not_read(weights: Path) -> None:
    (weights / SUMS).unlink()
    read = sha256_at.cache_info().misses
    flip(weights / "vae" / "model.safetensors")
    check_file(weights / "vae" / "model.safetensors")
    assert sha256_at.cache_info().misses == read


def test_a_record_in_the_ways_that_people_write_it(weights: Path) -> None:
    file = weights / "vae" / "model.safetensors"
    sha256 = str(recorded_sha256(file))
    (weights / SUMS).write_bytes(b"# of today\n\n\xff\n" + f"{sha256.upper()} *vae/model.safetensors\n".encode())
    assert recorded_sha256(file) == sha256
    assert recorded_sha256(weights / "unet" / "model.safetensors") is None
    check_file(file)
