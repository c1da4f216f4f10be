"""The steppe models' training: every stage runs at a tiny scale, and what it leaves is what the product loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import dummy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from training_runs import make_job, run

from models.diffusion.loading import load, unload
from models.diffusion.painter import paint
from models.diffusion.requests import ControlPicture, PainterSetup, PaintRequest
from models.profiles import PROFILES, get_profile
from models.s3.adapters import fetch_adapter
from models.secrets.keys import Keys
from models.storage.adapters import ADAPTER_FOLDERS
from models.vision.clip import load_scorer, unload_scorer
from steppe import aldar, card, dataset, draw, figures, material, pretrain, stages
from steppe.classifier import HEADS, Classifier, load_classifier, save_classifier
from steppe.easel import SETS, use_weights
from steppe.likeness_loss import letterbox, same_person_loss
from steppe.material import Setup, cut_out, recoloured, unpack_edges
from steppe.measures import Figure, best_split, psnr, roc_auc, share
from steppe.objectives import head_weights
from steppe.shapes import SHAPES
from steppe.tokenizer import END, START, encode
from steppe.validation_scenes import aldars, everybody, head_boxes, heroes
from steppe.world import NONE, Person

TINY = 16


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with every model, each trained for two steps of two drawings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # models this small lose more than they win by waiting for other threads
    folder = tmp_path_factory.mktemp("steppe")
    setup = Setup(work=folder / "work", out=folder / "weights", device="cpu", scale=1e-6)
    with pytest.MonkeyPatch.context() as patch:
        steppe = PROFILES["steppe"]
        patch.setitem(PROFILES, "steppe", steppe)  # so that it comes back, whatever is put there
        in_this_process = SimpleNamespace(get_context=lambda _method: dummy)
        patch.setattr(dataset, "multiprocessing", in_this_process)
        patch.setattr(stages, "draw_set", lambda to, _count, *shape, **more: dataset.draw_set(to, TINY, *shape, **more))
        patch.setattr(material, "RECIPES", {name: replace(one, batch=2) for name, one in material.RECIPES.items()})
        few = aldar.aldar_scenes()[:4]
        patch.setattr(aldar, "aldar_scenes", lambda: few)
        setup.work.mkdir()
        setup.out.mkdir()
        for name in stages.STAGES:
            pretrain.run_stage(name, setup)
        use_weights(setup.out)
        _train_lora(setup)
        yield setup.out
    unload()
    unload_scorer()
    torch.set_num_threads(threads)


def _train_lora(setup: Setup) -> None:
    """Two steps of the training flow's own training, its product put where the profile looks for it."""
    draw.write_images(setup.work / "images", "aldar", aldar.aldar_scenes(), ["square"] * 4, 0)
    two: dict[str, Any] = {"max_train_steps": 2, "checkpointing_steps": 2, "warmup_steps": 1, "rank": 64, "alpha": 32}
    run(make_job(setup.work / "lora", setup.work / "images", profile="steppe", **two))
    for folder in ADAPTER_FOLDERS:
        shutil.copytree(setup.work / "lora" / "checkpoint-2" / folder, setup.out / "aldar" / folder)


def setup_of(adapter: Path | None = None) -> PainterSetup:
    found = fetch_adapter(str(adapter), cache_dir=adapter, keys=Keys()) if adapter else None
    return PainterSetup(
        profile=get_profile("steppe"),
        adapter=found,
        device="cpu",
        precision="fp32",
        with_controlnet=adapter is None,
        batch_size=1,
    )


def request(**changes: Any) -> PaintRequest:
    asked = {"prompt": "a khan stands", "negative_prompt": "", "seed": 1, "size": 256, "steps": 2, "guidance": 3.0}
    return PaintRequest.model_validate(asked | {"control": None} | changes)


