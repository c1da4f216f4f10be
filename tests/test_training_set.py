"""The training set: both layouts, every fault told by its file and all at once, and which pictures are held out."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import DatasetInvalid, InputError
from models.language.prompts import token_counter
from models.lora.data import dataset
from models.lora.data.dataset import read_set
from models.lora.data.pictures import open_picture
from models.lora.options import TrainingOptions
from models.lora.records import TrainingSet
from models.profiles import ROOT

OURS = ROOT / "data" / "images"


def count_words(text: str) -> int:
    return len(text.split()) + 2


def draw(file: Path, seed: int = 0, size: tuple[int, int] = (64, 64)) -> None:
    """A picture of its own for each seed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(file)


def captioned(folder: Path, captions: Mapping[str, str]) -> Path:
    for seed, (name, caption) in enumerate(captions.items()):
        draw(folder / name, seed)
        (folder / name).with_suffix(".txt").write_text(caption, encoding="utf-8")
    return folder


def listed(folder: Path, lines: Sequence[object]) -> Path:
    folder.mkdir(exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    (folder / "metadata.jsonl").write_text("\n".join(texts), encoding="utf-8")
    return folder


def read(folder: Path, **options: object) -> TrainingSet:
    fields = {"train_data_dir": str(folder), "resolution": 64, "trigger": "hero", **options}
    return read_set(TrainingOptions.model_validate(fields), count_words)


def faults(folder: Path, **options: object) -> list[str]:
    with pytest.raises(DatasetInvalid) as caught:
        read(folder, **options)
    assert all(len(fault.splitlines()) == 1 for fault in caught.value.faults)
    return list(caught.value.faults)


def test_the_pictures_of_this_project_are_a_training_set() -> None:
    options = TrainingOptions(train_data_dir=str(OURS), validation_pictures=4)
    read = read_set(options, token_counter(options.get_profile()))
    assert (len(read.train), len(read.validation), read.prior) == (66, 4, ())
    assert [one.file for one in read.train] == sorted(one.file for one in read.train)
    assert {one.file for one in (*read.train, *read.validation)} == {str(file) for file in OURS.glob("*.webp")}
    first = read.train[0]
    assert (first.width, first.height) == (1024, 1024)
    assert first.sha256 == hashlib.sha256(Path(first.file).read_bytes()).hexdigest()
    assert all("aldar_kose_man" in one.caption for one in (*read.train, *read.validation))


def test_which_are_held_out_depends_on_seed_and_contents_not_on_names(tmp_path: Path) -> None:
    options = TrainingOptions(train_data_dir=str(OURS))
    before = read_set(options, count_words)
    for number, file in enumerate(sorted(OURS.glob("*.webp"), reverse=True)):
        shutil.copy(file, tmp_path / f"{number:03}.webp")
        shutil.copy(file.with_suffix(".txt"), tmp_path / f"{number:03}.txt")
    after = read_set(options.model_copy(update={"train_data_dir": str(tmp_path)}), count_words)
    assert [one.sha256 for one in after.validation] == [one.sha256 for one in before.validation]
    other = read_set(options.model_copy(update={"seed": 43}), count_words)
    assert {one.sha256 for one in other.validation} != {one.sha256 for one in before.validation}


@pytest.mark.parametrize(("pictures", "most", "held"), [(9, 4, 0), (10, 4, 1), (25, 4, 2), (25, 1, 1), (25, 0, 0)])
def test_at_most_a_tenth_is_held_out(tmp_path: Path, pictures: int, most: int, held: int) -> None:
    captioned(tmp_path, {f"{number}.png": "hero" for number in range(pictures)})
    both = read(tmp_path, validation_pictures=most)
    assert (len(both.train), len(both.validation)) == (pictures - held, held)


def test_captions_lie_beside_pictures_of_every_kind_and_any_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a.PNG", "b.jpg", "c.JPEG", "d.webp", "e.bmp", "f.tif", "g.tiff", "h.gif", "Алдар Көсе.png", "той.v2.png"]
    captioned(tmp_path, dict.fromkeys(names, "hero sits"))
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf  hero\r\n\r\n rides   a \t horse \r\n")
    (tmp_path / "d.txt").write_text("hero 🐎 Көсе, «қу»", encoding="utf-8")
    (tmp_path / "e.txt").rename(tmp_path / "e.TXT")
    (tmp_path / "той.v2.txt").rename(tmp_path / unicodedata.normalize("NFD", "той.v2.txt"))
    (tmp_path / "notes.txt").write_text("nobody's")
    (tmp_path / "readme.md").write_text("no picture")
    (tmp_path / ".hidden.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    with caplog.at_level(logging.WARNING, "models.lora"):
        train = {Path(one.file).name: one.caption for one in read(tmp_path).train + read(tmp_path).validation}
    assert set(train) == set(names)
    assert (train["b.jpg"], train["d.webp"]) == ("hero rides a horse", "hero 🐎 Көсе, «қу»")
    assert "1 not used (no picture has its name): notes.txt" in caplog.text
    assert "1 not used (no picture and no caption): readme.md" in caplog.text


def test_a_metadata_file_lists_pictures_also_in_subfolders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for seed, name in enumerate(["b.png", "sub/a.png", "spare/x.png", unicodedata.normalize("NFD", "той.png")]):
        draw(tmp_path / name, seed)
    listed(
        tmp_path,
        [
            '\ufeff{"file_name": "sub/a.png", "words": "hero\\u2028sits \u2028 🐎", "more": 5}\r',
            "",
            {"file_name": "./b.png", "words": " hero\trides"},
            {"file_name": "той.png", "words": "hero"},
        ],
    )
    with caplog.at_level(logging.WARNING, "models.lora"):
        train = read(tmp_path, caption_column="words").train
    names = [Path(one.file).relative_to(tmp_path).as_posix() for one in train]
    assert [unicodedata.normalize("NFC", name) for name in names] == ["b.png", "sub/a.png", "той.png"]
    assert [one.caption for one in train] == ["hero rides", "hero sits 🐎", "hero"]
    assert "1 not used (not listed in metadata.jsonl): spare/x.png" in caplog.text


def test_all_faults_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    captions = {
        "caps.png": "a Hero sits",
        "case.png": "hero, in a yurt",
        "empty.png": " \n",
        "half.png": "hero",
        "just_fits.png": "hero " * 75,
        "long.png": "hero " * 76,
        "other.png": "heroes, superhero, hero_2",
        "small.png": "hero",
        "utf16.png": "hero",
        "utf16bare.png": "hero",
        "wordless.png": "",
    }
    captioned(tmp_path, captions)
    draw(tmp_path / "small.png", 50, (90, 63))
    (tmp_path / "wordless.txt").unlink()
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:100])
    (tmp_path / "utf16.txt").write_bytes("hero".encode("utf-16"))
    (tmp_path / "utf16bare.txt").write_bytes("hero".encode("utf-16-le"))
    (tmp_path / "link.png").symlink_to("nowhere.png")
    (tmp_path / "link.txt").write_text("hero")
    shutil.copy(tmp_path / "case.png", tmp_path / "twin.png")
    (tmp_path / "twin.txt").write_text("hero")
    told = "\n".join(faults(tmp_path))
    for fault in [
        "caps.png: its caption in caps.txt writes the trigger word as Hero; write hero",
        "empty.png: its caption in empty.txt is empty; describe the picture",
        "half.png: a picture that can't be read (",
        "link.png: no such picture",
        "long.png: its caption in long.txt has 78 tokens with start and end, of which 77 are read; shorten it",
        "other.png: its caption in other.txt lacks the trigger word hero; add it, or set trigger to the word that",
        "small.png: 90x63 pixels, of which the shorter side of 63 is under the resolution of 64; take a larger picture",
        "twin.png: the same picture as case.png; remove one of the two",
        "utf16.txt: not UTF-8 text, from byte 0 on; save it as UTF-8",
        "utf16bare.txt: not UTF-8 text: it holds NUL characters",
        "wordless.png: no caption; describe the picture in wordless.txt",
    ]:
        assert told.count(f"\n{fault}") + told.startswith(fault) == 1, fault
    assert len(told.splitlines()) == 11


