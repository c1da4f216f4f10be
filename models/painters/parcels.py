"""What goes from a run to a painter elsewhere and back: JSON and bytes, so that no version reads another's classes.

Files that an order names travel as bytes. Pictures and a calibration go with every order; a LoRA only where the painter
does not have it. All are checked against their sha256 on arrival. Base, ControlNet, VAE, CLIP and DINOv2 go by their
address; folders of the project are named relative to it, because it may lie elsewhere there.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from PIL import Image

import models.errors
from models.diffusion.requests import PainterSetup
from models.errors import CorruptFile, PaintError, StoryboardError
from models.painters.painter import FrameOrder, Shown
from models.profiles import ROOT
from models.records import Adapter
from models.scores import Hero
from models.sources import Component
from models.storage.files import CALIBRATION_FILES, fingerprint, list_names, local_errors, write_atomically

PROJECT = "project:"
FEW = 8
"""How many received LoRAs stay on this machine however long nobody has named them."""
UNUSED = 3600.0
"""Seconds after which the others are deleted."""
Files = dict[str, bytes]
"""Path on the asking side -> content."""


@cache
def code_version() -> str:
    """Return the sha256 of the code that paints and scores, in which a run and its painters must agree."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "models").rglob("*.py")):
        digest.update(f"{path.relative_to(ROOT).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def pack_setup(setup: PainterSetup) -> Any:
    """Return a setup as JSON, with the project's folders named relative to it."""
    here = f"{ROOT}/"
    return _texts_changed(
        setup.model_dump(mode="json"), lambda text: PROJECT + text[len(here) :] if text.startswith(here) else text
    )


def unpack_setup(data: Any) -> PainterSetup:
    """Return the setup that `pack_setup` packed, with this project's folders."""
    return PainterSetup.model_validate(
        _texts_changed(data, lambda text: str(ROOT / text[len(PROJECT) :]) if text.startswith(PROJECT) else text)
    )


def _texts_changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _texts_changed(part, change) for name, part in value.items()}
    return [_texts_changed(part, change) for part in value] if isinstance(value, list) else value


def local_components(setup: PainterSetup) -> dict[str, Component]:
    """Return the setup's parts that are folders or files of a machine, whose own a run and its painters compare.

    A base with another VAE is left out, because its fingerprint is that of both.
    """
    profile = setup.profile
    parts = {
        "base": profile.base if profile.vae is None else None,
        "controlnet": profile.controlnet if setup.with_controlnet else None,
        "clip": profile.clip,
        "dino": profile.dino,
    }
    return {name: part for name, part in parts.items() if part is not None and part.is_local}


def files_of(order: FrameOrder) -> Files:
    """Return the pictures and the calibration that an order names, by their paths.

    Raises:
        StorageError: one can't be read.
    """
    control = order.request.control
    return read_files(order.reference, control.file if control is not None else None, order.calibration)


def read_files(*names: str | None) -> Files:
    """Return files by their paths; None is no file.

    Raises:
        StorageError: one can't be read.
    """
    found: Files = {}
    for name in names:
        if name is not None:
            with local_errors(Path(name)):
                found[name] = Path(name).read_bytes()
    return found


def lora_files(adapter: Adapter) -> Files:
    """Return the files of a LoRA, by their names; one file has the name "". A calibration goes with each order."""
    path = Path(adapter.path)
    if not path.is_dir():
        return {"": path.read_bytes()}
    return {name: (path / name).read_bytes() for name in list_names(path) if name not in CALIBRATION_FILES}


def sums_of(files: Files) -> dict[str, str]:
    """Return each file's sha256."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def with_sums(files: Files) -> dict[str, Any]:
    """Return files and their sums as the parts of a message."""
    return {"files": files, "sums": sums_of(files)}


def pack_shown(shown: Shown) -> Any:
    """Return a picture and where the hero is in it, as bytes and JSON."""
    image = shown.image.convert("RGB")
    return image.size, image.tobytes(), None if shown.hero is None else shown.hero.model_dump(mode="json")


def unpack_shown(data: Any) -> Shown:
    """Return what `pack_shown` packed."""
    size, pixels, hero = data
    return Shown(Image.frombytes("RGB", size, pixels), None if hero is None else Hero.model_validate(hero))


@contextmanager
def unpacked(files: Files, sums: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield where the files of an order lie during the block: path on the asking side -> path here.

    Raises:
        CorruptFile: retryable; a file arrived with other bytes.
    """
    with TemporaryDirectory(prefix="painter-") as folder:
        places: dict[str, str] = {}
        for number, (name, data) in enumerate(files.items()):
            if hashlib.sha256(data).hexdigest() != sums.get(name):
                raise CorruptFile(f"{name}: it reached the painter with other bytes")
            place = Path(folder) / f"{number}{Path(name).suffix}"
            place.write_bytes(data)
            places[name] = str(place)
        yield places


