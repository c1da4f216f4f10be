"""A frame is redone by the settings that were decided when its board was made, and by nothing of today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from written_boards import WEIGHTS, edit, noise, render_config_of, write_board

from models.errors import InputError
from models.frames.generate import FrameJob, generate
from models.profiles import PROFILES
from models.records import FrameResult, Weights
from models.redo.plan import RedoOptions, plan_redo, prepare_frame


def job_of(board: Path, number: int, weights: Weights = WEIGHTS, **wanted: Any) -> FrameJob:
    """The frame's job, as the flow prepares it."""
    redo = plan_redo(board, number, RedoOptions(**wanted))
    return prepare_frame(redo, render_config_of(redo.painting, weights))


def untouched(board: Path, number: int) -> FrameResult:
    """The frame with its own seed. The store finds it only if all that decides its bytes is as it was."""
    seed = 42 if number == 1 else 42 + 1000 * number
    return generate(job_of(board, number, seed=seed).model_copy(update={"earlier": ()}))


def forget_record(board: Path) -> None:
    """Make the report what an earlier version wrote."""

    def change(report: Any) -> None:
        del report["render_config"]
        _forget_shapes(report)
        for frame in report["frames"]:
            del frame["sketch"], frame["sketch_sha256"]

    edit(board / "report.json", change)


def _forget_shapes(report: Any) -> None:
    """Make the options what they were when all pictures were squares."""
    del report["options"]["aspect"], report["options"]["height"]
    report["options"]["size"] = report["options"].pop("width")


