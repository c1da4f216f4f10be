"""A board as a ZIP, and a ZIP as a board: what is hostile is refused in one line and leaves nothing behind."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from test_export_write import options
from written_boards import edit, write_board

from models.board.finished import read_board
from models.errors import InputError, ObjectNotFound, StorageError
from models.export import archive
from models.export.archive import unpack_board
from models.export.write import write_exports


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return write_board(tmp_path / "outputs", width=96, height=64)


@pytest.fixture
def packed(board: Path) -> Path:
    """The board's ZIP with its subtitles."""
    return Path(write_exports(board, options("zip,srt")).folder) / "storyboard.zip"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(file: Path, folder: Path) -> str:
    """The one line with which a ZIP is refused; nothing is left of it."""
    before = sorted(folder.parent.iterdir())
    with pytest.raises(InputError) as no:
        unpack_board(file, folder)
    assert sorted(folder.parent.iterdir()) == before
    assert "\n" not in str(no.value)
    assert str(file) in str(no.value)
    return str(no.value)


def test_a_board_comes_back_as_it_was(board: Path, packed: Path, tmp_path: Path) -> None:
    again = unpack_board(packed, tmp_path / "new" / "board")
    assert again == tmp_path / "new" / "board"
    there, here = files(again), files(board)
    recipes = {name: there.pop(name) for name in list(there) if name.startswith("recipes/")}
    del here["exports/storyboard.zip"]
    assert there == here
    assert all(b'"prompt": "aldar' in recipe for recipe in recipes.values())
    assert len(recipes) == 3
    assert read_board(again).report == read_board(board).report
    assert {name.split("/")[0] for name in zipfile.ZipFile(packed).namelist()} == {board.name}


def test_a_zip_of_the_files_alone_and_one_of_a_mac_are_boards_too(packed: Path, tmp_path: Path) -> None:
    entries = {name: zipfile.ZipFile(packed).read(name) for name in zipfile.ZipFile(packed).namelist()}
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as flat:
        for name, data in entries.items():
            flat.writestr(name.partition("/")[2], data)
        flat.writestr(".DS_Store", "x")
        flat.writestr("__MACOSX/._frame_001.png", "x")
    again = unpack_board(tmp_path / "flat.zip", tmp_path / "board")
    assert sorted(files(again)) == sorted(name.partition("/")[2] for name in entries)


def with_entry(packed: Path, name: str, data: bytes = b"x", mode: int = 0) -> Path:
    """The board's ZIP with one more entry."""
    info = zipfile.ZipInfo(name)
    info.filename = info.orig_filename = name
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(packed, "a") as more:
        more.writestr(info, data)
    return packed


@pytest.mark.parametrize(
    "name", ["../evil.png", "a/../../evil", "/etc/passwd", "C:\\evil", "a\\..\\evil", "b/c:d", "x" * 500]
)
def test_a_name_outside_the_folder_is_refused(name: str, packed: Path, tmp_path: Path) -> None:
    said = refused(with_entry(packed, name), tmp_path / "board")
    assert "names a place outside the board's folder" in said
    assert not (tmp_path / "evil.png").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(kind: int, packed: Path, tmp_path: Path) -> None:
    said = refused(with_entry(packed, "frame_009.png", b"/etc/passwd", kind | 0o777), tmp_path / "board")
    assert "'frame_009.png' is a link or a device" in said


def test_a_bomb_is_refused_before_it_is_unpacked(packed: Path, tmp_path: Path) -> None:
    said = refused(with_entry(packed, "bomb", bytes(2**24)), tmp_path / "board")
    assert "'bomb' unpacks from 1" in said


def test_too_much_is_refused(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(archive, "MOST_FILES", 5)
        assert "a board's ZIP has at most 5" in refused(packed, tmp_path / "board")
    monkeypatch.setattr(archive, "MOST_IN_ALL", 1000)
    assert "at most 1000 are taken" in refused(packed, tmp_path / "board")


def test_an_entry_that_lies_about_its_size_is_refused(packed: Path, tmp_path: Path) -> None:
    info = next(one for one in zipfile.ZipFile(packed).infolist() if one.filename.endswith("frame_001.png"))
    data, size = bytearray(packed.read_bytes()), info.file_size.to_bytes(4, "little")
    at = data.rindex(b"frame_001.png")  # in the directory at the end, whose size is 46 - 24 bytes before the name
    begin = data.rindex(b"PK\x01\x02", 0, at)
    assert data[begin + 24 : begin + 28] == size
    data[begin + 24 : begin + 28] = (100).to_bytes(4, "little")
    packed.write_bytes(data)
    refused(packed, tmp_path / "board")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(board: Path, packed: Path, tmp_path: Path) -> None:
    assert "is in it twice" in refused(with_entry(packed, f"{board.name}/report.json"), tmp_path / "board")


def no_zip(file: Path) -> None:
    file.write_bytes(b"no zip")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def changed(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[200] ^= 255
    file.write_bytes(data)


def empty(file: Path) -> None:
    zipfile.ZipFile(file, "w").close()


@pytest.mark.parametrize("harm", [no_zip, cut, changed, empty])
def test_a_broken_zip_is_one_line(harm: Callable[[Path], None], packed: Path, tmp_path: Path) -> None:
    harm(packed)
    refused(packed, tmp_path / "board")


def test_a_board_that_was_changed_in_the_zip_is_refused(board: Path, tmp_path: Path) -> None:
    edit(board / "report.json", lambda report: report.update(base_seed=7))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as packed:
        for name, data in files(board).items():
            packed.writestr(f"b/{name}", data)
    assert f"{tmp_path / 'b.zip'}/report.json: base_seed is 7" in refused(tmp_path / "b.zip", tmp_path / "board")


def test_what_is_there_already_is_left_alone(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "board").mkdir()
    with pytest.raises(InputError, match="exists already; name a new folder"):
        unpack_board(packed, tmp_path / "board")
    with pytest.raises(ObjectNotFound, match=r"none\.zip"):
        unpack_board(tmp_path / "none.zip", tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        unpack_board(packed, tmp_path / "file" / "board")
