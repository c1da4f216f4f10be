"""Speed turbo: a distillation LoRA beside the character's, its method's scheduler and steps, and no guidance."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from flow_runs import Ran, Stage
from numpy.typing import NDArray
from redo_runs import redo, refused

from models.diffusion.loading import Models, load, unload
from models.diffusion.painter import paint
from models.diffusion.requests import ControlPicture, PainterSetup, PaintRequest, sampling
from models.errors import ChecksFailed
from models.frames.recipe import read_recipe
from models.frames.setting_warnings import find_setting_warnings
from models.preflight.checks import require
from models.profiles import PROFILES, ROOT, SDXL, STEPPE
from models.records import Adapter
from models.s3.adapters import fetch_adapter
from models.secrets.keys import Keys
from models.settings import StoryboardOptions
from models.turbo import METHODS, TurboMethod, locate_lora, steps_in_name, turbo_in
from steppe.saved import load_unet
from steppe.turbo import N_STEPS, add_lora, save_lora

WEIGHTS = ROOT / "weights" / "steppe"
PROMPT = "aldar_kose_man is riding a horse, in the steppe, at sunset, wide shot, storybook illustration"
STEPS: dict[TurboMethod, int] = {"lightning": 5, "hyper": 4, "dmd2": 4, "lcm": 4, "tcd": 4}
REFERENCE: dict[TurboMethod, Any] = {
    "lightning": (diffusers.EulerDiscreteScheduler, {"timestep_spacing": "trailing"}),
    "hyper": (diffusers.DDIMScheduler, {"timestep_spacing": "trailing", "clip_sample": False}),
    "dmd2": (diffusers.LCMScheduler, {}),
    "lcm": (diffusers.LCMScheduler, {}),
    "tcd": (diffusers.TCDScheduler, {}),
}
"""The scheduler that each method's authors name, and what they change in the base's settings."""
TIMESTEPS = {
    "lightning": [999, 799, 599, 399, 199],
    "hyper": [999, 749, 499, 249],
    "dmd2": [999, 749, 499, 249],
    "lcm": [999, 759, 499, 259],
    "tcd": [999, 759, 499, 259],
}


@pytest.fixture(scope="module")
def turbo_lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random small LoRA on steppe's UNet, whose name says 5 steps."""
    unet = load_unet(WEIGHTS)
    generator = torch.Generator().manual_seed(3)
    for weight in add_lora(unet):
        weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.03)
    folder = tmp_path_factory.mktemp("turbo") / "own_5step_lora"
    save_lora(unet, folder)
    return folder


def adapter(source: str | Path, **changes: Any) -> Adapter:
    return fetch_adapter(str(source), cache_dir=WEIGHTS, keys=Keys()).model_copy(update=changes)


def setup(*adapters: Adapter) -> PainterSetup:
    plain = PainterSetup(
        profile=STEPPE, adapter=None, device="cpu", precision="fp32", with_controlnet=True, batch_size=4, speed="turbo"
    )
    return plain.with_adapters(adapters)


@pytest.fixture(scope="module")
def models(turbo_lora: Path) -> Iterator[Models]:
    """Base, Aldar's LoRA, the turbo LoRA, and the ControlNet."""
    yield load(setup(adapter(STEPPE.adapter or ""), adapter(turbo_lora, role="turbo")))
    unload()


def request(method: TurboMethod, seed: int = 1, **changes: Any) -> PaintRequest:
    turbo = turbo_in(WEIGHTS).model_copy(update={"method": method, "steps": STEPS[method]})
    plain = {"prompt": PROMPT, "negative_prompt": "", "seed": seed, "size": 256, "guidance": 1.0, "control": None}
    return PaintRequest.model_validate(plain | sampling("turbo", 25, turbo)._asdict() | changes)


def pixels(models: Models, *requests: PaintRequest) -> NDArray[np.int16]:
    return np.stack([np.asarray(painting.image, dtype=np.int16) for painting in paint(models, requests)])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("method", METHODS)
def test_each_method_paints_by_the_scheduler_of_its_authors(models: Models, method: TurboMethod) -> None:
    painted = pixels(models, request(method, 7))[0]
    assert [int(timestep) for timestep in models.plain.scheduler.timesteps] == TIMESTEPS[method]
    kind, changes = REFERENCE[method]
    base = diffusers.EulerDiscreteScheduler.from_pretrained(WEIGHTS / "scheduler")
    models.plain.scheduler = kind.from_config({**base.config, "timestep_spacing": "leading", **changes})
    generator = torch.Generator().manual_seed(7)
    with torch.inference_mode():
        image = models.plain(
            prompt=PROMPT,
            width=256,
            height=256,
            latents=torch.randn((1, 4, 32, 32), generator=generator),
            generator=generator,
            guidance_scale=0.0,
            **({"eta": 0.3} if method == "tcd" else {}),
            **({"timesteps": TIMESTEPS[method]} if method == "dmd2" else {"num_inference_steps": STEPS[method]}),
        ).images[0]
    assert np.abs(painted - np.asarray(image, dtype=np.int16)).max() <= 1


