"""Options that lead to the models with which a finished board was painted."""

from __future__ import annotations

from typing import Any

from models.board.report import Report
from models.errors import InputError
from models.profiles import ROOT
from models.records import Adapter, Weights


def device_of(report: Report) -> str:
    """Return the kind of device that painted the board, since other kinds round differently."""
    if report.render_config is not None:
        return report.render_config.setup.device.partition(":")[0]
    return report.device if report.device in ("cpu", "mps") else "cuda"


def same_models(report: Report) -> dict[str, Any]:
    """Return the options of LoRAs and local models, with absolute paths: this process may run in another folder."""
    return _loras(report) | _parts(report)


def _loras(report: Report) -> dict[str, Any]:
    if report.render_config is None:
        return {}
    found, given = [one for one in report.render_config.setup.adapters if one.role != "turbo"], report.options
    character, more = found[: len(found) - len(given.more_loras)], found[len(found) - len(given.more_loras) :]
    places: dict[str, Any] = {"more_loras": [f"{_place(adapter)}={adapter.strength!r}" for adapter in more]}
    if character and given.lora_path is not None:
        places["lora_path"] = _place(character[0])
    turbo = next((one for one in report.render_config.setup.adapters if one.role == "turbo"), None)
    if turbo and given.turbo_lora is not None:
        here = ROOT / turbo.source  # the report names this project's files from its root
        places |= {"turbo_lora": str(here) if here.exists() else turbo.source, "steps": report.render_config.steps}
    return places


def _parts(report: Report) -> dict[str, str]:
    """Return the local models that replaced the profile's."""
    if report.render_config is None:
        return {}
    profile, given = report.render_config.setup.profile, report.options
    named = {"base": profile.base, "controlnet": profile.controlnet, "clip": profile.clip, "vae": profile.vae}
    return {
        name: part.source
        for name, part in named.items()
        if getattr(given, name) is not None and part is not None and part.is_local
    }


def _place(adapter: Adapter) -> str:
    return adapter.source if adapter.source.startswith("s3:") else adapter.path


def refuse_other_weights(made_with: Weights, loaded: Weights) -> None:
    """Refuse models that are not the board's.

    Raises:
        InputError: names the fingerprints that differ.
    """
    changed = made_with.unlike(loaded)
    if changed:
        raise InputError(
            f"the board was painted with other weights ({changed} changed since), so a new frame would not "
            "match the others: restore the old weights, or make the storyboard again"
        )
