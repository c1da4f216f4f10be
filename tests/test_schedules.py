"""A base's own noise schedule: followed by every sampler, or refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import foreign_parameterisations as foreign
import numpy as np
import pytest
from numpy.typing import NDArray

from models.bases.schedules import Sampler, find_schedule_problems, schedule_for
from models.diffusion.loading import Models, load, scheduler_of, unload
from models.diffusion.painter import paint
from models.diffusion.requests import PainterSetup, PaintRequest
from models.errors import WeightsInvalid
from models.profiles import STEPPE

OWN: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.016,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "trailing",
}
"""The offline base's."""
VELOCITY = {**OWN, "_class_name": "DDIMScheduler", "prediction_type": "v_prediction", "clip_sample": False}
PURE_NOISE = {**VELOCITY, "rescale_betas_zero_snr": True}
EDM = {
    "_class_name": "EDMDPMSolverMultistepScheduler",
    "prediction_type": "epsilon",
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "sigma_data": 0.5,
    "rho": 7.0,
    "solver_order": 2,
}
SAMPLERS: tuple[Sampler, ...] = ("Euler", "DPM++ 2M")


@pytest.fixture(scope="module")
def steppe() -> Iterator[Models]:
    yield load(
        PainterSetup(
            profile=STEPPE,
            adapter=None,
            device="cpu",
            precision="fp32",
            with_controlnet=False,
            batch_size=1,
            speed="plain",
        )
    )
    unload()


class Easel:
    """Paints with the offline base as if it were of another kind."""

    def __init__(self, models: Models) -> None:
        self.models, self.unet = models, models.plain.unet
        self.own = self.unet.forward
        self.known = foreign.Known(self.own, OWN)

    def paint(self, config: dict[str, Any], forward: foreign.Forward, sampler: Sampler) -> NDArray[np.float64]:
        """A picture on the schedule of `config`, 0..255."""
        models = dataclasses.replace(self.models, scheduler=partial(scheduler_of, config, "base"))
        request = PaintRequest(
            prompt="a man in a red robe is walking in the steppe, at noon",
            negative_prompt="",
            seed=3,
            size=128,
            steps=8,
            sampler=sampler,
            guidance=3.0,
            control=None,
        )
        self.unet.forward = forward
        try:
            return np.asarray(paint(models, [request])[0].image, dtype=np.float64)
        finally:
            self.unet.forward = self.own


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_knowledge_in_other_terms_paints_the_same_picture(steppe: Models, sampler: Sampler) -> None:
    easel = Easel(steppe)
    plain = easel.paint(OWN, easel.own, sampler)
    velocity = easel.paint(VELOCITY, foreign.velocity(easel.known, _bare(VELOCITY)), sampler)
    assert np.abs(velocity - plain).max() <= 2
    pure_noise = easel.paint(PURE_NOISE, foreign.velocity(easel.known, _bare(PURE_NOISE)), sampler)
    assert easel.known.loudest > 1000  # zero signal is 2**-24 of it
    edm = easel.paint(EDM, foreign.preconditioned(easel.known), sampler)
    for picture in (pure_noise, edm):  # begun on more noise, so alike and not equal; another schedule gives 0.2
        assert np.corrcoef(picture.ravel(), plain.ravel())[0, 1] > 0.8


def _bare(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ("_class_name", "clip_sample")}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
            "flow matching is not supported",
        ),
        ({"_class_name": "LCMScheduler"}, "the scheduler LCMScheduler is not"),
        ({"_class_name": "StrangersScheduler"}, "the scheduler StrangersScheduler is not"),
        ({**OWN, "prediction_type": "flow_prediction"}, "prediction_type 'flow_prediction' is not supported; valid: "),
        ({**OWN, "beta_schedule": "sigmoid"}, "beta_schedule 'sigmoid' is not supported"),
        ({**OWN, "timestep_spacing": "cosmic"}, "timestep_spacing 'cosmic' is not supported"),
        (
            {**OWN, "_class_name": "DDIMScheduler", "clip_sample": True},
            "clip_sample True is not supported by the sampler Euler",
        ),
        ({**OWN, "_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}, "use_flow_sigmas True is not"),
        ({**OWN, "thresholding": True}, "thresholding True is not supported"),
        ({**OWN, "beta_curve": 3}, "beta_curve 3 is not supported"),
    ],
)
def test_what_no_sampler_can_do_is_refused_by_name(config: dict[str, Any], told: str) -> None:
    problems = list(find_schedule_problems(config, "Euler", "scheduler_config.json"))
    assert len(problems) == 1
    assert told in problems[0]
    with pytest.raises(WeightsInvalid, match=r"scheduler_config\.json: "):
        schedule_for(config, "Euler", "scheduler_config.json")


def test_a_setting_of_one_sampler_alone_stops_only_the_others() -> None:
    config = {**OWN, "timestep_type": "continuous", "prediction_type": "v_prediction"}
    assert schedule_for(config, "Euler", "").settings["timestep_type"] == "continuous"
    with pytest.raises(WeightsInvalid, match="timestep_type 'continuous' is not supported by the sampler DPM"):
        schedule_for(config, "DPM++ 2M", "")


def test_an_absent_spacing_is_the_saved_schedulers_own() -> None:
    for name, spacing in (
        ("PNDMScheduler", "leading"),
        ("DDIMScheduler", "leading"),
        ("UniPCMultistepScheduler", None),
    ):
        config = {"_class_name": name, "beta_schedule": "scaled_linear"}
        assert schedule_for(config, "Euler", "").settings.get("timestep_spacing") == spacing


def test_every_setting_that_is_passed_on_is_one_of_its_class() -> None:
    import diffusers

    config = {**OWN, "use_karras_sigmas": True, "final_sigmas_type": "zero", "steps_offset": 1, "trained_betas": None}
    for sampler in SAMPLERS:
        for given in (config, EDM):
            schedule = schedule_for(given, sampler, "")
            getattr(diffusers, schedule.class_name)(**schedule.settings)
    assert schedule_for({**config, **VELOCITY}, "training", "").class_name == "DDPMScheduler"
    with pytest.raises(WeightsInvalid, match="can be painted with, not trained on"):
        schedule_for(EDM, "training", "")