def relocated(order: FrameOrder, places: Mapping[str, str]) -> FrameOrder:
    """Return the order with its files where they lie here."""
    control = order.request.control
    if control is not None:
        control = control.model_copy(update={"file": places[control.file]})
    reference, calibration = (None if file is None else places[file] for file in (order.reference, order.calibration))
    request = order.request.model_copy(update={"control": control})
    return order.model_copy(update={"request": request, "reference": reference, "calibration": calibration})


class LoraShelf:
    """LoRAs that painters of this machine have received, by fingerprint."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(gettempdir()) / "storyboard-painters-loras"
        self.known: dict[str, str] = {}
        """Fingerprint -> path of files that were checked against it."""

    def find(self, adapter: Adapter) -> str | None:
        """Return where this LoRA's files lie: at its own path, or on the shelf; None if they don't, or are others."""
        shelved, known = self._place(adapter), self.known.get(adapter.fingerprint)
        if known is None or not Path(known).exists():  # another painter may have deleted it
            self.known.pop(adapter.fingerprint, None)
            for place in (Path(adapter.path), shelved):
                if place.exists() and _fingerprint(place) == adapter.fingerprint:
                    self.known[adapter.fingerprint] = str(place)
                    break
        if self.known.get(adapter.fingerprint) == str(shelved):
            with suppress(OSError):
                os.utime(shelved)  # says when it was last named
        return self.known.get(adapter.fingerprint)

    def put(self, adapter: Adapter, files: Files) -> str:
        """Write a LoRA that arrived, and return its path.

        Raises:
            CorruptFile: retryable; other bytes than its fingerprint says arrived.
        """
        place = self._place(adapter)
        for name, data in files.items():
            target = (place / name).resolve() if name else place
            if target != place and not target.is_relative_to(place.resolve()):
                raise CorruptFile(f"LoRA {adapter.source}: {name!r} is no name of a file in it")
            write_atomically(target, data)
        if self.find(adapter) is None:
            raise CorruptFile(f"LoRA {adapter.source}: it reached the painter with other bytes")
        self._tidy()
        return self.known[adapter.fingerprint]

    def _tidy(self) -> None:
        """Delete what nobody has named for long, but for a few."""
        named = {}
        for place in self.folder.iterdir():
            with suppress(OSError):  # another painter tidies too
                named[place] = place.stat().st_mtime
        for place in sorted(named, key=lambda each: named[each], reverse=True)[FEW:]:
            if time.time() - named[place] > UNUSED:
                gone = place.with_name(f".{place.name}")
                with suppress(OSError):
                    place.replace(gone)  # at once, so that nobody reads a part of it
                    rmtree(gone) if gone.is_dir() else gone.unlink()

    def _place(self, adapter: Adapter) -> Path:
        suffix = Path(adapter.path).suffix if adapter.path.endswith(".safetensors") else ""
        return self.folder / f"{adapter.fingerprint}{suffix}"


def _fingerprint(place: Path) -> str | None:
    try:
        return fingerprint(place)
    except StoryboardError:
        return None


def pack_error(error: Exception, names: Mapping[str, str]) -> dict[str, Any]:
    """Return an error as JSON; paths here become those of the asking side.

    Args:
        error: of painting. One that is not this project's keeps its type in its message.
        names: path on the asking side -> path here.
    """
    kind = type(error).__name__
    said = str(error) if isinstance(error, StoryboardError) else f"a painter failed: {kind}: {error}"
    for there, here in names.items():
        said = said.replace(here, there)
    return {"kind": kind, "said": " ".join(said.split()), "retryable": getattr(error, "retryable", False)}


def unpack_error(data: Mapping[str, Any]) -> StoryboardError:
    """Return the error that `pack_error` packed, of the same class."""
    found = getattr(models.errors, str(data["kind"]), None)
    kind = found if isinstance(found, type) and issubclass(found, StoryboardError) else PaintError
    error = kind(str(data["said"]))
    error.retryable = bool(data["retryable"])
    return error
