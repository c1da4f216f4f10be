"""Applies a base's noise schedule, read from scheduler_config.json, to the samplers of this project.

The base's schedule is kept. The saved scheduler's solver settings (order, corrector) are replaced by the sampler's
own. A schedule that no sampler supports, such as flow matching, is refused by name. This module reads no weights and
imports no torch, so that the preflight can use it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from models.errors import WeightsInvalid

Sampler = Literal["Euler", "DPM++ 2M", "Euler trailing", "DDIM trailing", "DMD2", "LCM", "TCD"]
"""The last five are those of distillation LoRAs, which bring their own timesteps: `models/turbo.py`."""
Config = Mapping[str, Any]
CONFIG_FILE = "scheduler_config.json"

_DISCRETE_CLASSES = {
    "Euler": "EulerDiscreteScheduler",
    "DPM++ 2M": "DPMSolverMultistepScheduler",
    "training": "DDPMScheduler",
    "Euler trailing": "EulerDiscreteScheduler",
    "DDIM trailing": "DDIMScheduler",
    "DMD2": "LCMScheduler",
    "LCM": "LCMScheduler",
    "TCD": "TCDScheduler",
}
_EDM_CLASSES = {"Euler": "EDMEulerScheduler", "DPM++ 2M": "EDMDPMSolverMultistepScheduler"}

_LEADING = ("DDIMScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler", "PNDMScheduler")
_LINSPACE = (
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "SASolverScheduler",
    "UniPCMultistepScheduler",
)
"""_LEADING and _LINSPACE: classes on the schedule of Ho et al. 2020, by their default `timestep_spacing`."""

_BETAS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
_SPACING = (
    "timestep_spacing",
    "steps_offset",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "final_sigmas_type",
)
_DISCRETE_SETTINGS = {
    "Euler": (*_BETAS, *_SPACING, "prediction_type", "sigma_min", "sigma_max", "timestep_type", "interpolation_type"),
    "DPM++ 2M": (*_BETAS, *_SPACING, "prediction_type", "use_lu_lambdas"),
    "training": (*_BETAS, "prediction_type"),
    "Euler trailing": (*_BETAS, "prediction_type"),
    "DDIM trailing": (*_BETAS, "prediction_type", "set_alpha_to_one"),
    "DMD2": (*_BETAS, "prediction_type", "set_alpha_to_one"),
    "LCM": (*_BETAS, "prediction_type", "set_alpha_to_one"),
    "TCD": (*_BETAS, "prediction_type", "set_alpha_to_one"),
}
_OWN_SETTINGS: Mapping[str, Config] = {
    "Euler trailing": {"timestep_spacing": "trailing"},
    "DDIM trailing": {"timestep_spacing": "trailing", "clip_sample": False},
    "DMD2": {},
    "LCM": {},
    "TCD": {},
}
"""Samplers of distillation LoRAs, and their settings in place of the base's spacing."""
OWN_TIMESTEPS: Mapping[str, list[int]] = {"DMD2": [999, 749, 499, 249]}
"""Timesteps on which a sampler's LoRAs were trained, where no spacing of its scheduler gives them."""
STEP_SETTINGS: Mapping[str, Config] = {"TCD": {"eta": 0.3}}
"""Keyword arguments of the pipeline for a sampler. TCD's eta is the share of new noise in each step."""
_EDM_SETTINGS = (
    "num_train_timesteps",
    "sigma_min",
    "sigma_max",
    "sigma_data",
    "sigma_schedule",
    "rho",
    "prediction_type",
    "final_sigmas_type",
)
_DEFAULTS: Config = {"timestep_type": "discrete", "interpolation_type": "linear"}
_PAINTING_ONLY = frozenset({*_SPACING, "sigma_min", "sigma_max", "timestep_type", "interpolation_type"})
_VALID: Mapping[str, tuple[str, ...]] = {
    "prediction_type": ("epsilon", "sample", "v_prediction"),
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "timestep_spacing": ("linspace", "leading", "trailing"),
    "timestep_type": ("discrete", "continuous"),
    "final_sigmas_type": ("zero", "sigma_min"),
    "sigma_schedule": ("karras", "exponential"),
}
_SOLVER_SETTINGS = frozenset(
    (
        "_class_name",
        "_diffusers_version",
        "_use_default_values",
        "algorithm_type",
        "base_image_seq_len",
        "base_shift",
        "clip_sample_range",
        "corrector_order",
        "disable_corrector",
        "dynamic_thresholding_ratio",
        "euler_at_final",
        "flow_shift",
        "lambda_min_clipped",
        "lower_order_final",
        "max_image_seq_len",
        "max_shift",
        "noise_sampler_seed",
        "predict_x0",
        "predictor_order",
        "sample_max_value",
        "set_alpha_to_one",
        "shift_terminal",
        "skip_prk_steps",
        "skip_type",
        "solver_order",
        "solver_p",
        "solver_type",
        "tau_func",
        "time_shift_type",
        "variance_type",
    )
)
"""Settings of the saved scheduler's solver; they are ignored, since a sampler has its own solver."""