@pytest.mark.parametrize("method", ["lightning", "lcm", "tcd"])
def test_a_frame_does_not_depend_on_its_batch_and_its_seed_decides_it(models: Models, method: TurboMethod) -> None:
    asked = [request(method, seed) for seed in (1, 2, 3)]
    together = pixels(models, *asked)
    alone = np.concatenate([pixels(models, one) for one in reversed(asked)])[::-1]
    assert np.abs(together - alone).max() <= 2
    assert np.array_equal(together, pixels(models, *asked))
    assert np.abs(together[0] - together[1]).mean() > 5


def test_without_guidance_a_step_is_one_evaluation(models: Models) -> None:
    batches: list[int] = []
    hook = models.plain.unet.register_forward_hook(lambda _model, given, _out: batches.append(len(given[0])))
    try:
        pixels(models, *[request("lightning", seed) for seed in (1, 2)])
        pixels(models, request("dmd2"))
    finally:
        hook.remove()
    assert batches == [2] * 5 + [1] * 4


def test_character_turbo_and_control_act_together(models: Models, turbo_lora: Path, tmp_path: Path) -> None:
    plain = paint(models, [request("lightning")])[0].image
    plain.rotate(20).save(tmp_path / "lines.png")
    control = ControlPicture(file=str(tmp_path / "lines.png"), scale=0.8, end=1.0, kind="reference")
    asked = request("lightning", control=control)
    assert [use.role for use in models.loras] == ["character or style", "turbo"]
    assert str(models.loras[1]).startswith(f"{turbo_lora} (turbo), strength 1: changed ")
    whole = pixels(models, asked)
    assert np.abs(whole - np.asarray(plain, dtype=np.int16)).mean() > 1
    for less in ([adapter(STEPPE.adapter or "")], [adapter(turbo_lora, role="turbo")]):
        assert np.abs(whole - pixels(load(setup(*less)), asked)).mean() > 1


def problems(**options: Any) -> str:
    plain = {"device": "cpu", "writer": "offline", "profile": "steppe", "speed": "turbo"}
    with pytest.raises(ChecksFailed) as caught:
        require(StoryboardOptions.model_validate(plain | options), Keys())
    (line,) = caught.value.problems
    return line


class TestRefused:
    def test_a_profile_without_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(PROFILES, "steppe", STEPPE.model_copy(update={"turbo": None}))
        assert problems() == (
            "--speed turbo needs a distillation LoRA, and profile steppe has none: name one with --turbo-lora and "
            "--turbo-method, or choose another --speed"
        )

    def test_guidance(self, turbo_lora: Path) -> None:
        assert problems(turbo_lora=str(turbo_lora), turbo_method="lightning", guidance=3) == (
            "--guidance 3: --speed turbo paints without guidance; leave --guidance out, or choose another --speed"
        )

    def test_a_lora_without_its_method(self, turbo_lora: Path) -> None:
        assert problems(turbo_lora=str(turbo_lora)) == (
            f"--turbo-lora {turbo_lora}: name with --turbo-method how it was distilled: "
            "lightning, hyper, dmd2, lcm, tcd"
        )

    def test_steps_that_it_was_not_made_for(self, turbo_lora: Path) -> None:
        assert problems(turbo_lora=str(turbo_lora), turbo_method="lightning", steps=4) == (
            f"--steps 4: {turbo_lora} was made for 5 steps; leave --steps out, or name a LoRA of 4 steps with "
            "--turbo-lora"
        )
        assert problems(turbo_lora=str(turbo_lora), turbo_method="tcd", steps=25) == (
            "--steps 25: tcd LoRAs are made for 2 to 8 steps; give one of these"
        )
        assert problems(turbo_lora=str(turbo_lora), turbo_method="dmd2", steps=5) == (
            "--steps 5: dmd2 LoRAs are made for 4 steps; give one of these"
        )

    def test_steps_that_nothing_tells(self, turbo_lora: Path, tmp_path: Path) -> None:
        nameless = shutil.copytree(turbo_lora, tmp_path / "own")
        assert problems(turbo_lora=str(nameless), turbo_method="hyper") == (
            f"--turbo-lora {nameless}: its name does not say for how many steps it was made, as in …_8step_lora: give "
            "--steps"
        )

    def test_another_method_than_the_profiles(self) -> None:
        assert problems(turbo_method="lcm") == (
            "--turbo-method lcm: profile steppe's LoRA is of the method lightning; name one of lcm with --turbo-lora, "
            "or leave --turbo-method out"
        )

    def test_a_file_that_is_missing_or_of_another_base(self, tmp_path: Path) -> None:
        missing = tmp_path / "gone_4step.safetensors"
        line = problems(turbo_lora=str(missing), turbo_method="lightning")
        assert line.startswith(f"LoRA: {missing}: no such file or folder; expected ")
        assert line.endswith("; choose another with --turbo-lora")
        from safetensors.torch import save_file

        name = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
        wide = {f"{name}.lora_A.weight": torch.zeros(4, 640), f"{name}.lora_B.weight": torch.zeros(640, 4)}
        save_file(wide, missing)
        line = problems(turbo_lora=str(missing), turbo_method="lightning")
        assert line.startswith(f"LoRA: {missing}: ")
        assert line.endswith("; choose another with --turbo-lora")


