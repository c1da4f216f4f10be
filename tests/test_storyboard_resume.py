"""Nothing is paid for twice: second runs, edited scenes, harmed files, other thresholds, kills and Ctrl-C."""

from __future__ import annotations

import datetime as clock
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_runs import STORY, Ran, Stage, scenes_of, with_scene
from PIL import Image
from waiting import DEADLINE, until

from models.board import directory
from models.frames import generate

TESTS = Path(__file__).parent


def test_attempts_take_the_next_seeds_and_the_best_is_kept(stage: Stage) -> None:
    ran = stage.run(threshold=1.0, attempts=3)
    assert ran.state.is_completed()
    assert ran.report.weak_frames == (2, 3)
    for frame in ran.report.frames[1:]:
        first = frame.number * 1000 + 42
        assert [candidate.seed for candidate in frame.candidates] == [first, first + 10, first + 20]
        assert (frame.attempts, frame.painted, frame.accepted) == (3, 3, False)
        best = max(frame.candidates, key=lambda one: (one.scores.consistency or 0) + one.scores.prompt)
        assert (frame.seed, frame.sha256) == (best.seed, best.sha256)
        assert all("is under 1.0" in candidate.reasons[0] for candidate in frame.candidates)
    runs = ran.task_runs("frame 1", "frame 2", "frame 3")
    assert [runs[f"frame {number}"].run_count for number in (1, 2, 3)] == [1, 3, 3]
    assert "Weak frames:** 2, 3" in str(ran.artifacts()["report"].data)
    assert ran.state.message == "3 frames, 2 weak: 2, 3"


def test_a_weak_reference_is_kept_too(stage: Stage) -> None:
    ran = stage.run(prompt_threshold=1.0, attempts=2, frames=2)
    assert ran.report.weak_frames == (1, 2)
    assert [candidate.seed for candidate in ran.report.frames[0].candidates] == [42, 52]


def test_a_second_run_paints_nothing(stage: Stage, told: Ran) -> None:
    stage.begin_with(told)
    again = stage.run(frames=6)
    assert again.painted == [0] * 6
    assert again.pictures == told.pictures
    assert again.board.name != told.board.name
    assert len(stage.boards()) == 2
    assert not any(key.startswith("frame-") for key in again.artifacts() if key)