class Schedule(NamedTuple):
    """A sampler on a base's schedule."""

    class_name: str
    """Name of diffusers' scheduler class."""
    settings: dict[str, Any]
    """Keyword arguments of that class."""


def schedule_for(config: Config, sampler: Sampler | Literal["training"], where: str) -> Schedule:
    """Return the base's noise schedule for a sampler or for training.

    Args:
        config: the content of scheduler_config.json.
        where: the base's name in messages.

    Raises:
        WeightsInvalid: the sampler can't follow the schedule; the message names the setting.
    """
    for problem in find_schedule_problems(config, sampler, where):
        raise WeightsInvalid(problem)
    name = str(config.get("_class_name", _DISCRETE_CLASSES["Euler"]))
    if name in _EDM_CLASSES.values():
        known: tuple[str, ...] = _EDM_SETTINGS
        class_name = _EDM_CLASSES[sampler]
    else:
        known, class_name = _DISCRETE_SETTINGS[sampler], _DISCRETE_CLASSES[sampler]
    settings = {key: value for key, value in config.items() if key in known} | dict(_OWN_SETTINGS.get(sampler, {}))
    if name in _LEADING and "timestep_spacing" in known:
        settings.setdefault("timestep_spacing", "leading")
    return Schedule(class_name, settings)


def find_schedule_problems(config: Config, sampler: Sampler | Literal["training"], where: str) -> Iterator[str]:
    """Yield, one line each, why this sampler can't follow the schedule."""
    name = str(config.get("_class_name", _DISCRETE_CLASSES["Euler"]))
    edm = name in _EDM_CLASSES.values()
    if not edm and name not in (*_LEADING, *_LINSPACE):
        kind = "flow matching" if "Flow" in name else f"the scheduler {name}"
        yield f"{where}: {kind} is not supported ({name}); use a base of SDXL's own kind"
        return
    if edm and sampler == "training":
        yield f"{where}: a base on EDM's schedule ({name}) can be painted with, not trained on"
        return
    if edm and sampler in _OWN_SETTINGS:
        yield f"{where}: a base on EDM's schedule ({name}) has no distillation LoRAs; choose another --speed than turbo"
        return
    known = _EDM_SETTINGS if edm else _DISCRETE_SETTINGS[sampler]
    for key, value in config.items():
        if key in known:
            if value is not None and value not in _VALID.get(key, (value,)):
                yield f"{where}: {key} {value!r} is not supported; valid: {', '.join(_VALID[key])}"
        elif _asks_for_more(key, value, sampler):
            yield f"{where}: {key} {value!r} is not supported by the sampler {sampler}; set it to {_off(value)}"


def _asks_for_more(key: str, value: object, sampler: str) -> bool:
    """Whether this setting, which the sampler does not have, would change the picture."""
    if key in _SOLVER_SETTINGS or value in (None, False, _DEFAULTS.get(key)):
        return False
    return not (sampler in ("training", *_OWN_SETTINGS) and key in _PAINTING_ONLY)


def _off(value: object) -> str:
    return "false" if value is True else "null"
