"""All forms of an export by name. A further one needs a file with its function, a line here, and its name in
`models.option_types.ExportForm`.

A function writes one file and returns its warnings, each a sentence. It gets the path of a temporary file in the
folder `exports` of the board; `write.py` moves it to its own name, so that nobody sees half a file. Libraries are
imported within the functions, because this module is read before they are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from models.export.archive import write_zip
from models.export.film import write_mp4, write_webm
from models.export.options import ExportOptions
from models.export.panels import ExportBoard
from models.export.pdf import write_pdf
from models.export.shot_list import write_csv, write_xlsx
from models.export.subtitles import write_srt, write_vtt
from models.export.timelines import write_edl, write_fcp_xml, write_otio
from models.export.vistorybench import write_vistorybench
from models.export.web_page import write_html

Make = Callable[[ExportBoard, ExportOptions, Path], tuple[str, ...]]
"""Board, options, file to write -> warnings."""


class Form(NamedTuple):
    """One form."""

    file: str
    """Name of its file in the folder `exports`."""
    about: str
    """What it is, in a few words."""
    make: Make
    last: bool = False
    """Whether it is made after the others, which it holds."""


FORMS: dict[str, Form] = {
    "pdf": Form("storyboard.pdf", "pages to print and to comment on", write_pdf),
    "html": Form("index.html", "one web page with a player", write_html),
    "xlsx": Form("storyboard.xlsx", "the shot list with thumbnails", write_xlsx),
    "csv": Form("storyboard.csv", "the shot list as plain text", write_csv),
    "srt": Form("storyboard.srt", "subtitles for players and editors", write_srt),
    "vtt": Form("storyboard.vtt", "subtitles for web pages", write_vtt),
    "mp4": Form("storyboard.mp4", "film (H.264) for players, editors and web pages", write_mp4),
    "webm": Form("storyboard.webm", "film (VP9) for web pages", write_webm),
    "otio": Form("storyboard.otio", "timeline for OpenTimelineIO, which is also read back", write_otio),
    "fcpxml": Form("storyboard.xml", "timeline for Premiere, Resolve and Final Cut Pro 7", write_fcp_xml),
    "edl": Form("storyboard.edl", "edit decision list, CMX 3600", write_edl),
    "vistorybench": Form("vistorybench.zip", "the board for ViStoryBench's evaluator", write_vistorybench),
    "zip": Form("storyboard.zip", "the board and its exports for another machine", write_zip, last=True),
}