def drawn(folder: Path, seed: int = 1) -> str:
    """A sketch."""
    noise(seed, (64, 64)).save(folder / "sketch.png")
    return str(folder / "sketch.png")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets time pass: the profiles have other defaults then."""

    def change() -> None:
        others = {"guidance": 9.0, "control_scale": 0.9, "control_end": 0.9, "native_size": 128, "steps": 77}
        others |= {"consistency_threshold": 0.99, "prompt_threshold": 0.99}
        for name in ("steppe", "sdxl"):
            monkeypatch.setitem(PROFILES, name, PROFILES[name].model_copy(update=others))

    return change


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("speed", ["exact", "fast", "plain"])
@pytest.mark.parametrize("kind", ["guided", "sketched", "simplified", "wide"])
@pytest.mark.parametrize("profile", ["steppe", "sdxl"])
def test_a_frame_with_its_own_seed_is_the_same_bytes(
    tmp_path: Path, later: Any, profile: str, kind: str, speed: str, recorded: bool
) -> None:
    given: dict[str, Any] = {"pipeline": "simplified"} if kind == "simplified" else {}
    if kind == "wide":
        given |= {"width": 96, "height": 64}
    if kind == "sketched":
        given["sketches"] = {1: drawn(tmp_path), 2: drawn(tmp_path)}
    board = write_board(tmp_path / "outputs", profile=profile, speed=speed, **given)
    if not recorded and kind == "wide":
        edit(board / "report.json", lambda report: report.pop("render_config"))
    elif not recorded:
        forget_record(board)
    later()
    for number in (1, 2, 3):
        result = untouched(board, number)
        assert Path(result.file).read_bytes() == (board / f"frame_00{number}.png").read_bytes()
        assert result.accepted


def test_the_steps_of_a_fast_board_are_reduced_once(tmp_path: Path) -> None:
    render_config = job_of(write_board(tmp_path, profile="sdxl", speed="fast"), 2).render_config
    assert (render_config.steps, render_config.sampler, render_config.setup.speed) == (20, "DPM++ 2M", "fast")


def test_a_sketch_that_changed_since_is_refused_and_taken_when_it_is_named(tmp_path: Path) -> None:
    sketch = drawn(tmp_path)
    board = write_board(tmp_path / "outputs", sketches={2: sketch})
    drawn(tmp_path, 2)
    with pytest.raises(InputError, match=f"^frame 2: {sketch} changed since the frame was painted: restore it"):
        job_of(board, 2)
    named = job_of(board, 2, sketch=sketch)
    assert named.sketch is not None
    assert named.sketch.file == sketch
    assert job_of(board, 2, sketch="none").sketch is None
    drawn(tmp_path)
    assert job_of(board, 2).sketch is not None


def test_a_relative_sketch_and_lora_are_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    drawn(tmp_path)
    monkeypatch.chdir(tmp_path)
    board = write_board(tmp_path / "outputs", sketches={2: "sketch.png"})
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert untouched(board, 2).sketch is not None


ONE, OTHER = (f"/once/{name}.safetensors" for name in ("one", "other"))


@pytest.mark.parametrize(
    ("path", "more", "used", "found", "found_more"),
    [
        (None, (), ["weights/steppe/aldar"], None, ()),  # the profile's, wherever the profile lies by now
        ("none", (), [], "none", ()),
        ("one.safetensors", (), ["one.safetensors"], ONE, ()),
        ("s3://steppe/one", (), ["s3://steppe/one"], "s3://steppe/one", ()),
        ("none", ("other.safetensors=0.5",), ["other.safetensors"], "none", (f"{OTHER}=0.5",)),
        (
            "one.safetensors",
            ("other.safetensors=0.5",),
            ["one.safetensors", "other.safetensors"],
            ONE,
            (f"{OTHER}=0.5",),
        ),
        (
            None,
            ("s3://steppe/b=0.5",),
            ["weights/steppe/aldar", "s3://steppe/b"],
            None,
            ("s3://steppe/b=0.5",),
        ),
    ],
)
def test_loras_are_looked_for_where_they_were(
    tmp_path: Path,
    path: str | None,
    more: tuple[str, ...],
    used: list[str],
    found: str | None,
    found_more: tuple[str, ...],
) -> None:
    board = write_board(tmp_path, lora_path=path, more_loras=more)
    adapters = [
        {"path": f"/once/{Path(source).name}", "fingerprint": "e" * 64, "source": source, "strength": 0.5}
        for source in used
    ]

    def change(report: Any) -> None:
        report["render_config"]["setup"].update(adapter=adapters[0] if adapters else None, more_adapters=adapters[1:])

    edit(board / "report.json", change)
    painting = plan_redo(board, 2, RedoOptions()).painting
    assert (painting.lora_path, painting.more_loras) == (found, found_more)


def test_models_that_were_named_by_a_path_are_looked_for_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    board = write_board(tmp_path / "outputs", base="mine", clip="openai/some-clip@v1")
    monkeypatch.chdir("/")
    painting = plan_redo(board, 2, RedoOptions()).painting
    assert (painting.base, painting.clip) == (str(tmp_path / "mine"), "openai/some-clip@v1")
    assert (painting.vae, painting.controlnet) == (None, None)


def test_a_board_of_an_earlier_version_warns_of_its_sketch(tmp_path: Path) -> None:
    board = write_board(tmp_path / "outputs", sketches={2: drawn(tmp_path)})
    forget_record(board)
    (warning,) = plan_redo(board, 2, RedoOptions()).warnings
    assert warning.startswith("Frame 2 uses ")
    assert plan_redo(board, 3, RedoOptions()).warnings == ()
    assert plan_redo(board, 2, RedoOptions(sketch="none")).warnings == ()


def test_a_board_of_an_earlier_version_that_never_says_how_edges_act_is_refused(tmp_path: Path) -> None:
    given: dict[str, Any] = {"sketches": {2: drawn(tmp_path), 3: drawn(tmp_path)}}
    board = write_board(tmp_path / "outputs", **given)
    assert job_of(board, 3, sketch="none").render_config.control_scale == PROFILES["steppe"].control_scale
    forget_record(board)
    with pytest.raises(InputError, match=r"^frame 3: the board is of an earlier version and none of its pictures "):
        job_of(board, 3, sketch="none")
    assert job_of(board, 3).sketch is not None
    told = write_board(tmp_path / "told", control_scale=0.2, control_end=0.5, **given)
    forget_record(told)
    assert job_of(told, 3, sketch="none").render_config.control_end == 0.5


def test_a_frame_whose_sketch_was_taken_away_does_not_get_it_back(tmp_path: Path) -> None:
    board = write_board(tmp_path / "outputs", sketches={2: drawn(tmp_path)})
    bare = write_board(tmp_path / "bare")
    Image.open(bare / "frame_002.png").close()
    (board / "frame_002.png").write_bytes((bare / "frame_002.png").read_bytes())
    other = plan_redo(bare, 2, RedoOptions()).frame
    edit(board / "report.json", lambda report: report["frames"].__setitem__(1, other.model_dump(mode="json")))
    assert job_of(board, 2).sketch is None


@pytest.mark.parametrize(
    ("told", "device"), [("cpu", "cpu"), ("mps", "mps"), ("NVIDIA H100 80GB HBM3", "cuda"), ("cuda:1", "cuda")]
)
def test_the_kind_of_device_is_the_boards(tmp_path: Path, told: str, device: str) -> None:
    board = write_board(tmp_path, device=None)

    def change(report: Any) -> None:
        report["device"] = told
        if told.startswith("cuda"):
            report["render_config"]["setup"]["device"] = told
        else:
            del report["render_config"]

    edit(board / "report.json", change)
    assert plan_redo(board, 2, RedoOptions()).painting.device == device
    assert plan_redo(board, 2, RedoOptions(device="cpu")).painting.device == "cpu"