class TestStages:
    def test_what_reads_drawings_waits_for_them(self) -> None:
        assert [name for name, stage in stages.STAGES.items() if name != "draw" and "draw" not in stage.after] == []

    def test_every_stage_leaves_its_product(self, trained: Path) -> None:
        assert [name for name, stage in stages.STAGES.items() if not (trained / stage.product).is_file()] == []
        assert not list((trained.parent / "work").glob("*.state.pt"))

    @pytest.mark.parametrize("stage", ["base", "controlnet", "clip", "classifier", "vae", "turbo"])
    def test_a_stage_goes_on_from_its_weights(self, trained: Path, tmp_path: Path, stage: str) -> None:
        out, work = tmp_path / "weights", trained.parent / "work"
        shutil.copytree(trained, out)
        pretrain.run_stage(stage, Setup(work=work, out=out, device="cpu", scale=1e-6, further=True, rate=1e-12))
        for file in trained.rglob("*.safetensors"):
            before, after = load_file(file), load_file(out / file.relative_to(trained))
            assert all(torch.equal(before[name], value) for name, value in after.items()), file
        note = json.loads((out / "recipe" / f"{stage}.json").read_text(encoding="utf-8"))
        assert (note["steps"], [run["steps"] for run in note["again"]], note["again"][0]["rate"]) == (4, [2], 1e-12)
        assert f"from earlier weights: `{stage}` 2 steps of 2 at 1e-12, on" in "\n".join(card.recipe_table(out))

    def test_no_config_tells_where_it_was_trained(self, trained: Path) -> None:
        told = [file for file in trained.rglob("*.json") if str(trained) in file.read_text(encoding="utf-8")]
        assert told == []

    def test_the_product_paints_with_them(self, trained: Path, tmp_path: Path) -> None:
        lines = tmp_path / "lines.png"
        Image.fromarray(everybody(1)[0].picture).save(lines)
        control = ControlPicture(file=str(lines), scale=0.5, end=1.0, kind="reference")
        models = load(setup_of())
        plain, guided = (paint(models, [request(control=given)])[0] for given in (None, control))
        assert plain.finite and guided.finite
        assert plain.image.size == (256, 256)

    def test_the_product_takes_the_lora(self, trained: Path) -> None:
        adapter = trained / "aldar"
        assert {path.name for path in adapter.iterdir()} == set(ADAPTER_FOLDERS)
        assert paint(load(setup_of(adapter)), [request()])[0].finite

    def test_the_product_scores_with_clip(self, trained: Path) -> None:
        scorer = load_scorer(get_profile("steppe"), "cpu")
        picture = Image.fromarray(everybody(1)[0].picture)
        assert scorer.similarity(picture, picture) == pytest.approx(1.0, abs=1e-5)
        assert -1 <= scorer.scores(picture, "a khan stands")[1] <= 1

    def test_latents_have_unit_size(self, trained: Path) -> None:
        means, stds = torch.load(trained.parent / "work/drawings/square" / material.LATENTS, weights_only=True)
        scale = json.loads((trained / "vae" / "config.json").read_text())["scaling_factor"]
        assert (means.float() ** 2 + stds.float() ** 2).mean().sqrt() * scale == pytest.approx(1.0, abs=0.02)

    def test_the_lora_has_the_documents_shape(self, trained: Path) -> None:
        for folder in ADAPTER_FOLDERS:
            config = json.loads((trained / "aldar" / folder / "adapter_config.json").read_text())
            assert (config["r"], config["lora_alpha"]) == (64, 64)  # alpha 32 is in the weights, for all readers
            assert card.count_parameters(trained / "aldar" / folder) > 0

    @pytest.mark.parametrize("text", ["Алдар", "aldar_kose_man", "Көсе 🐎 émigré", "a khan in a red robe", "<|end|>"])
    def test_any_text_has_tokens(self, trained: Path, text: str) -> None:
        tokenizer = material.load_tokenizer(Setup(work=trained, out=trained, device="cpu"))
        inside = tokenizer(text).input_ids[1:-1]
        assert not {START, END} & set(tokenizer.convert_ids_to_tokens(inside))
        assert tokenizer.decode(inside).replace(" ", "") == text.lower().replace(" ", "")
        assert encode(tokenizer, [text, ""]).shape == (2, 77)


