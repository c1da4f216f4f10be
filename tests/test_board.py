"""The board's directory and its report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from written_boards import WEIGHTS, render_config_of

from models.board.directory import create_board, frame_name, is_finished, place_frame, write_json
from models.board.pages import report_markdown
from models.board.report import Report, Run, build_report, outcome
from models.board.summary import summary_lines
from models.errors import CorruptFile, ObjectNotFound, StorageError
from models.records import Candidate, FramePrompt, FrameResult, Scene, SceneBreakdown, Story
from models.scores import Scores
from models.settings import StoryboardOptions

NOON = datetime(2025, 10, 19, 5, 28, 51, tzinfo=UTC)
PNG = b"\x89PNG of any kind"


def scene(number: int) -> Scene:
    caption = f"Алдар Көсе базарға келді, {number}"
    return Scene(number=number, caption=caption, action="is talking", place="bazaar", time="at noon", shot="wide shot")


def breakdown(frames: int) -> SceneBreakdown:
    scenes = tuple(scene(number) for number in range(1, frames + 1))
    story = Story(text="Алдар Көсе байды алдады 🐫")
    return SceneBreakdown(story=story, writer="offline/3", title="Тесік тон", cast=(), scenes=scenes)


def result(number: int, *consistency: float | None, prompt: float = 0.31, accepted: bool = True) -> FrameResult:
    """A frame with one candidate per score; the last is the chosen one."""
    candidates = [
        Candidate(
            attempt=attempt,
            seed=42 + number * 1000 + attempt * 10,
            file=f"/store/{number}-{attempt}.png",
            sha256=hashlib.sha256(f"{number}-{attempt}".encode()).hexdigest(),
            scores=Scores(consistency=score, prompt=prompt),
            accepted=accepted and attempt == len(consistency) - 1,
            reasons=() if accepted and attempt == len(consistency) - 1 else (f"image similarity {score} is under 0.5",),
        )
        for attempt, score in enumerate(consistency)
    ]
    return FrameResult(
        prompt=FramePrompt(scene=scene(number), prompt=f"aldar {number}", negative_prompt="photo", tokens=9),
        file=candidates[-1].file,
        sha256=candidates[-1].sha256,
        seed=candidates[-1].seed,
        attempts=len(candidates),
        accepted=accepted,
        candidates=tuple(candidates),
        painted=len(candidates) - 1,
    )


ONE = "python -m flows.redo_frame 'my boards/1' 2"
BARS = {"threshold": 0.5, "prompt_threshold": 0.2}


def report(results: Sequence[FrameResult], options: StoryboardOptions | None = None) -> Report:
    chosen = options or StoryboardOptions.model_validate(BARS)
    run = Run(
        render_config=render_config_of(chosen, WEIGHTS.model_copy(update={"adapter": None})),
        device="cpu",
        seconds={"story": 0.5, "frames": 11.25},
        started=NOON,
        finished=NOON + timedelta(seconds=12.5),
    )
    return build_report(breakdown(len(results)), results, chosen, run)


# --- the directory


def test_a_board_is_named_by_its_second(tmp_path: Path) -> None:
    board = create_board(tmp_path / "deep" / "outputs", NOON)
    assert board == tmp_path / "deep" / "outputs" / "terminal_generation_20251019_052851"
    assert board.is_dir()
    assert create_board(tmp_path).name[:20] == "terminal_generation_"


def test_runs_of_one_second_never_share_a_board(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        boards = list(pool.map(lambda _: create_board(tmp_path, NOON), range(64)))
    assert len(set(boards)) == 64
    name = "terminal_generation_20251019_052851"
    assert {board.name for board in boards} == {name, *(f"{name}_{count}" for count in range(2, 65))}


def test_an_output_directory_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("")
    with pytest.raises(StorageError, match="outputs") as caught:
        create_board(tmp_path / "outputs")
    assert "\n" not in str(caught.value)


def placed(tmp_path: Path) -> tuple[Path, FrameResult]:
    """A board, and a frame whose picture lies outside it."""
    picture = tmp_path / "picture.png"
    picture.write_bytes(PNG)
    update = {"file": str(picture), "sha256": hashlib.sha256(PNG).hexdigest()}
    return create_board(tmp_path, NOON), result(12, 0.7).model_copy(update=update)


def test_a_frame_is_the_stores_picture_byte_for_byte(tmp_path: Path) -> None:
    board, frame = placed(tmp_path)
    for _ in range(2):  # a repeated stage puts the same file there again
        path = place_frame(board, frame)
        assert path == board / "frame_012.png"
        assert path.read_bytes() == PNG
    assert [path.name for path in board.iterdir()] == ["frame_012.png"]


def test_a_changed_or_missing_picture_is_not_placed(tmp_path: Path) -> None:
    board, frame = placed(tmp_path)
    Path(frame.file).write_bytes(PNG[:-1])
    with pytest.raises(CorruptFile, match="frame 12"):
        place_frame(board, frame)
    Path(frame.file).unlink()
    with pytest.raises(ObjectNotFound, match="frame 12"):
        place_frame(board, frame)
    assert not list(board.iterdir())


def test_json_is_written_for_people(tmp_path: Path) -> None:
    write_json(tmp_path, "scene_breakdown.json", breakdown(2))
    write_json(tmp_path, "sdxl_prompts.json", [result(1, None).prompt, result(2, 0.7).prompt])
    text = (tmp_path / "scene_breakdown.json").read_text(encoding="utf-8")
    assert "Алдар Көсе байды алдады 🐫" in text
    assert SceneBreakdown.model_validate_json(text) == breakdown(2)
    assert [one["prompt"] for one in json.loads((tmp_path / "sdxl_prompts.json").read_bytes())] == [
        "aldar 1",
        "aldar 2",
    ]


def test_only_the_report_marks_a_board_as_finished(tmp_path: Path) -> None:
    board = create_board(tmp_path, NOON)
    write_json(board, "scene_breakdown.json", breakdown(1))
    assert not is_finished(board)
    write_json(board, "report.json", report([result(1, None)]))
    assert is_finished(board)


# --- the report


def test_consistency_is_over_the_frames_after_the_reference() -> None:
    made = report([result(1, None), result(2, 0.4, 0.9), result(3, 0.6)])
    assert made.average_consistency == pytest.approx(0.75)
    assert made.min_consistency == 0.6
    assert [frame.consistency_score for frame in made.frames] == [None, 0.9, 0.6]
    assert [frame.reference for frame in made.frames] == [True, False, False]


def test_what_was_not_measured_is_null(tmp_path: Path) -> None:
    raw = json.loads(write_json(tmp_path, "report.json", report([result(1, None)])).read_bytes())
    assert raw["average_consistency"] is None
    assert raw["min_consistency"] is None
    assert raw["frames"][0]["consistency_score"] is None
    assert raw["weights"]["adapter"] is None
    assert (raw["base_seed"], raw["num_frames"], raw["pipeline"]) == (42, 1, "reference_guided")


def test_every_candidate_is_reported_with_its_verdict() -> None:
    made = report([result(1, None), result(2, 0.4, 0.9)])
    first, second = made.frames[1].candidates
    assert (first.seed, first.scores.consistency, first.accepted) == (2042, 0.4, False)
    assert first.reasons == ("image similarity 0.4 is under 0.5",)
    assert (second.seed, second.accepted, second.reasons) == (2052, True, ())
    assert made.frames[1].seed == 2052
    assert made.frames[1].file == frame_name(2) == "frame_002.png"
    assert "/store/" not in made.model_dump_json()


def test_the_report_comes_back_from_its_file(tmp_path: Path) -> None:
    made = report(
        [result(1, None), result(2, 0.4, accepted=False)],
        StoryboardOptions(threshold=0.6, prompt_threshold=0.2, seed=7),
    )
    text = write_json(tmp_path, "report.json", made).read_text(encoding="utf-8")
    assert Report.model_validate_json(text) == made
    assert (made.base_seed, made.threshold, made.prompt_threshold) == (7, 0.6, 0.2)
    assert (made.weak_frames, made.seconds["frames"]) == ((2,), 11.25)
    assert json.loads(text)["started"] == "2025-10-19T05:28:51Z"
    assert made.versions["python"]
    assert made.versions["pillow"]


def test_a_report_of_an_earlier_version_is_read() -> None:
    told = report([result(1, None), result(2, 0.7)])
    earlier = json.loads(told.model_dump_json())
    earlier["studio"] = earlier.pop("render_config")
    assert Report.model_validate_json(json.dumps(earlier)) == told


@pytest.mark.parametrize("side", [None, 512])
def test_a_report_of_a_version_that_had_squares_alone_is_read(side: int | None) -> None:
    told = report([result(1, None)], StoryboardOptions(width=side, height=side))
    earlier = json.loads(told.model_dump_json())
    for name in ("aspect", "width", "height"):
        del earlier["options"][name]
    earlier["options"]["size"] = side
    assert Report.model_validate_json(json.dumps(earlier)) == told


def test_options_of_a_command_are_reported_without_what_is_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Command(StoryboardOptions):
        openai_api_key: str = "sk-secret"

    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    made = report([result(1, None)], Command(attempts=5))
    assert made.options == StoryboardOptions(attempts=5)
    assert "sk-secret" not in made.model_dump_json()


# --- the summary


def test_the_summary_has_an_aligned_line_per_frame() -> None:
    frames = [result(number, *([None] if number == 1 else [0.45, 0.71])) for number in range(1, 13)]
    lines = summary_lines(report(frames))
    assert lines[0] == "Тесік тон"
    table = lines[2:15]
    assert len({len(line) for line in table}) == 1
    assert table[1].split() == ["1", "accepted", "reference", "0.31", "1", "1042"]
    assert table[12].split() == ["12", "accepted", "0.71", "0.31", "2", "12052"]
    assert lines[-1] == "image similarity 0.71 on average, 0.71 at least (threshold: 0.50); 11 painted in 12.5 s"


def test_a_size_that_the_base_was_not_trained_on_is_noted(tmp_path: Path) -> None:
    noted = report([result(1, None)], StoryboardOptions(width=320, height=200))
    (note,) = noted.warnings
    assert note.startswith("320x200: profile steppe was trained on 256x256, 336x192, 192x336 pixels; ")
    assert f"- **Warning:** {note}" in report_markdown(noted, tmp_path)
    for usual in ({}, {"width": 256, "height": 256}, {"profile": "sdxl", "aspect": "16:9"}):
        assert report([result(1, None)], StoryboardOptions.model_validate(usual)).warnings == ()


def test_a_single_frame_has_no_likeness() -> None:
    assert "image similarity – on average, – at least" in summary_lines(report([result(1, None)]))[-1]


@pytest.mark.parametrize(
    ("weak", "options", "advice"),
    [
        (result(2, 0.4375, accepted=False), {}, "--attempts 6 or --threshold 0.43"),
        (result(2, 0.7, prompt=0.15, accepted=False), {"attempts": 8}, "--attempts 10 or --prompt-threshold 0.15"),
        (result(2, 0.7, accepted=False), {"attempts": 10}, "--seed N (another base seed)"),
    ],
)
def test_weak_frames_come_with_what_to_do(weak: FrameResult, options: dict[str, int], advice: str) -> None:
    told = report([result(1, None), weak], StoryboardOptions.model_validate(BARS | options))
    lines = summary_lines(told, Path("my boards/1"))
    assert outcome(told) == "2 frames, 1 weak: 2"
    assert lines[4].split()[:2] == ["2", "weak"]
    assert lines[-2:] == ["weak frame: 2", f"  try: {ONE}, or python -m flows.storyboard … {advice}"]
