"""The options of a calibration."""

from __future__ import annotations

from pydantic import Field

from models.errors import InputError
from models.option_types import ProfileName, SourceName
from models.profiles import Profile
from models.records import Options
from models.settings import DEVICES, StoryboardOptions
from models.storage.adapters import is_s3


class CalibrationOptions(Options):
    """What a character is compared with, and whose LoRA the thresholds are kept with."""

    others: SourceName | None = None
    """Folder of other people's pictures, in the same manner. Unset: none, which is refused."""
    lora_path: SourceName | None = None
    """The character's LoRA, a folder or a .safetensors file on this machine. Unset: the profile's own character."""
    profile: ProfileName = "steppe"
    """The profile that paints him: steppe or sdxl."""
    device: str | None = Field(None, pattern=DEVICES)
    """cpu, cuda, cuda:N or mps. Unset: the best there is."""

    def painting(self) -> StoryboardOptions:
        """Return the options of a storyboard with this character, whose models are used; this process paints.

        Raises:
            InputError: no LoRA on this machine is named.
        """
        given = {name: getattr(self, name) for name in ("lora_path", "profile", "device") if getattr(self, name)}
        options = StoryboardOptions.model_validate({**given, "pipeline": "simplified"})
        refuse_other_loras(self, options.get_profile())
        return options


def refuse_other_loras(options: CalibrationOptions, profile: Profile) -> None:
    """Refuse to calibrate where the result has no place.

    Raises:
        InputError: no LoRA on this machine is named.
    """
    source = options.lora_path or profile.adapter
    if source is None:
        raise InputError(f"--lora-path is needed: profile {profile.name} has no character of its own")
    if is_s3(source):
        raise InputError(
            f"--lora-path {source}: name the LoRA's folder on this machine; hero.json is written beside it"
        )
