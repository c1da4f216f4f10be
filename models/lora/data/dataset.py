"""The training set: captioned pictures, all their faults told at once, split into training and validation."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from models.errors import DatasetInvalid, InputError, StorageError
from models.language.prompts import MAX_TOKENS
from models.lora.buckets import is_filled, nearest_size
from models.lora.data.captions import KINDS, list_pictures
from models.lora.data.folder_files import HIDDEN, grouped, is_picture, printable
from models.lora.data.picture_folder import Listed, PictureFolder
from models.lora.data.pictures import open_picture
from models.lora.options import TrainingOptions
from models.lora.records import TrainingPicture, TrainingSet
from models.sizes import Size
from models.storage.files import sha256_of

log = logging.getLogger("models.lora")

LEAST = 2
"""Pictures to train on: the comparison of checkpoints needs two to tell how different they are."""
TOLD = 20
"""Faults that an error's message holds; its `faults` has them all."""
LEAST_RESOLUTION = 64

_PROMPT_SYNTAX = re.compile(r"\(\(|\([^()]*:\s*\d[\d.]*\)|<\w+:[^<>]*>|\{[^{}|]*\|[^{}]*\}|__\w+__|\bBREAK\b")
"""How other programs weight words, draw among them, or load files in a prompt."""

CountTokens = Callable[[str], int]
"""Length of a text, start and end included; what `token_counter(profile)` returns."""


class _Read(NamedTuple):
    """A picture that could be read."""

    folder: PictureFolder
    listed: Listed
    sha256: str
    size: Size
    bucket: Size | None
    """None without aspect buckets."""


def read_set(options: TrainingOptions, count_tokens: CountTokens) -> TrainingSet:
    """The pictures of a training with their captions. Each was decoded once, so that none fails later.

    Args:
        options: where the pictures are, and what they and their captions must have.
        count_tokens: the length of a caption.

    Raises:
        DatasetInvalid: all faults of pictures and captions, one line each, which begins with the file's name.
        InputError: a folder is missing, or has no pictures.
        StorageError: a folder can't be read.
    """
    folders = [PictureFolder(options.train_data_dir, "train_data_dir")]
    if options.prior_data_dir is not None:
        folders.append(PictureFolder(options.prior_data_dir, "prior_data_dir", " (in prior_data_dir)"))
    for folder in folders:
        list_pictures(folder, options.caption_column, options.caption_mode)
        for reason, line in grouped(folder.passed_over).items():
            log.log(logging.INFO if reason == HIDDEN else logging.WARNING, "%s: %s", folder.path, line)
    work = [(folder, listed) for folder in folders for listed in folder.listed]
    read: list[_Read] = []
    for folder, listed in work:
        read.extend(_read_picture(folder, listed, options))
        for fault in _caption_faults(listed, options.trigger_word(), count_tokens, wanted=folder is folders[0]):
            folder.tell(listed.name, fault)
    _tell_twins(read)
    _tell_prompt_syntax(read)
    if faults := [fault for folder in folders for fault in folder.faults]:
        raise _invalid(faults)
    train, validation = split_off_validation(_pictures_of(folders[0], read), options.validation_pictures, options.seed)
    prior = _pictures_of(folders[-1], read) if len(folders) > 1 else ()
    return TrainingSet(
        folder=str(folders[0].path),
        train=train,
        validation=validation,
        prior=prior,
        passed_over=tuple(
            printable(f"{one.name}{folder.mark}: {one.reason}") for folder in folders for one in folder.passed_over
        ),
    )


def require_enough(training_set: TrainingSet) -> None:
    """Refuse a set whose checkpoints could not be compared in the end.

    Raises:
        InputError: there is one picture alone.
    """
    if len(training_set.train) < LEAST:
        raise InputError(
            f"train_data_dir: {training_set.folder} holds one picture, and checkpoints are measured by how different a "
            "character's pictures are: add another one at least; 15 to 100 make a good character"
        )