class TestFigures:
    def test_one_command_prints_them_all(
        self, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        two_steps = PROFILES["steppe"].model_copy(update={"steps": 2})
        monkeypatch.setattr("steppe.easel.use_weights", lambda _folder: PROFILES.update(steppe=two_steps) or two_steps)
        monkeypatch.setattr(figures, "RECONSTRUCTED", 2)
        out = tmp_path / "figures.json"
        small = ["--pictures", "4", "--drawings", "9", "--out", str(out), "--sheet", str(tmp_path)]
        figures.main(["--weights", str(trained), *small])
        told = json.loads(out.read_text())
        assert {figure["group"] for figure in told["figures"]} == set(figures.MEASURES)
        printed = capsys.readouterr().out
        assert all(figure["name"] in printed for figure in told["figures"])
        assert {path.stem for path in tmp_path.glob("*.png")} == {f"{name}_1" for name in SETS}
        card.main(["--weights", str(trained), "--figures", str(out)])
        written = (trained / "README.md").read_text(encoding="utf-8")
        assert "python -m steppe.figures --pictures 4 --drawings 9" in written
        assert "reconstruction, PSNR" in written

    def test_unmeasured_is_not_met(self) -> None:
        assert share("prompts", "hat", [], goal=75.0).met is False
        assert share("prompts", "hat", []).met is None
        assert figures.format_value(None, "%") == "not measured"

    def test_a_low_goal_is_met_from_below(self) -> None:
        low = Figure(group="aldar", name="bare", value=10.0, count=9, goal=10.0, better="low")
        assert low.met is True
        assert replace(low, value=10.1).met is False

    def test_missing_weights_are_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(PROFILES, "steppe", PROFILES["steppe"])  # so that it comes back
        with pytest.raises(SystemExit, match=r"error: .*vae.config\.json: missing"):
            figures.main(["--weights", str(tmp_path), "--only", "vae"])

    def test_no_pictures_are_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            figures.main(["--pictures", "0"])
        assert "--pictures 0" in capsys.readouterr().err


class TestFormulas:
    def test_auc(self) -> None:
        assert roc_auc([2.0, 3.0], [0.0, 1.0]) == 1.0
        assert roc_auc([0.0, 1.0], [2.0, 3.0]) == 0.0
        assert roc_auc([1.0, 1.0], [1.0]) == 0.5
        assert roc_auc([3.0, 1.0], [2.0, 0.0]) == 0.75
        with pytest.raises(ValueError, match="0 positive"):
            roc_auc([], [1.0])

    def test_best_split(self) -> None:
        assert best_split([2.0, 3.0], [0.0, 1.0]) == (2.0, 1.0)
        assert best_split([1.0, 3.0], [0.0, 2.0])[1] == 0.75

    def test_psnr(self) -> None:
        black = np.zeros((4, 4, 3), np.uint8)
        assert psnr(black, black + 255) == 0.0
        assert psnr(black, black + 1) == pytest.approx(48.13, abs=0.01)
        assert psnr(black, black) == 99.0

    def test_unpack_edges_undoes_packbits(self) -> None:
        edges = dataset.canny(np.asarray(draw.draw(everybody(1)[0].scene, 1, SHAPES["wide"])))
        unpacked = unpack_edges(torch.from_numpy(np.packbits(edges))[None], "wide")
        assert unpacked.shape == (1, 3, 192, 336)
        assert edges.any()
        assert (unpacked[0].numpy() == edges).all()

    def test_heads_and_bodies_weigh_more_and_the_mean_stays(self) -> None:
        weights = head_weights(torch.tensor([[[40, 30, 10], [0, 0, 0]]]), 64, 96)
        assert weights.shape == (1, 1, 64, 96)
        assert weights.mean() == pytest.approx(1.0, abs=1e-6)
        assert weights[0, 0, 30, 40] == pytest.approx(4 * float(weights[0, 0, 60, 90]))
        assert weights[0, 0, 60, 40] == pytest.approx(2 * float(weights[0, 0, 60, 90]))
        assert head_weights(torch.zeros(1, 2, 3, dtype=torch.int16), 8, 8).flatten().tolist() == [1.0] * 64

    def test_squares_are_cut_out_with_their_heads(self) -> None:
        pictures = torch.zeros(3, 40, 60, 3, dtype=torch.uint8)
        pictures[:, 12, 33] = 255  # a head's middle
        heads = torch.tensor([[[33, 12, 5], [0, 0, 0]]] * 3)
        torch.manual_seed(0)
        squares, moved = cut_out(pictures, heads, torch.tensor([0, 1, 2] * 40), 16)
        assert squares.shape == (120, 16, 16, 3) and (moved[:, 1] == 0).all()
        inside = ((moved[:, 0, :2] >= 0) & (moved[:, 0, :2] < 16)).all(dim=1)
        assert 0.5 < inside.float().mean() < 0.8  # half at a head, and some of the others
        assert torch.equal(squares.amax(dim=(1, 2, 3)) == 255, inside)
        assert all(squares[row, moved[row, 0, 1], moved[row, 0, 0]].min() == 255 for row in inside.nonzero())

    def test_a_quarter_is_recoloured_and_nothing_else_changes(self) -> None:
        torch.manual_seed(0)
        pictures = torch.randint(256, (400, 2, 2, 3), dtype=torch.uint8)
        other = recoloured(pictures)
        assert torch.equal(other.sort(dim=3).values, pictures.sort(dim=3).values)
        assert 0.1 < (other != pictures).any(dim=3).any(dim=2).any(dim=1).float().mean() < 0.3

    def test_pictures_of_any_shape_become_squares_in_grey(self) -> None:
        wide = letterbox(torch.ones(2, 3, 192, 336))
        assert wide.shape == (2, 3, 128, 128)
        assert wide[..., 0, :].abs().max() < 1e-6
        assert wide[..., 64, :].min() > 0.999

    def test_the_same_person_belongs_together(self) -> None:
        who = torch.tensor([1, 1, 2, 2])
        east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
        together = same_person_loss(torch.stack([east, east, north, north]), who)
        apart = same_person_loss(torch.stack([east, north, east, north]), who)
        assert together < apart

    def test_a_judge_comes_back_bit_by_bit(self, tmp_path: Path) -> None:
        classifier = Classifier().half()
        save_classifier(classifier, tmp_path / "one")
        again = load_classifier(tmp_path / "one")
        for name, value in classifier.state_dict().items():
            assert torch.equal(again.state_dict()[name], value.float())
        save_classifier(again, tmp_path / "two")
        assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()


class TestHeldOut:
    def test_cases_are_the_same_each_time_and_tell_the_truth(self) -> None:
        for case, again in zip(everybody(20), everybody(20), strict=True):
            assert (case.scene, case.text) == (again.scene, again.text)
            assert case.seed >= dataset.VALIDATION_SEED
            assert NONE not in case.named.values()

    def test_aldars_are_aldars_and_heroes_are_not_all(self) -> None:
        assert all(any(person.aldar for person in case.scene.people) for case in aldars(20))
        assert {bool(_borrowed(case.scene.people)) for case in heroes(30)} == {True, False}
        assert len(dataset.truth_row(aldars(1)[0].scene)) == len(HEADS)

    def test_heads_are_found(self) -> None:
        for case in everybody(5):
            boxes = list(head_boxes(case))
            assert len(boxes) == len(case.scene.people)
            assert all(case.picture[box].size > 0 for box in boxes)


def _borrowed(people: tuple[Person, ...]) -> list[str]:
    return [person.borrows for person in people if person.borrows]
