"""Training folders of strangers: every file is used, or named with the reason."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest
from foreign_sets import draw, jsonl, make, pairs, table

from models.errors import DatasetInvalid, InputError
from models.lora.data.dataset import read_set
from models.lora.data.set_sheet import set_markdown
from models.lora.options import TrainingOptions
from models.lora.records import TrainingPicture, TrainingSet
from models.lora.training.batches import Batches, Place
from models.lora.training.job import updates_of


def options_of(folder: Path, **options: object) -> TrainingOptions:
    fields = {"train_data_dir": str(folder), "resolution": 64, "trigger": "hero", "validation_pictures": 0, **options}
    return TrainingOptions.model_validate(fields)


def read(folder: Path, **options: object) -> TrainingSet:
    return read_set(options_of(folder, **options), lambda text: len(text.split()) + 2)


def captions(found: TrainingSet) -> dict[str, str]:
    return {Path(one.file).relative_to(found.folder).as_posix(): one.caption for one in found.train}


def fault(folder: Path, **options: object) -> str:
    with pytest.raises(DatasetInvalid) as caught:
        read(folder, **options)
    (only,) = caught.value.faults
    return only


def test_pictures_of_all_endings_that_people_have_are_read(tmp_path: Path) -> None:
    endings = ("heic", "HIF", "avif", "jfif", "jpe", "jp2", "apng", "dib")
    names = [f"{number}.{ending}" for number, ending in enumerate(endings)]
    found = read(make(tmp_path, pairs(*names)))
    assert sorted(captions(found)) == sorted(names)
    assert found.passed_over == ()


def test_a_picture_of_a_kind_that_is_not_read_is_a_fault_unless_another_stands_for_it(tmp_path: Path) -> None:
    make(tmp_path, {**pairs("a.png", "b.jxl"), "a.psd": None})
    assert fault(tmp_path).startswith("b.jxl: not a kind of picture that is read (png, jpg")
    draw(tmp_path / "b.png", 9)
    assert read(tmp_path).passed_over == (
        "a.psd: a picture of the same name is used",
        "b.jxl: a picture of the same name is used",
    )


def test_what_a_metadata_file_leaves_out_is_named_file_by_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"{number}.png" for number in range(6)]
    make(tmp_path, {**pairs(*names), "metadata.jsonl": jsonl({"0.png": "hero", "1.png": "hero"}), "z.jxl": None})
    with caplog.at_level(logging.WARNING, "models.lora"):
        found = read(tmp_path)
    assert sorted(captions(found)) == names[:2]
    unlisted = [f"{name}: not listed in metadata.jsonl" for name in (*names[2:], "z.jxl")]
    assert [line for line in found.passed_over if "listed" in line] == unlisted
    assert "0.txt: metadata.jsonl has the captions" in found.passed_over
    assert "5 not used (not listed in metadata.jsonl): 2.png, 3.png, 4.png, 5.png, z.jxl" in caplog.text
    assert "- 2.png: not listed in metadata.jsonl" in set_markdown(found, b"")


def test_every_other_file_is_named_with_its_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    junk = {"Thumbs.db": "x", ".DS_Store": "x", "__MACOSX/._a.png": "x", ".latents/b.png": "x", "a.npz": "x"}
    strays = {"x.caption": "hero", "meta_cap.json": "{}", "film.mp4": "x"}
    make(tmp_path, {**pairs("a.png"), **junk, **strays, **pairs("close-ups/b.png"), **pairs("2024_summer/c.png")})
    with caplog.at_level(logging.INFO, "models.lora"):
        told = read(tmp_path).passed_over
    reasons = dict(line.split(": ", 1) for line in told)
    assert reasons.keys() == {
        *("Thumbs.db", ".DS_Store", "__MACOSX/", ".latents/", "a.npz", *strays),
        *("close-ups/b.png", "close-ups/b.txt", "2024_summer/c.png", "2024_summer/c.txt"),
    }
    assert reasons["close-ups/b.png"].startswith("in a subfolder that is not read; call it as kohya does")
    assert reasons["2024_summer/c.png"] == reasons["close-ups/b.png"], "a year is no number of repeats"
    assert (reasons["x.caption"], reasons["film.mp4"]) == ("no picture has its name", "no picture and no caption")
    assert reasons["meta_cap.json"].startswith("captions are read from .txt, .caption, metadata.jsonl, metadata.csv")
    levels = {record.levelno for record in caplog.records if "hidden" in record.getMessage()}
    assert levels == {logging.INFO}
    named = caplog.text
    assert all(name in named for name in reasons)


def test_the_log_names_ten_of_many_and_says_how_many_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, {**pairs("a.png"), **{f"{number:02}.log": "x" for number in range(13)}})
    with caplog.at_level(logging.WARNING, "models.lora"):
        assert len(read(tmp_path).passed_over) == 13
    assert "13 not used (no picture and no caption): 00.log, 01.log" in caplog.text
    assert "09.log and 3 more" in caplog.text


def test_kohyas_folders_repeat_their_pictures_and_name_those_without_a_caption(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kohya = {**pairs("10_hero man/a.png"), "10_hero man/b.png": None, **pairs("3_more/c.png")}
    make(tmp_path, {**pairs("own.png"), **kohya, **pairs("10_hero man/deeper/d.png")})
    with caplog.at_level(logging.INFO, "models.lora"):
        found = read(tmp_path)
    expected = {"10_hero man/a.png": "hero sits", "10_hero man/b.png": "hero man", "3_more/c.png": "hero sits"}
    assert captions(found) == {**expected, "own.png": "hero sits"}
    assert [one.repeats for one in found.train] == [10, 10, 3, 1]
    assert found.shown_in_a_pass == 24
    assert "10_hero man: 2 pictures, each 10 times in a pass, as its name says" in caplog.text
    assert "10_hero man: 1 pictures have no caption of their own; the folder's words are it: hero man" in caplog.text
    assert any(line.startswith("10_hero man/deeper/d.png: in a subfolder") for line in found.passed_over)
    passes = options_of(tmp_path, max_train_steps=None, num_train_epochs=2, train_batch_size=4)
    assert updates_of(passes, found.shown_in_a_pass, 1) == 12
    assert "train x 10" in set_markdown(found, b"")


def test_the_words_of_kohyas_folder_are_checked_as_a_caption(tmp_path: Path) -> None:
    make(tmp_path, {"5_a man/a.png": None})
    assert fault(tmp_path) == (
        "5_a man/a.png: its caption in its folder's name 5_a man lacks the trigger word hero; add it, or set trigger "
        "to the word that it has"
    )


def test_the_train_split_of_a_data_set_is_learnt_and_the_others_are_named(tmp_path: Path) -> None:
    lists = {f"{split}/metadata.jsonl": jsonl({"a.png": "hero"}) for split in ("train", "test")}
    make(tmp_path, {"train/a.png": None, "test/a.png": None, **lists, "README.md": "a card"})
    found = read(tmp_path)
    assert captions(found) == {"train/a.png": "hero"}
    assert [line.partition(": ")[0] for line in found.passed_over] == ["README.md", "test/a.png", "test/metadata.jsonl"]
    assert all(line.endswith("not in train/, which is what is trained on") for line in found.passed_over)


def test_pictures_in_subfolders_alone_are_found_and_named(tmp_path: Path) -> None:
    make(tmp_path, {**pairs("img/a.png", "img/b.png"), **pairs("old/c.png"), "log/x.txt": "x"})
    with pytest.raises(InputError, match=r"^train_data_dir: no pictures in .* but in its subfolders img \(2\), old"):
        read(tmp_path)
    make(tmp_path / "gui", pairs("img/10_hero/a.png", "img/2_hat/b.png"))
    with pytest.raises(InputError, match=r"but in its subfolders img \(2\); name one of them"):
        read(tmp_path / "gui")
    make(tmp_path / "zipped", {"set.zip": "x"})
    with pytest.raises(InputError, match=r"no pictures in .*zipped; there is set\.zip; it takes png"):
        read(tmp_path / "zipped")


def test_a_caption_that_several_pictures_share_is_told_and_a_mask_is_no_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, {**pairs("a.png"), "a.heic": None, "a-masklabel.png": None})
    found = read(tmp_path)
    assert sorted(captions(found)) == ["a.heic", "a.png"]
    assert found.passed_over == ("a-masklabel.png: a mask, and masks are not used",)
    assert "a.txt is the caption of all of a.heic, a.png" in caplog.text


def test_folders_that_are_links_are_read_and_a_link_upwards_ends_nothing(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", pairs("a.png"))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "2_hero").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "set")
    assert captions(read(tmp_path / "set")) == {"2_hero/a.png": "hero sits"}


def test_captions_have_the_names_that_programs_give_them(tmp_path: Path) -> None:
    texts = {"a.caption": "hero a", "b.png.txt": "hero b", "img_c.TXT": "hero c", "d.v2.caption": "hero d"}
    make(tmp_path, {"a.png": None, "b.png": None, "IMG_C.PNG": None, "d.v2.png": None, **texts})
    found = read(tmp_path)
    assert captions(found) == {"a.png": "hero a", "b.png": "hero b", "IMG_C.PNG": "hero c", "d.v2.png": "hero d"}
    assert found.passed_over == ()
    (tmp_path / "a.txt").write_text("hero a\n")
    assert captions(read(tmp_path))["a.png"] == "hero a"
    (tmp_path / "a.txt").write_text("hero other")
    assert fault(tmp_path) == "a.png: captions that differ in a.caption and a.txt; keep one"


def test_a_caption_whose_ending_was_given_twice_is_pointed_out(tmp_path: Path) -> None:
    make(tmp_path, {"a.png": None, "a.txt.txt": "hero", "a.v2.png": None, "a.v2.txt": "hero"})
    assert fault(tmp_path) == "a.png: no caption; rename a.txt.txt to a.txt"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_metadata_csv_is_read_as_spreadsheets_write_it(tmp_path: Path, delimiter: str) -> None:
    texts = {"a.png": 'hero, in a "yurt"; at night', "sub/b.png": "hero\twalks\r\n"}
    make(tmp_path, {"a.png": None, "sub/b.png": None, "metadata.csv": ""})
    (tmp_path / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + table(texts, "words", delimiter).encode())
    found = captions(read(tmp_path, caption_column="words"))
    assert found == {"a.png": 'hero, in a "yurt"; at night', "sub/b.png": "hero walks"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image,text\na.png,hero\n", "no column file_name in 'image,text'; its first line is such as file_name,text"),
        ("file_name,text\na.png,hero, sits\n", "line 2 has more values than columns; quote a caption that has commas"),
        (
            "file_name,words\na.png,hero\n",
            "line 2 has no text, but file_name, words; did you mean caption_column words",
        ),
        ('file_name,text\na.png,"hero\n', "line 2 is not CSV: "),
        ("file_name,text\n", "lists no pictures; its first line is such as file_name,text"),
        ("file_name,text\n../a.png,hero\n", 'line 2 has the file_name "../a.png"; it must lie in the folder'),
        ("", "no column file_name in ''"),
    ],
)
def test_a_metadata_csv_that_is_wrong_is_told_by_line(tmp_path: Path, text: str, told: str) -> None:
    make(tmp_path, {"a.png": None, "metadata.csv": text})
    assert fault(tmp_path).startswith(f"metadata.csv: {told}")


def test_two_lists_and_a_json_array_are_one_fault_each(tmp_path: Path) -> None:
    make(tmp_path / "two", {"a.png": None, "metadata.jsonl": jsonl({"a.png": "hero"}), "metadata.csv": "file_name\n"})
    assert fault(tmp_path / "two") == "metadata.jsonl: metadata.csv lists captions too; keep one of the two"
    array = '[\n {"file_name": "a.png",\n  "text": "hero"}\n]'
    make(tmp_path / "array", {"a.png": None, "metadata.jsonl": array})
    assert fault(tmp_path / "array").startswith("metadata.jsonl: one JSON array; write each of its entries on a line")


@pytest.mark.parametrize(
    "caption", ["(hero:1.2) sits", "((hero)) sits", "hero in a {red|blue} robe", "hero __place__", "hero <lora:x:0.8>"]
)
def test_marks_of_prompts_are_read_as_text_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, caption: str
) -> None:
    make(tmp_path, {**pairs("a.png", caption=caption), **pairs("b.png", caption="hero (an old man): sits, 2:1")})
    assert captions(read(tmp_path))["a.png"] == caption
    assert (
        "1 captions have marks of prompts, such as (word:1.2), {a|b} or <lora:x>, which are read as text" in caplog.text
    )


LINES = "hero sits\r\n\n  hero in a \u2028 robe \rhero sits\n"


def test_several_lines_are_what_caption_mode_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, {"a.png": None, "a.txt": LINES})
    with caplog.at_level(logging.WARNING, "models.lora"):
        (joined,) = read(tmp_path).train
    assert joined.captions == ("hero sits hero in a robe hero sits",)
    assert "1 captions have several lines, which are joined (such as a.txt); caption_mode alternatives" in caplog.text
    caplog.clear()
    (first,), (each,) = (read(tmp_path, caption_mode=mode).train for mode in ("first", "alternatives"))
    assert (first.captions, each.captions) == (("hero sits",), ("hero sits", "hero in a robe"))
    assert "joined" not in caplog.text
    (tmp_path / "a.txt").write_text("hero sits\na man\n")
    assert fault(tmp_path, caption_mode="alternatives").startswith("a.png: line 2 of its caption in a.txt lacks the")


def test_a_list_of_captions_in_metadata_are_alternatives(tmp_path: Path) -> None:
    make(tmp_path, {"a.png": None, "metadata.jsonl": jsonl({"a.png": ["hero sits", "hero\nrests"]})})
    assert "has several text; set caption_mode to alternatives, or to first" in fault(tmp_path)
    (each,) = read(tmp_path, caption_mode="alternatives").train
    assert each.captions == ("hero sits", "hero rests")


class _Words:
    """A tokenizer that gives a text the number of its words."""

    model_max_length = 77

    def __call__(self, texts: list[str], **_: object) -> object:
        import torch

        ids = torch.tensor([[len(text.split())] * 77 for text in texts])
        return type("Encoded", (), {"input_ids": ids})


def drawn(train: tuple[TrainingPicture, ...], updates: int) -> Counter[tuple[str, int]]:
    """How often each picture was shown with a caption of so many words."""

    class LoraModel:
        tokenizers = (_Words(), _Words())
        scheduler = type("Scheduler", (), {"config": type("Config", (), {"num_train_timesteps": 10})})

    options = TrainingOptions(train_batch_size=1, trigger="hero")
    batches = Batches(options, TrainingSet(folder="/", train=train), None, LoraModel(), "cpu")  # type: ignore[arg-type]
    rows = [
        batches.rows(batches.train, Place(update, 0, 0, 1).batch_number(options), "order")[0]
        for update in range(updates)
    ]
    return Counter((picture.sha256[0], int(words[0][0])) for picture, words in rows)


def test_a_pass_shows_pictures_as_often_as_they_repeat_and_draws_among_captions() -> None:
    plain = {"file": "/a.png", "width": 64, "height": 64}
    often = TrainingPicture(
        sha256="a" * 64, caption="hero sits", alternatives=("hero", "a hero sits"), repeats=3, **plain
    )
    once = TrainingPicture(sha256="b" * 64, caption="hero in a yurt", **plain)
    shown = drawn((often, once), 40)
    assert sum(count for (picture, _), count in shown.items() if picture == "a") == 30
    assert shown["b", 4] == 10
    assert {words for picture, words in shown if picture == "a"} == {1, 2, 3}
    assert drawn((often, once), 40) == shown