def split_off_validation(
    pictures: Sequence[TrainingPicture], most: int, seed: int
) -> tuple[tuple[TrainingPicture, ...], tuple[TrainingPicture, ...]]:
    """Training pictures, in their order, and validation pictures: `most`, and at most a tenth of all.

    Seed and contents decide which these are, and their order, so that a renamed file changes nothing.
    """

    def lot(picture: TrainingPicture) -> str:
        return hashlib.sha256(f"{seed}:{picture.sha256}".encode()).hexdigest()

    validation = tuple(sorted(pictures, key=lot)[: min(most, len(pictures) // 10)])
    return tuple(picture for picture in pictures if picture not in validation), validation


def _invalid(faults: list[str]) -> DatasetInvalid:
    if len(faults) <= TOLD:
        return DatasetInvalid(faults)
    error = DatasetInvalid([*faults[:TOLD], f"and {len(faults) - TOLD} more"])
    error.faults = tuple(faults)
    return error


def _pictures_of(folder: PictureFolder, read: Sequence[_Read]) -> tuple[TrainingPicture, ...]:
    return tuple(
        TrainingPicture(
            file=str(one.listed.path),
            sha256=one.sha256,
            caption=(one.listed.captions or ("",))[0],
            alternatives=(one.listed.captions or ())[1:],
            repeats=one.listed.repeats,
            width=one.size[0],
            height=one.size[1],
            bucket=one.bucket,
        )
        for one in read
        if one.folder is folder
    )


@lru_cache(maxsize=100_000)
def _examine(path: Path, _stamp: tuple[int, int]) -> tuple[Size, str]:
    """Size and sha256 of a picture. A file that has not changed is not decoded again."""
    return Size(*open_picture(path).size), sha256_of(path)


def _stamp(path: Path) -> tuple[int, int]:
    """When the file was written, and its bytes; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _read_picture(folder: PictureFolder, listed: Listed, options: TrainingOptions) -> Iterator[_Read]:
    """The picture, if it can be read; its faults are noted in the folder."""
    name, path = listed.name, listed.path
    if not is_picture(path.name):
        folder.tell(name, f"not a kind of picture that is read ({KINDS}); save it as PNG or JPEG")
        return
    try:
        size, sha256 = _examine(path, _stamp(path))
    except (InputError, StorageError) as error:
        folder.tell(name, str(error).removeprefix(f"{path}: "))
        return
    trained = nearest_size(*size, options.sizes())
    if not is_filled(*size, trained):
        folder.tell(name, _too_small(size, trained, options))
    yield _Read(folder, listed, sha256, size, trained if options.aspect_buckets else None)


def _too_small(size: Size, trained: Size, options: TrainingOptions) -> str:
    """That a picture does not cover the size that it is trained at, and the way out."""
    shorter = min(size)
    what = f"of which the shorter side of {shorter} is under the resolution of {options.side()}"
    if options.aspect_buckets:
        what = f"too few for its bucket of {trained}"
    largest = _largest_resolution(size, options)
    less = f", or set resolution to {largest} or less" if largest else ""
    return f"{size} pixels, {what}; take a larger picture{less}"


def _largest_resolution(size: Size, options: TrainingOptions) -> int | None:
    """The largest resolution at which a picture of this size would do, or None."""
    for resolution in range(options.side() // 8 * 8, LEAST_RESOLUTION - 1, -8):
        sizes = options.model_copy(update={"resolution": resolution}).sizes()
        if sizes and is_filled(*size, nearest_size(*size, sizes)):
            return resolution
    return None


def _caption_faults(listed: Listed, trigger: str, count_tokens: CountTokens, *, wanted: bool) -> Iterator[str]:
    """What is wrong with a caption that could be read.

    Args:
        trigger: the word that the character is painted on.
        wanted: it must be in the caption; else it must not.
    """
    captions = listed.captions or ()
    for number, caption in enumerate(captions, 1):
        which = "its caption" if len(captions) == 1 else f"line {number} of its caption"
        yield from _faults_of(caption, f"{which} in {listed.source}", trigger, count_tokens, wanted=wanted)


def _faults_of(caption: str, where: str, trigger: str, count_tokens: CountTokens, *, wanted: bool) -> Iterator[str]:
    if not caption:
        yield f"{where} is empty; describe the picture"
        return
    tokens = count_tokens(caption)
    if tokens > MAX_TOKENS:
        yield f"{where} has {tokens} tokens with start and end, of which {MAX_TOKENS} are read; shorten it"
    found = re.findall(rf"(?<!\w){re.escape(trigger)}(?!\w)", caption, re.IGNORECASE)
    if wanted and not found:
        yield f"{where} lacks the trigger word {trigger}; add it, or set trigger to the word that it has"
    elif wanted and trigger not in found:
        yield f"{where} writes the trigger word as {found[0]}; write {trigger}"
    elif found and not wanted:  # in any case of letters, because CLIP's tokenizer makes them all small
        yield f"{where} has the trigger word {found[0]}; leave it out, or move the picture to train_data_dir"


def _tell_prompt_syntax(read: Sequence[_Read]) -> None:
    found = [one.listed for one in read if _PROMPT_SYNTAX.search(" ".join(one.listed.captions or ()))]
    if found:
        message = "%d captions have marks of prompts, such as (word:1.2), {a|b} or <lora:x>, which are read as text: %s"
        log.warning(message, len(found), found[0].source)


def _tell_twins(read: Sequence[_Read]) -> None:
    first: dict[str, _Read] = {}
    for one in read:
        twin = first.setdefault(one.sha256, one)
        if twin is not one:
            name = f"{twin.listed.name}{twin.folder.mark}"
            one.folder.tell(one.listed.name, f"the same picture as {name}; remove one of the two")