def test_two_runs_of_one_second_have_a_directory_each(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(clock.datetime):
        @classmethod
        def now(cls, tz: clock.tzinfo | None = None) -> Stopped:
            return cls(2025, 10, 19, 5, 28, 51)

    monkeypatch.setattr(directory, "datetime", Stopped)
    first, second = stage.run(frames=1), stage.run(frames=1)
    assert [board.name for board in stage.boards()] == [
        "terminal_generation_20251019_052851",
        "terminal_generation_20251019_052851_2",
    ]
    assert (first.painted, second.painted) == ([1], [0])
    assert first.pictures == second.pictures


def test_an_edited_scene_paints_its_frame_alone(stage: Stage, told: Ran) -> None:
    stage.begin_with(told)
    stage.put_scenes(with_scene(scenes_of(told), 4, place="in the mountains", caption="They climb."))
    ran = stage.run(frames=6)
    assert ran.painted == [0, 0, 0, 1, 0, 0]
    assert [new == old for new, old in zip(ran.pictures, told.pictures, strict=True)] == [1, 1, 1, 0, 1, 1]
    assert ran.report.frames[3].scene.caption == "They climb."


def test_an_edited_first_scene_paints_all_since_all_are_like_it(stage: Stage, told: Ran) -> None:
    stage.begin_with(told)
    stage.put_scenes(with_scene(scenes_of(told), 1, place="in the mountains"))
    assert stage.run(frames=6).painted == [1] * 6


def test_a_lost_or_changed_picture_is_painted_again(stage: Stage, told: Ran) -> None:
    stage.begin_with(told)
    lost, changed = (stored(stage, told, number) for number in (2, 3))
    lost.unlink()
    changed.write_bytes(changed.read_bytes()[:-1] + b"\0")
    ran = stage.run(frames=6)
    assert ran.painted == [0, 1, 1, 0, 0, 0]
    assert ran.pictures == told.pictures


def stored(stage: Stage, told: Ran, number: int) -> Path:
    sha256 = told.report.frames[number - 1].sha256
    return stage.output / ".store" / "png" / sha256[:2] / f"{sha256}.png"


def test_another_threshold_judges_the_same_pictures_again(stage: Stage, told: Ran) -> None:
    stage.begin_with(told)
    strict = stage.run(frames=6, threshold=1.0, attempts=2)
    assert strict.painted == [0, 1, 1, 1, 1, 1]
    assert [frame.candidates[0].sha256 for frame in strict.report.frames] == [
        frame.sha256 for frame in told.report.frames
    ]
    loose = stage.run(frames=6, threshold=-1.0, attempts=2)
    assert loose.painted == [0] * 6
    assert loose.pictures == told.pictures


def test_refresh_paints_all_anew_and_the_same(stage: Stage, told: Ran) -> None:
    stage.begin_with(told)
    stage.put_scenes(with_scene(scenes_of(told), 1, place="in the mountains"))
    ran = stage.run(frames=6, refresh=True)
    assert ran.painted == [1] * 6
    assert scenes_of(ran) == scenes_of(told)
    assert ran.pictures == told.pictures


def test_refresh_goes_through_the_seeds_once(stage: Stage) -> None:
    weak = stage.run(frames=2, threshold=1.0, attempts=2)
    again = stage.run(frames=2, threshold=1.0, attempts=2, refresh=True)
    assert again.painted == weak.painted == [1, 2]
    assert again.pictures == weak.pictures


@pytest.mark.parametrize("earlier", [1, 2])
def test_a_near_copy_is_painted_again_with_the_next_seed(
    stage: Stage, told: Ran, monkeypatch: pytest.MonkeyPatch, earlier: int
) -> None:
    original = generate.seed_of
    scenes = scenes_of(told)
    same = scenes.scenes[earlier - 1].model_copy(update={"number": 3})
    short = scenes.model_copy(update={"scenes": (*scenes.scenes[:2], same)})
    stage.put_scenes(short)

    def seed_of(base: int, number: int, attempt: int) -> int:
        """Frame 3 starts on the seed of the earlier frame."""
        return original(base, earlier if (number, attempt) == (3, 0) else number, attempt)

    monkeypatch.setattr(generate, "seed_of", seed_of)
    ran = stage.run(pipeline="simplified")
    third = ran.report.frames[2]
    assert (third.attempts, third.painted, third.seed, third.accepted) == (2, 2, 3052, True)
    assert f"near copy of earlier frame {earlier}" in third.candidates[0].reasons[0]
    assert ran.painted == [1, 1, 2]
    pixels = [Image.open(ran.board / f"frame_00{number}.png").tobytes() for number in (1, 2, 3)]
    assert len(set(pixels)) == 3
    assert stage.run(pipeline="simplified").painted == [0, 0, 0]


# --- what is stopped from outside


class Driver:
    """The command line in a process of its own, which stands still in the middle of frame 4's painting."""

    def __init__(self, stage: Stage, models: Path, folder: Path, server: str) -> None:
        self.painting = folder / "painting"
        options = stage.options(frames=6, output_dir=str(stage.output))
        given = {"models": str(models), "story": STORY, "options": options.model_dump(exclude_unset=True, mode="json")}
        given["painting"] = str(self.painting)
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "stopped_flow.py"), json.dumps(given)],
            env=os.environ | {"PREFECT_API_URL": server},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def reach_frame_4(self) -> None:
        until(lambda: self.painting.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()[1]


@pytest.fixture
def driver(
    stage: Stage, prefect_server: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driver]:
    own = Driver(stage, tmp_path_factory.getbasetemp() / "tiny_world", tmp_path, prefect_server)
    yield own
    if own.process.poll() is None:
        own.process.kill()
    own.process.communicate(timeout=DEADLINE)


def unfinished(stage: Stage) -> Path:
    """The only board there is, which must not look finished; nothing in it or in the store is half written."""
    (board,) = stage.boards()
    assert not (board / "report.json").exists()
    for file in stage.output.rglob("*.png"):
        Image.open(file).load()
    for file in stage.output.rglob("*.json"):
        json.loads(file.read_bytes())
    assert not list(stage.output.rglob(".*.tmp"))
    return board


def test_after_kill_9_what_was_finished_is_kept(driver: Driver, stage: Stage, told: Ran) -> None:
    driver.reach_frame_4()
    driver.process.kill()
    driver.process.communicate(timeout=DEADLINE)
    assert sorted(path.name for path in unfinished(stage).glob("frame_*")) == [f"frame_00{n}.png" for n in (1, 2, 3)]
    assert len(stage.entries()) == 3
    ran = stage.run(frames=6)
    assert ran.painted == [0, 0, 0, 1, 1, 1]
    assert ran.pictures == told.pictures
    assert len(stage.entries()) == 6


def test_ctrl_c_stops_at_once_in_one_line_and_keeps_what_was_finished(driver: Driver, stage: Stage, told: Ran) -> None:
    driver.reach_frame_4()
    driver.process.send_signal(signal.SIGINT)
    output, errors = driver.process.communicate(timeout=DEADLINE)
    assert driver.process.returncode == 130, errors
    assert errors.splitlines()[-1] == "error: interrupted; run the same command again to go on"
    assert "Traceback" not in errors
    assert output == ""
    unfinished(stage)
    assert len(stage.entries()) == 3, "it went on painting"
    ran = stage.run(frames=6)
    assert ran.painted == [0, 0, 0, 1, 1, 1]
    assert ran.pictures == told.pictures
