"""Screenplays in Fountain and FDX: what of them becomes scenes, and what is refused in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flow_runs import Ran, Stage

from flows.commands.storyboard import parse
from flows.screenplay import screenplay
from models.board.finished import read_board
from models.errors import InputError, StorageError
from models.profiles import SDXL, get_profile
from models.records import SceneBreakdown, Speech
from models.screenplay.beats import read_screenplay
from models.screenplay.options import options_for
from models.screenplay.scenes import write_scenes
from models.settings import StoryboardOptions

STEPPE = get_profile("steppe")
TALE = """\
Title: The **Coat**
Author: somebody

EXT. BAZAAR - DAY

Aldar walks through the bazaar. /* a comment
over lines */

The KHAN stops him. [[a note]]

KHAN
(laughing)
Sell me your *coat*!

ALDAR KÖSE (O.S.)
It is not for sale.

INT. KHAN'S YURT - NIGHT

CUT TO:

НАТ. СТЕПЬ - ВЕЧЕР

Алдар скачет на коне.

ҚАРТ АТА
Тоқта!
"""
FDX = """\
<?xml version="1.0" encoding="{encoding}"?>
<FinalDraft DocumentType="Script" Version="5"><Content>
<Paragraph Type="Scene Heading"><Text>EXT. BAZAAR - DAY</Text></Paragraph>
<Paragraph Type="Action"><Text>Aldar walks </Text><Text Style="Bold">through the bazaar.</Text></Paragraph>
<Paragraph><DualDialogue>
<Paragraph Type="Character"><Text>KHAN (V.O.)</Text></Paragraph>
<Paragraph Type="Dialogue"><Text>Продай шубу!</Text></Paragraph>
</DualDialogue></Paragraph>
</Content></FinalDraft>
"""


def written(tmp_path: Path, text: str = TALE, ending: str = "fountain", encoding: str = "utf-8") -> Path:
    file = tmp_path / f"tale.{ending}"
    file.write_bytes(text.encode(encoding))
    return file


def scenes(file: Path, profile: Any = SDXL) -> SceneBreakdown:
    return write_scenes(file, profile)[0]


def test_a_screenplay_becomes_a_panel_a_beat(tmp_path: Path) -> None:
    found, empty = write_scenes(written(tmp_path), SDXL)
    assert (found.title, found.writer, empty) == ("The Coat", "screenplay/1", ("INT. KHAN'S YURT - NIGHT",))
    assert [(each.place, each.time) for each in found.scenes] == [("bazaar", "by day")] * 2 + [("степь", "at sunset")]
    assert [each.caption for each in found.scenes] == [
        "Aldar walks through the bazaar.",
        "The KHAN stops him.",
        "Алдар скачет на коне.",
    ]
    assert [each.action for each in found.scenes] == [
        "walks through the bazaar",
        "is seen while The KHAN stops him",
        "скачет на коне",
    ]
    assert [each.cast for each in found.scenes] == [(), ("the khan",), ("the old man",)]
    assert found.cast[0].description == "a khan in a red robe and a crown"
    assert found.scenes[1].panel.dialogue == (
        Speech(speaker="the khan", text="Sell me your coat!"),
        Speech(speaker="Aldar Köse", text="It is not for sale."),
    )
    assert found.scenes[1].panel.notes == "Khan: laughing; Aldar Köse: O.S."
    assert [each.panel.shot_number for each in found.scenes] == ["1", "2", "3"]


def test_a_base_with_a_vocabulary_is_told_only_what_it_knows(tmp_path: Path) -> None:
    found = scenes(written(tmp_path), STEPPE)
    assert [(each.action, each.place, each.time) for each in found.scenes] == [
        ("is walking", "bazaar", "by day"),
        ("is talking to the khan", "bazaar", "by day"),
        ("is talking to the old man", "in the steppe", "at sunset"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_both_formats_are_read_in_the_encodings_that_programs_write(encoding: str, tmp_path: Path) -> None:
    assert len(read_screenplay(written(tmp_path, encoding=encoding)).beats) == 3
    named = encoding.removesuffix("-sig")
    found = scenes(written(tmp_path, FDX.format(encoding=named), "fdx", encoding))
    [only] = found.scenes
    assert only.caption == "Aldar walks through the bazaar."
    assert only.panel.dialogue == (Speech(speaker="the khan", text="Продай шубу!"),)
    assert only.panel.notes == "Khan: V.O."
    assert found.title == "tale"


def test_a_long_exchange_takes_several_panels(tmp_path: Path) -> None:
    words = "".join(f"KHAN\nNo {number}.\n\nALDAR\nYes {number}.\n\n" for number in range(5))
    found = scenes(written(tmp_path, f"EXT. STEPPE - NIGHT\n\nThey argue.\n\n{words}"))
    assert [len(each.panel.dialogue) for each in found.scenes] == [4, 4, 2]


BOMB = '<!DOCTYPE f [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;">]><FinalDraft><Content>&b;</Content></FinalDraft>'
OUTSIDE = '<!DOCTYPE f [<!ENTITY a SYSTEM "file:///etc/passwd">]><FinalDraft><Content>&a;</Content></FinalDraft>'


@pytest.mark.parametrize(
    ("ending", "text", "problem"),
    [
        ("fdx", BOMB, ": has a document type or entities"),
        ("fdx", OUTSIDE, ": has a document type or entities"),
        ("fdx", "<FinalDraft><Content>", ": is not XML: "),
        ("fdx", "", ": is not XML: "),
        ("fdx", '<?xml version="1.0" encoding="klingon"?><a/>', ": is not XML"),
        ("fdx", "<html/>", ": is no Final Draft screenplay"),
        ("fdx", "<FinalDraft><Content/></FinalDraft>", ": has no action and no dialogue"),
        ("fdx", "<FinalDraft>" * 5000 + "</FinalDraft>" * 5000, ": is no Final Draft screenplay"),
        ("fountain", "", ": has no action and no dialogue"),
        ("fountain", "INT. YURT - DAY\n\nEXT. BAZAAR - DAY\n", ": has no action and no dialogue"),
        ("fountain", "EXT. X - DAY\n\nHe waits.\n/* never closed", ", about line 4: /* is not closed by */"),
        ("fountain", "He waits.\n\n" * 25, ": has 25 beats (actions and exchanges), a storyboard at most 24 frames"),
        ("fountain", "a\0b", ": is not text: it has NUL characters"),
        ("pdf", "x", ": a screenplay ends in .fountain or .fdx, got '.pdf'"),
        ("fountain", "x" * 2_000_001, ": has 2000001 bytes, a screenplay at most 2000000"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_no_screenplay_is_refused_in_one_line(ending: str, text: str, problem: str, tmp_path: Path) -> None:
    file = written(tmp_path, text, ending)
    with pytest.raises(InputError, match=re.escape(f"{file}{problem}")) as refused:
        write_scenes(file, SDXL)
    assert "\n" not in str(refused.value)
    assert "root:" not in str(refused.value)


def test_another_encoding_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"byte \d+ is not UTF-8; save the file as UTF-8"):
        write_scenes(written(tmp_path, encoding="cp1251", text="ИНТ. ЮРТА\n\nОн спит.\n"), SDXL)
    with pytest.raises(StorageError, match=r"no\.fountain"):
        write_scenes(tmp_path / "no.fountain", SDXL)


def test_a_storyboard_is_made_of_it(stage: Stage, tmp_path: Path) -> None:
    options = StoryboardOptions.model_validate(stage.options().model_dump(exclude_unset=True, exclude={"frames"}))
    ran = Ran(screenplay(str(written(tmp_path)), options, return_state=True), stage.output)
    assert [frame.painted for frame in ran.report.frames] == [1, 1, 1]
    assert (ran.report.writer, ran.report.options.frames, ran.report.title) == ("screenplay/1", 3, "The Coat")
    read_board(ran.board)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--script", "x.fdx", "a story"], "--script stands for the story: leave out 'a story'"),
        (["--script", "x.fdx", "--from", "b"], "--from and --script contradict each other: give one"),
        (["--script", "x.fdx", "--frames", "3"], "--frames: the screenplay says how many frames there are"),
        (["--from", "b", "a story"], "--from stands for the story: leave out 'a story'"),
        (["--from", "b", "--steps", "3"], "--steps: a board is made again with its own settings"),
    ],
)
def test_contradicting_arguments_are_refused(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert problem in capsys.readouterr().err


def test_the_environment_counts_for_a_screenplay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYBOARD_FRAMES", "9")
    monkeypatch.setenv("STORYBOARD_SEED", "7")
    found = options_for(StoryboardOptions(), 3)
    assert (found.frames, found.seed, found.writer) == (3, 7, "offline")
