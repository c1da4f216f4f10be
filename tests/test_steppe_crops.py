"""The crops that the small CLIP is trained on: a person, and head and hat, in grey margins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.profiles import ROOT
from steppe import likeness_loss
from steppe.architecture import CLIP_SIZE
from steppe.likeness_loss import FACE, FIGURE, cut_round
from steppe.material import Setup, require_tokenizer
from steppe.stages import run_clip

HEAD = torch.tensor([[100, 80, 10]])


@pytest.fixture(autouse=True)
def _exact_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness_loss, "ASTRAY", 0.0)


def picture(high: int = 192, wide: int = 336) -> Tensor:
    """Return a picture whose red tells the column and whose green tells the row, [1, 3, high, wide] in 0..1."""
    columns, rows = (torch.arange(wide) + 0.5) / wide, (torch.arange(high) + 0.5) / high
    red, green = columns.expand(high, wide), rows[:, None].expand(high, wide)
    return torch.stack([red, green, torch.ones(high, wide)])[None]


def middle(seen: Tensor) -> tuple[float, float]:
    """Return the column and row of the picture that is in the crop's middle."""
    red, green = (seen[0, channel, 63:65, 63:65].mean().item() for channel in (0, 1))
    return red * 336, green * 192


def inside(seen: Tensor) -> tuple[int, int]:
    """Return width and height of what is no grey margin."""
    known = seen[0, 2] > 0.5
    return int(known.any(dim=0).sum()), int(known.any(dim=1).sum())


def test_a_figure_is_high_and_a_face_is_nearly_square() -> None:
    figure, face = (cut_round(picture(), HEAD, part) for part in (FIGURE, FACE))
    assert figure.shape == face.shape == (1, 3, CLIP_SIZE, CLIP_SIZE)
    assert middle(figure) == pytest.approx((100, 80 + 10 * (6.4 - 2.6) / 2), abs=0.5)
    assert middle(face) == pytest.approx((100, 80 - 10 * 0.3), abs=0.5)
    assert inside(figure) == pytest.approx((CLIP_SIZE * 48 / 90, CLIP_SIZE), abs=2)
    assert inside(face) == pytest.approx((CLIP_SIZE, CLIP_SIZE * 46 / 48), abs=2)


def test_what_lies_outside_the_picture_is_cut_off() -> None:
    seen = cut_round(picture(), torch.tensor([[0, 5, 10]]), FACE)  # half of it is left, a third of it above
    assert inside(seen) == pytest.approx((CLIP_SIZE * 24 / 25, CLIP_SIZE), abs=3)
    assert middle(seen) == pytest.approx((12, 12.5), abs=0.5)


def test_each_picture_is_cut_at_its_own_head() -> None:
    both = cut_round(picture().expand(2, -1, -1, -1), torch.tensor([[100, 80, 10], [200, 90, 20]]), FIGURE)
    assert middle(both[1:]) == pytest.approx((200, (90 - 52 + 192) / 2), abs=0.5)  # the feet are below
    assert middle(both[:1]) == pytest.approx((100, 99), abs=0.5)


def test_nobody_in_the_picture_gives_a_crop_all_the_same() -> None:
    seen = cut_round(picture(), torch.tensor([[0, 0, 0]]), FIGURE)
    assert seen.shape == (1, 3, CLIP_SIZE, CLIP_SIZE) and bool(seen.isfinite().all())


def test_edges_go_astray_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness_loss, "ASTRAY", 0.4)
    torch.manual_seed(0)
    rows = [middle(cut_round(picture(), HEAD, FIGURE))[1] for _ in range(20)]
    assert 2 < max(rows) - min(rows) < 30


def test_clip_does_not_go_on_with_another_tokenizer(tmp_path: Path) -> None:
    for name in ("tokenizer", "clip"):
        shutil.copytree(ROOT / "weights" / "steppe" / name, tmp_path / name)
    setup = Setup(work=tmp_path, out=tmp_path, device="cpu", further=True)
    require_tokenizer(setup, "clip")
    other = tmp_path / "clip" / "tokenizer.json"
    words = json.loads(other.read_text(encoding="utf-8"))
    vocabulary = words["model"]["vocab"]
    vocabulary["of</w>"], vocabulary["me"] = vocabulary["me"], vocabulary["of</w>"]
    other.write_text(json.dumps(words), encoding="utf-8")
    with pytest.raises(ValueError, match=r"clip: its tokenizer is not .*tokenizer; train it from nothing"):
        run_clip(setup)
