"""Which LoRAs paint and how strongly: it decides what is stored, and is told in report and recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_loras
import tiny_models
import torch
from flow_runs import Ran, Stage
from foreign_loras import draw, flat_name, save
from s3_server import make_keys
from safetensors.torch import save_file
from test_checks import find_problems

from models.frames.recipe import read_recipe
from models.loras import fingerprint_of, split_strength, wanted_loras
from models.profiles import PROFILES, ROOT, Profile
from models.records import Adapter, LoraUse
from models.settings import StoryboardOptions

tiny_world = tiny_models.tiny_world
STEPPE = ROOT / "weights" / "steppe" / "aldar"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.safetensors", ("a.safetensors", 1.0)),
        ("a.safetensors=0.6", ("a.safetensors", 0.6)),
        ("s3://b/x=1=-2", ("s3://b/x=1", -2.0)),
        ("folder=new/a.safetensors", ("folder=new/a.safetensors", 1.0)),
        ("a=", ("a=", 1.0)),
        ("=2", ("=2", 1.0)),
        ("a=0", ("a", 0.0)),
    ],
)
def test_a_strength_stands_after_the_last_equals_sign(text: str, found: tuple[str, float]) -> None:
    assert split_strength(text) == found


@pytest.mark.parametrize("strength", ["5", "-4.01", "inf", "nan", "1e9"])
def test_a_strength_that_no_lora_has_is_refused(strength: str) -> None:
    with pytest.raises(ValueError, match="strength must be from -4 to 4"):
        split_strength(f"a={strength}")


def test_the_characters_lora_comes_first_and_may_be_left_out() -> None:
    more = ("style=2", "ink")
    assert [lora[:2] for lora in wanted_loras("aldar", 0.5, more)] == [("aldar", 0.5), ("style", 2.0), ("ink", 1.0)]
    assert [lora[:2] for lora in wanted_loras("none", 0.5, more)] == [("style", 2.0), ("ink", 1.0)]


def test_strengths_and_order_are_part_of_what_tells_loras_apart() -> None:
    one, two = (Adapter(path=name, fingerprint=name * 64, source=name) for name in "ab")
    half = one.model_copy(update={"strength": 0.5})
    assert fingerprint_of([]) is None
    assert fingerprint_of([one]) == one.fingerprint
    assert len({fingerprint_of(some) for some in ([one], [half], [one, two], [half, two], [two, one], [two])}) == 6


def loras_of(ran: Ran) -> tuple[LoraUse, ...]:
    """What the report says of the LoRAs."""
    assert ran.report.render_config is not None
    return ran.report.render_config.loras


def test_strength_and_further_loras_decide_what_is_painted_and_are_told(stage: Stage, tmp_path: Path) -> None:
    own = tiny_loras.lora_by_part(tiny_models.pipeline())
    aldar = str(tiny_loras.save_kohya(tmp_path / "aldar.safetensors", own))
    stem = flat_name("mid_block.attentions.0.proj_in")
    style = {f"{stem}.lora_down.weight": draw(2, 16), f"{stem}.lora_up.weight": draw(16, 2)}
    more = (f"{save(tmp_path, style | {'bundle_emb.ink.clip_l': draw(2, 16)}, name='style.safetensors')}=0.25",)
    first = stage.run(frames=1, lora_path=aldar)
    again = stage.run(frames=1, lora_path=aldar)
    half = stage.run(frames=1, lora_path=aldar, lora_scale=0.5)
    both = stage.run(frames=1, lora_path=aldar, more_loras=more)
    assert (first.painted, again.painted, half.painted, both.painted) == ([1], [0], [1], [1])
    assert len({*first.pictures, *half.pictures, *both.pictures}) == 3
    (first_lora,), (half_lora,) = loras_of(first), loras_of(half)
    assert (first_lora.source, first_lora.strength) == (aldar, 1.0)
    assert first_lora.modules["unet"] == (16, 118)
    assert half_lora.strength == 0.5
    character, ink = loras_of(both)
    assert (ink.strength, ink.modules["unet"], ink.unused) == (0.25, (1, 118), ("ink",))
    painted = read_recipe(both.board / both.report.frames[0].file).loras
    assert [(lora.name, lora.strength) for lora in painted] == [("aldar", 1.0), ("style", 0.25)]
    assert "changed 1 of 118 in unet" in str(both.artifacts()["report"].data)
    assert character.fingerprint == first.report.weights.adapter


def told(**options: object) -> str:
    lines = find_problems(StoryboardOptions.model_validate({"device": "cpu", **options}), make_keys())
    assert not [line for line in lines if "\n" in line]
    return "\n".join(lines)


def test_loras_are_judged_by_their_headers_at_the_checks(tmp_path: Path) -> None:
    """On the small model that ships: its base's own headers say what fits."""
    assert told(lora_path=str(STEPPE), more_loras=[f"{STEPPE}=0.5", f"{STEPPE / 'unet_lora'}"]) == ""
    sd1 = save(tmp_path / "sd1", {"lora_te_text_model_x.lora_down.weight": draw(2, 2)})
    assert f"LoRA: {sd1}: 'lora_te_text_model_x.lora_down.weight' belongs to the text encoder of SD 1 and 2" in told(
        lora_path=str(sd1)
    )
    stem = flat_name("mid_block.resnets.0.conv1")
    wide = save(tmp_path / "wide", {f"{stem}.lora_down.weight": draw(2, 9), f"{stem}.lora_up.weight": draw(9, 2)})
    line = told(more_loras=[f"{wide}=0.5"])
    assert "'mid_block.resnets.0.conv1' has down [2, 9] and up [9, 2], this base's weight is" in line
    assert line.endswith("choose another with --more-loras")
    folder = tiny_loras.save_checkpoint(tmp_path / "peft", {part: {} for part in tiny_loras.PARTS})
    config = folder / "unet_lora" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "init_lora_weights": "olora"}))
    assert "init_lora_weights 'olora' has changed the base" in told(lora_path=str(folder))


def test_where_the_base_is_not_here_yet_the_kind_of_a_lora_is_judged_all_the_same(
    tiny_world: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.diffusion.adapter_fit import judge
    from models.errors import AdapterMismatch

    far = PROFILES["sdxl"].base.model_copy(update={"source": "nobody/nothing"})
    fine = save(tmp_path, {"lora_unet_anything.lora_down.weight": draw(2, 2)}, name="fine.safetensors")
    judge(fine, far)
    save_file({"transformer.x.lora_A.weight": torch.zeros(2, 2)}, tmp_path / "flux.safetensors")
    with pytest.raises(AdapterMismatch, match="Flux or SD 3, to no part of SDXL"):
        judge(tmp_path / "flux.safetensors", far)
