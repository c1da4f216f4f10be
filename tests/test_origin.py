"""Pictures say that a machine made them; those of earlier versions, which do not, stay what they are."""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from test_recipe import RECIPE, picture
from written_boards import SCORES, noise, options_of, render_config_of, write_board

from models.board.finished import read_board
from models.frames import generate as frames
from models.frames.generate import FrameJob, generate, store_candidate
from models.frames.recipe import Recipe, png_bytes, read_recipe
from models.origin.mark import COMPOSED, PAINTED, XMP_KEYWORD, xmp_packet
from models.records import FramePrompt, Scene

NAME = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
DESCRIPTION = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"


def source_type(png: Path) -> str | None:
    """What a reader of XMP finds in a PNG, or None where there is no packet."""
    with Image.open(png) as image:
        packet = image.info.get(XMP_KEYWORD)
    if packet is None:
        return None
    (description,) = ElementTree.fromstring(packet.lstrip("\ufeff")).iter(DESCRIPTION)
    return description.get(NAME)


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Name and whole bytes of each chunk."""
    found, at = [], 8
    while at < len(png):
        length = struct.unpack(">I", png[at : at + 4])[0] + 12
        found.append((png[at + 4 : at + 8], png[at : at + length]))
        at += length
    return found


def unmarked(image: Image.Image, recipe: Recipe) -> bytes:
    """The picture as earlier versions wrote it."""
    png = png_bytes(image, recipe)
    return png[:8] + b"".join(whole for _, whole in chunks(png) if XMP_KEYWORD.encode() not in whole)


def test_a_painted_picture_carries_the_mark_beside_its_recipe(tmp_path: Path) -> None:
    path = tmp_path / "frame.png"
    path.write_bytes(png_bytes(picture(), RECIPE))
    assert source_type(path) == PAINTED
    assert PAINTED.endswith("/digitalsourcetype/trainedAlgorithmicMedia")
    assert read_recipe(path) == RECIPE
    with Image.open(path) as image:
        assert "Steps: 25" in image.info["parameters"]
        assert image.info["xmp"] == xmp_packet().encode()  # where Pillow itself looks for XMP
    (chunk,) = [whole for name, whole in chunks(path.read_bytes()) if XMP_KEYWORD.encode() in whole]
    assert chunk[4:8] == b"iTXt"
    assert chunk[8:].startswith(XMP_KEYWORD.encode() + b"\0\0\0\0\0<?xpacket begin=")  # not compressed, no language


def test_all_pictures_of_a_board_are_marked_and_the_sheet_as_put_together_of_them(tmp_path: Path) -> None:
    board = write_board(tmp_path)
    assert {source_type(file) for file in board.glob("frame_*.png")} == {PAINTED}
    assert source_type(board / "contact_sheet.png") == COMPOSED


def test_pictures_of_earlier_versions_are_found_read_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(frames, "png_bytes", unmarked)
        board = write_board(tmp_path)
    before = {file.name: file.read_bytes() for file in board.glob("frame_*.png")}
    assert {source_type(board / name) for name in before} == {None}
    read_board(board)
    again = write_board(tmp_path / "again")  # a fresh store has other bytes
    assert {file.name: file.read_bytes() for file in again.glob("frame_*.png")} != before

    scene = Scene(number=1, caption="Aldar bows, 1.", action="is bowing", place="x", time="y", shot="z")
    prompt = FramePrompt(scene=scene, prompt="aldar 1", negative_prompt="", tokens=9)
    job = FrameJob(render_config=render_config_of(options_of(tmp_path)), prompt=prompt, reference=None)
    found = generate(job)
    assert Path(found.file).read_bytes() == before["frame_001.png"]

    marked = store_candidate(job, 1, noise(7, (64, 64)), SCORES)
    assert source_type(Path(marked.file)) == PAINTED