def test_a_resolution_that_would_do_is_named(tmp_path: Path) -> None:
    draw(captioned(tmp_path, {"a.png": "hero"}) / "a.png", 0, (200, 181))
    (fault,) = faults(tmp_path, resolution=256)
    assert fault.endswith("under the resolution of 256; take a larger picture, or set resolution to 176 or less")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{file_name: a.png}", "is not JSON: {file_name: a.png}; a line is such as"),
        ("[" * 100_000, "is not JSON: [[["),
        ('["a.png"]', 'is no JSON object: ["a.png"]; a line is'),
        ({"image": "a.png", "text": "hero"}, "has no file_name, but image, text; a line is"),
        ({}, "has no file_name, but nothing at all"),
        ({"file_name": "a.png", "txt": "hero", "z": 1}, "has no text, but file_name, txt, z; did you mean caption_col"),
        ({"file_name": "a.png"}, "has no text, but file_name; add text"),
        ({"file_name": "a.png", "text": None}, "has the text null, which is no text; write"),
        ('{"file_name": "a.png", "text": "hero \\ud800"}', r"has the text "),
        ('{"file_name": "\\ud800.png", "text": "hero"}', "has the file_name "),
        ({"file_name": ["a.png"], "text": "hero"}, 'has the file_name ["a.png"], which is no name'),
        ({"file_name": "../a.png", "text": "hero"}, 'has the file_name "../a.png"; it must lie in the folder'),
        ({"file_name": "sub/../../a.png", "text": "hero"}, "has the file_name "),
        ({"file_name": "/etc/a.png", "text": "hero"}, 'has the file_name "/etc/a.png"; it must lie'),
        ({"file_name": "C:/a.png", "text": "hero"}, 'has the file_name "C:/a.png"; it must lie'),
        ({"file_name": "sub\\a.png", "text": "hero"}, "has the file_name "),
        ({"file_name": "./good.png", "text": "hero"}, "lists good.png again, as line 1 does; remove one"),
    ],
)
def test_a_bad_line_of_the_metadata_is_named(tmp_path: Path, line: object, fault: str) -> None:
    draw(tmp_path / "good.png", 1)
    draw(tmp_path / "a.png", 2)
    (told,) = faults(listed(tmp_path, [{"file_name": "good.png", "text": "hero"}, "", line]))
    assert told.startswith(f"metadata.jsonl: line 3 {fault}")
    assert len(told) < 250


