"""A board as one ZIP for another machine: pictures, records, recipes and exports; and such a ZIP as a board again.

A ZIP from elsewhere is hostile until it is read: only the names of a board's own files are taken, each is counted while
it is unpacked, and the folder appears when all of it was checked.
"""

from __future__ import annotations

import re
import secrets
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from models.board.directory import PROMPTS_FILE, REPORT_FILE, SCENES_FILE
from models.board.finished import read_board
from models.board.integrity import TAKES
from models.board.pages import CONTACT_SHEET
from models.errors import InputError
from models.export.options import ExportOptions
from models.export.panels import ExportBoard
from models.frames.recipe import read_recipe
from models.storage.files import local_errors

EXPORTS = "exports"
RECIPES = "recipes"
MOST_FILES, MOST_BYTES, MOST_IN_ALL = 2000, 2**29, 2**31
MOST_RATIO = 200
"""How many times smaller than its content a file may be; text of a board is about 10 times smaller."""
_OWN = re.compile(
    rf"({REPORT_FILE}|{SCENES_FILE}|{PROMPTS_FILE}|{CONTACT_SHEET}|frame_[0-9]{{3}}\.png"
    rf"|{TAKES}/frame_[0-9]{{3}}_take[0-9]{{1,4}}\.png|{RECIPES}/frame_[0-9]{{3}}\.json|{EXPORTS}/[a-z_]{{1,40}}\.[a-z0-9]{{1,9}})"
)
"""The files of a board; others in a ZIP, such as a Mac's .DS_Store, are left out."""


def write_zip(board: ExportBoard, options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the board as a ZIP whose one folder has the board's name; it has no warnings."""
    root = board.folder.name
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in _files(board):
            stored = zipfile.ZIP_STORED if path.suffix == ".png" else None
            archive.write(path, f"{root}/{path.relative_to(board.folder).as_posix()}", stored)
        for panel in board.panels:
            recipe = read_recipe(panel.picture)
            if recipe is not None:
                archive.writestr(f"{root}/{RECIPES}/{panel.picture.stem}.json", recipe.model_dump_json(indent=2))
    return ()


def _files(board: ExportBoard) -> Iterator[Path]:
    folder = board.folder
    yield from (folder / name for name in (REPORT_FILE, SCENES_FILE, PROMPTS_FILE, CONTACT_SHEET))
    for panel in board.panels:
        yield panel.picture
        yield from (take.picture for take in panel.takes if take.picture.is_file())
    for path in sorted((folder / EXPORTS).glob("*")):
        if path.is_file() and path.suffix != ".zip" and _OWN.fullmatch(f"{EXPORTS}/{path.name}"):
            yield path


def unpack_board(file: str | Path, folder: str | Path) -> Path:
    """Unpack a board's ZIP into a new folder, and return the folder's absolute path.

    Args:
        file: the ZIP, from anywhere.
        folder: of the board; it must not exist.

    Raises:
        InputError: the ZIP is refused (a hostile name, a link, too large, no board), or the folder exists; one line.
        ObjectNotFound, StorageError: the ZIP can't be read, or the folder can't be written; nothing is left behind.
    """
    file, folder = Path(file).expanduser(), Path(folder).expanduser().absolute()
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder}: exists already; name a new folder for the board of {file}")
    hidden = folder.with_name(f".{secrets.token_hex(8)}.tmp")
    with local_errors(file), file.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive, local_errors(folder):
                wanted = _checked(archive, file)
                hidden.mkdir(parents=True)
                _unpack(archive, wanted, hidden, file)
                read_board(hidden)
                hidden.rename(folder)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, RuntimeError) as error:
            raise InputError(f"{file}: no readable ZIP ({error}); make it again with --as zip") from None
        except InputError as error:
            raise InputError(str(error).replace(str(hidden), str(file))) from None
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    return folder


def _checked(archive: zipfile.ZipFile, file: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the board's files by their names in its folder, after looking at the name and kind of every entry."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise InputError(f"{file}: {len(entries)} files, a board's ZIP has at most {MOST_FILES}")
    for entry in entries:
        _refuse(entry, file)
    root = _root(entries)
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = entry.filename.removeprefix(root)
        if entry.is_dir() or not entry.filename.startswith(root) or not _OWN.fullmatch(name):
            continue
        if name in found:
            raise InputError(f"{file}: {entry.filename!r} is in it twice; make it again with --as zip")
        found[name] = entry
    if (all_bytes := sum(entry.file_size for entry in found.values())) > MOST_IN_ALL:
        raise InputError(f"{file}: unpacks to {all_bytes} bytes, at most {MOST_IN_ALL} are taken")
    if REPORT_FILE not in found:
        raise InputError(f"{file}: no board in it, which has a {REPORT_FILE}; make it with --as zip")
    return found


def _refuse(entry: zipfile.ZipInfo, file: Path) -> None:
    """Refuse an entry that could be written elsewhere, is no plain file, or unpacks to far more than it is."""
    name, kind = entry.orig_filename, stat.S_IFMT(entry.external_attr >> 16)
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or any(sign in name for sign in "\\\0:") or len(name) > 400:
        raise InputError(f"{file}: refused, {name[:80]!r} names a place outside the board's folder")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"{file}: refused, {name[:80]!r} is a link or a device; only plain files are taken")
    if entry.flag_bits & 1:
        raise InputError(f"{file}: refused, {name[:80]!r} is encrypted; make the ZIP without a password")
    if entry.file_size > MOST_BYTES or entry.file_size > max(2**20, entry.compress_size * MOST_RATIO):
        raise InputError(
            f"{file}: refused, {name[:80]!r} unpacks from {entry.compress_size} to {entry.file_size} bytes; at most "
            f"{MOST_RATIO} times as many and {MOST_BYTES} are taken"
        )


def _root(entries: list[zipfile.ZipInfo]) -> str:
    """Return the beginning of the board's names: its folder with a slash, or nothing."""
    reports = [entry.filename for entry in entries if PurePosixPath(entry.filename).name == REPORT_FILE]
    return min(reports, key=len, default=REPORT_FILE).removesuffix(REPORT_FILE)


def _unpack(archive: zipfile.ZipFile, wanted: dict[str, zipfile.ZipInfo], folder: Path, file: Path) -> None:
    for name, entry in wanted.items():
        target, written = folder / name, 0
        target.parent.mkdir(exist_ok=True)
        with archive.open(entry) as source, target.open("xb") as copy:
            while block := source.read(2**20):
                written += len(block)
                if written > entry.file_size:
                    raise InputError(f"{file}: refused, {entry.filename!r} holds more than it says")
                copy.write(block)
