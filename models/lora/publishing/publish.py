"""A chosen checkpoint becomes a published character: one folder that the storyboard and other programs read.

    <name>/
      unet_lora/  text_encoder_one_lora/  text_encoder_two_lora/    what `--lora-path` reads
      pytorch_lora_weights.safetensors    for diffusers
      <name>.safetensors                  for ComfyUI, A1111, InvokeAI and sd-scripts
      README.md  samples.jpg              the model card and its picture
      manifest.json                       sha256 and size of every other file

Nothing in it depends on when or where it is made, so that a second attempt makes the same bytes. What the training goes
on from (`resume/`) is never part of it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from models.errors import InputError, StoryboardError, TrainingError
from models.lora.options import TrainingOptions
from models.lora.publishing.card import file_metadata, model_card
from models.lora.publishing.character import CARD, Character, kohya_name, location_of, samples_name
from models.lora.publishing.export import write_diffusers_file, write_folders, write_kohya_file
from models.lora.records import Comparison, Published, TrainingSet
from models.lora.training.checkpoints import check_whole
from models.progress import ByteProgress
from models.secrets.keys import Keys
from models.storage.adapters import SINGLE_FILE, adapter_files, locate_adapter
from models.storage.files import (
    CALIBRATION_FILES,
    copy_atomically,
    fingerprint,
    list_names,
    local_errors,
    sha256_of,
    why_not_writable,
    write_atomically,
)
from models.storage.manifests import EARLIER, MANIFEST, Manifest, ManifestEntry

__all__ = ["Character", "assemble", "character_of", "find_publish_problems", "publish", "publish_to_folder"]


def assemble(character: Character, folder: Path) -> tuple[str, ...]:
    """Write everything that is published into the folder, which must be empty or absent.

    Returns:
        Names of the files, the manifest last.

    Raises:
        WeightsInvalid: the checkpoint is not whole, or no plain LoRA.
        InputError: the name or the picture can't be published.
        StorageError: no space, or no permission.
    """
    kohya, samples = kohya_name(character.name), samples_name(character.samples)
    checkpoint = Path(character.checkpoint.path)
    check_whole(checkpoint)
    write_folders(checkpoint, folder)
    write_diffusers_file(checkpoint, folder / SINGLE_FILE)
    write_kohya_file(checkpoint, folder / kohya, character.metadata)
    write_atomically(folder / CARD, character.card.encode())
    copy_atomically(character.samples, folder / samples)
    names = list_names(folder)
    _write_manifest(folder, names)
    locate_adapter(folder)
    return (*names, MANIFEST)


def _write_manifest(folder: Path, names: list[str]) -> None:
    entries = {
        name: ManifestEntry(sha256=sha256_of(folder / name), size=(folder / name).stat().st_size) for name in names
    }
    write_atomically(folder / MANIFEST, Manifest(files=entries).model_dump_json(indent=1).encode() + b"\n")


def character_of(options: TrainingOptions, training_set: TrainingSet, comparison: Comparison) -> Character:
    """What a training publishes: the checkpoint that was chosen, and what is told of it.

    Raises:
        StoryboardError: the base's or the checkpoint's files can't be read.
    """
    return Character(
        name=options.character(),
        checkpoint=comparison.chosen,
        card=model_card(options, training_set, comparison, options.get_profile().base.source),
        samples=Path(comparison.grid),
        metadata=file_metadata(options, comparison.chosen),
    )


def refuse_failed(options: TrainingOptions, comparison: Comparison) -> None:
    """Publish a checkpoint that failed the comparison only where that was asked for.

    Raises:
        TrainingError: says why it failed, and where it is kept.
    """
    row = next(row for row in comparison.rows if row.checkpoint == comparison.chosen)
    if row.failed and not options.publish_anyway:
        raise TrainingError(
            f"nothing is published: {comparison.reason}. It is kept in {comparison.chosen.path}, and "
            "--resume-from-checkpoint latest --publish-anyway publishes it as it is"
        )


def publish(
    character: Character, publish_to: str, *, keys: Keys, progress: ByteProgress | None = None, replace: bool = False
) -> Published:
    """Put the character below an S3 address or into a folder, under its name.

    Raises:
        InputError: the address or the name is malformed, or a folder of that name holds other things.
        WeightsInvalid: the checkpoint is not whole, or no plain LoRA.
        StorageError: it could not be written or sent; `retryable` says whether trying again can help.
    """
    _refuse_other_addresses(publish_to)
    location = location_of(publish_to, character.name)
    if not publish_to.startswith("s3:"):
        folder = Path(location).expanduser().absolute()
        files = publish_to_folder(character, folder, replace=replace)
        return Published(location=str(folder), fingerprint=fingerprint(folder), files=files)
    from models.s3.publish import upload

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = assemble(character, folder)
        upload({name: folder / name for name in files}, location, keys=keys, progress=progress, replace=replace)
        return Published(location=location, fingerprint=fingerprint(folder), files=files)


def publish_to_folder(character: Character, target: Path, *, replace: bool = False) -> tuple[str, ...]:
    """Write the publication beside its place, then rename it; an older one is replaced only by a whole one.

    Two folders can't change places at once. In the instant between the two renames there is none; whoever is killed
    there leaves the older one as `.<name>.old`, and the next publication begins by putting it back.

    Raises:
        InputError: the folder is there and holds what no publication wrote, or the publication of other weights and
            `replace` is not set. It is left as it was.
        StoryboardError: see `assemble`. The older publication is left as it was.
    """
    target = target.resolve()
    new, old, lock = (target.with_name(f".{target.name}.{ending}") for ending in ("new", "old", "lock"))
    with local_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            _put_back(old, target)
            _refuse_other_contents(target)
            try:
                shutil.rmtree(new, ignore_errors=True)
                files = assemble(character, new)
                if not replace:
                    _refuse_other_weights(target, new)
                _keep_calibration(target, new)
                _replace(target, new, old)
            finally:
                shutil.rmtree(new, ignore_errors=True)
    return files


def _put_back(old: Path, target: Path) -> None:
    """Repair a publication that was killed: between the renames put the older one back, after them remove it."""
    if old.is_dir() and not target.exists():
        old.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _replace(target: Path, new: Path, old: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _refuse_other_weights(target: Path, new: Path) -> None:
    """Refuse to put another publication in the place of one with other weights."""
    if target.exists() and not _has_weights_of(target, new):
        raise InputError(f"{target}: {EARLIER}")


def _keep_calibration(target: Path, new: Path) -> None:
    """Take over the calibration of a publication with the same weights; one of other weights is dropped."""
    for name in CALIBRATION_FILES:
        if (target / name).is_file() and _has_weights_of(target, new):
            copy_atomically(target / name, new / name)


def _has_weights_of(target: Path, new: Path) -> bool:
    names = adapter_files(list_names(new), str(new))
    return all((target / name).is_file() and sha256_of(target / name) == sha256_of(new / name) for name in names)


def find_earlier_publication(publish_to: str, keys: Keys, name: str) -> Iterator[str]:
    """One line if a character of this name is published there already. Asks S3 once, if that is the place.

    `find_publish_problems` reports everything else that is wrong with the place.
    """
    location = location_of(publish_to, name)
    try:
        if publish_to.startswith("s3:"):
            from models.s3.publish import holds_weights

            there = holds_weights(location, keys)
        else:
            location = str(Path(location).expanduser().resolve())
            there = (Path(location) / MANIFEST).is_file()
    except StoryboardError:
        return
    if there:
        yield f"publishing: {location}: {EARLIER}"


def _refuse_other_contents(target: Path) -> None:
    """Refuse to replace a folder that holds other things than a publication."""
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"{target}: there is a file of that name; choose another name, or remove it")
    names = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir())
    ours = {MANIFEST, *CALIBRATION_FILES}
    with suppress(ValidationError, FileNotFoundError):
        ours |= Manifest.model_validate_json((target / MANIFEST).read_bytes()).files.keys()
    strange = [name for name in names if name not in ours]
    if strange:
        raise InputError(
            f"{target}: holds {strange[0]!r}, which no publication wrote; choose another name, or move it away"
        )


def find_publish_problems(publish_to: str, keys: Keys, name: str | None = None) -> Iterator[str]:
    """Why a character could not be published, one line each. Sends nothing.

    Args:
        publish_to: S3 address or folder.
        keys: credentials and endpoint.
        name: what the character will be called, where that is known.
    """
    try:
        if name is not None:
            kohya_name(name)
        _refuse_other_addresses(publish_to)
        if publish_to.startswith("s3:"):
            yield from _s3_problems(location_of(publish_to, name or "name"), keys)
        else:
            yield from _folder_problems(publish_to)
            if name is not None:
                _refuse_other_contents(Path(location_of(publish_to, name)).expanduser().resolve())
    except StoryboardError as error:
        yield f"publishing: {error}"


def _refuse_other_addresses(publish_to: str) -> None:
    scheme, separator, _ = publish_to.partition("://")
    if separator and scheme != "s3":
        raise InputError(f"{scheme}://… is no place to publish to; valid: s3://bucket/prefix or a folder")


def _s3_problems(location: str, keys: Keys) -> Iterator[str]:
    from models.s3.bucket import parse_location
    from models.s3.client import find_credentials_problem

    parse_location(location)
    problem = find_credentials_problem(keys)
    if problem:
        yield f"publishing: {location}: {problem}"


def _folder_problems(publish_to: str) -> Iterator[str]:
    reason = why_not_writable(Path(publish_to).expanduser())
    if reason:
        yield f"publishing: {publish_to}/ directory writable? {reason}; correct that, or choose another with publish_to"