def test_faults_of_listed_pictures_begin_with_their_names(tmp_path: Path) -> None:
    draw(tmp_path / "sub" / "a.png")
    (tmp_path / "notes.md").write_text("no picture")
    lines = [("sub/a.png", ""), ("gone.png", "hero"), ("notes.md", "hero"), ("x" * 300 + ".png", "hero")]
    told = faults(listed(tmp_path, [{"file_name": name, "text": caption} for name, caption in lines]))
    assert told[:2] == [
        "gone.png: no such picture; add it, or remove line 2 of metadata.jsonl",
        f"{'x' * 300}.png: no such picture; add it, or remove line 4 of metadata.jsonl",
    ]
    assert told[2].startswith("notes.md: not a kind of picture that is read (png, jpg")
    assert told[3] == "sub/a.png: its caption in line 1 of metadata.jsonl is empty; describe the picture"
    (tmp_path / "metadata.jsonl").write_text("\n")
    assert faults(tmp_path)[0].startswith("metadata.jsonl: lists no pictures; a line is such as")


def test_a_message_holds_twenty_faults_and_the_error_all(tmp_path: Path) -> None:
    captioned(tmp_path, {f"{number:02}.png": "nobody" for number in range(23)})
    with pytest.raises(DatasetInvalid, match=r"^00\.png: .*; 19\.png: .*; and 3 more$") as caught:
        read(tmp_path)
    assert len(caught.value.faults) == 23
    assert "20.png" not in str(caught.value)


def test_prior_pictures_must_not_have_the_trigger_word(tmp_path: Path) -> None:
    own = captioned(tmp_path / "own", {"a.png": "hero"})
    prior = captioned(tmp_path / "prior", {"b.png": "a man", "c.png": "a woman", "d.png": "hero", "e.png": "A HERO"})
    told = faults(own, prior_data_dir=str(prior))
    assert told == [
        "d.png (in prior_data_dir): its caption in d.txt has the trigger word hero; "
        "leave it out, or move the picture to train_data_dir",
        "e.png (in prior_data_dir): its caption in e.txt has the trigger word HERO; "
        "leave it out, or move the picture to train_data_dir",
        "b.png (in prior_data_dir): the same picture as a.png; remove one of the two",
    ]
    draw(prior / "b.png", 9)
    for name in ("d", "e"):
        (prior / f"{name}.txt").write_text("a horse")
    both = read(own, prior_data_dir=str(prior))
    assert [Path(one.file).name for one in both.prior] == ["b.png", "c.png", "d.png", "e.png"]
    assert [one.caption for one in (*both.train, *both.prior)] == ["hero", "a man", "a woman", "a horse", "a horse"]


@pytest.mark.parametrize("option", ["train_data_dir", "prior_data_dir"])
def test_a_folder_that_is_none_is_named_by_its_option(tmp_path: Path, option: str) -> None:
    folder = captioned(tmp_path / "own", {"a.png": "hero"})
    (tmp_path / "empty").mkdir()
    for value, reason in {"gone": "no folder", "own/a.png": "is not a folder", "empty": "no pictures in"}.items():
        with pytest.raises(InputError, match=rf"^{option}: .*{reason}") as caught:
            read(folder, **{option: str(tmp_path / value)})
        assert len(str(caught.value).splitlines()) == 1


def test_a_name_that_is_not_utf_8_is_a_fault(tmp_path: Path) -> None:
    captioned(tmp_path, {"a.png": "hero"})
    (tmp_path / "b\udcff.png").write_bytes(b"any")
    assert faults(tmp_path) == ["b\\udcff.png: its name is not UTF-8; rename it"]


def test_each_picture_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = captioned(tmp_path / "own", {f"{number}.png": "hero" for number in range(3)})
    prior = tmp_path / "prior"
    draw(prior / "p.png", 7)
    (prior / "p.txt").write_text("a man")
    opened = list[str]()

    def noted(file: Path) -> Image.Image:
        opened.append(file.name)
        return open_picture(file)

    monkeypatch.setattr(dataset, "open_picture", noted)
    options = TrainingOptions(train_data_dir=str(own), prior_data_dir=str(prior), resolution=64, trigger="hero")
    read_set(options, count_words)
    assert opened == ["0.png", "1.png", "2.png", "p.png"]