class TestSteps:
    @pytest.mark.parametrize(
        ("name", "steps"),
        [
            ("ByteDance/SDXL-Lightning:sdxl_lightning_8step_lora.safetensors", 8),
            ("ByteDance/Hyper-SD:Hyper-SDXL-4steps-lora.safetensors", 4),
            ("/loras/dmd2_sdxl_4step_lora_fp16.safetensors", 4),
            ("latent-consistency/lcm-lora-sdxl", None),
            ("/loras/steppe", None),
        ],
    )
    def test_a_name_tells_them(self, name: str, steps: int | None) -> None:
        assert steps_in_name(name) == steps

    def test_a_source_is_read_as_it_is_written(self, tmp_path: Path) -> None:
        written = "ByteDance/Hyper-SD@main:Hyper-SDXL-4steps-lora.safetensors"
        named = locate_lora(written)
        assert (named.source, named.revision, named.files) == (
            "ByteDance/Hyper-SD",
            "main",
            ("Hyper-SDXL-4steps-lora.safetensors",),
        )
        assert turbo_in(WEIGHTS).model_copy(update={"lora": named}).source == written
        assert locate_lora("s3://loras/turbo").source == "s3://loras/turbo"
        assert locate_lora(str(tmp_path)).source == str(tmp_path)

    def test_the_profiles_say_theirs(self) -> None:
        assert SDXL.turbo is not None
        assert (SDXL.turbo.method, SDXL.turbo.steps) == ("lightning", 8)
        assert turbo_in(WEIGHTS) == STEPPE.turbo
        assert turbo_in(WEIGHTS).steps == N_STEPS


def test_edges_that_end_within_the_first_step_are_warned_about(turbo_lora: Path) -> None:
    options = StoryboardOptions(
        speed="turbo", turbo_lora=str(turbo_lora), turbo_method="lightning", control_end=0.15, device="cpu"
    )
    assert find_setting_warnings(options, STEPPE) == (
        "control_end 0.15: frame 1's edges act in none of the 5 steps; choose 0.2 or more.",
    )
    assert find_setting_warnings(options.model_copy(update={"control_end": None}), STEPPE) == ()


def test_a_board_is_painted_reported_and_redone_with_it(stage: Stage, turbo_lora: Path) -> None:
    own: dict[str, Any] = {
        "profile": "steppe",
        "prompt_threshold": -1,
        "threshold": -1,
        "frames": 2,
        "steps": None,
        "attempts": 1,
    }
    turbo: dict[str, Any] = {"speed": "turbo", "turbo_lora": str(turbo_lora), "turbo_method": "lightning"}
    ran: Ran = stage.run(**own, **turbo)
    report, recipe = ran.report, read_recipe(ran.board / "frame_002.png")
    assert (recipe.steps, recipe.sampler, recipe.guidance) == (5, "Euler trailing", 1.0)
    assert [(lora.name, lora.role) for lora in recipe.loras] == [
        ("aldar", "character or style"),
        ("own_5step_lora", "turbo"),
    ]
    assert report.render_config is not None
    assert [use.role for use in report.render_config.loras] == ["character or style", "turbo"]
    assert report.render_config.setup.adapters[1].source == str(turbo_lora)
    exact = stage.run(**{**own, "steps": 5})
    assert exact.painted == [1, 1]  # turbo's frames in the store are not taken for these
    assert stage.run(**own, **turbo).painted == [0, 0]
    redone = redo(ran.board, 2, prompt="aldar_kose_man is riding a camel, in the steppe")
    assert redone.report.frames[1].painted == 1
    again = read_recipe(ran.board / "frame_002.png")
    assert (again.steps, again.sampler, again.loras) == (recipe.steps, recipe.sampler, recipe.loras)
    shutil.rmtree(stage.output / ".store")
    old = redo(ran.board, 2, prompt=recipe.prompt, seed=2042)
    assert old.report.frames[1].sha256 == report.frames[1].sha256
    assert refused(redo(ran.board, 2, seed=2042)).startswith("frame 2: seed 2042 gives the present picture again; ")
