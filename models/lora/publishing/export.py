"""A checkpoint's LoRA for other programs: PEFT's folders, diffusers' layout, and the keys of kohya's sd-scripts.

Whatever is written here is read back in the tests, by our reader and by diffusers itself. What was found on the way, in
diffusers 0.42.1, and how it is met:

- A file that says no alpha acts at alpha = rank, and so does one whose way of saying it is not known to its reader
  (diffusers 0.33 knows no `lora_adapter_metadata`). So alpha / rank is multiplied into the weights, and every form says
  alpha = rank: the folders by their config, the files by `lora_adapter_metadata` and by `.alpha` keys.
- The metadata that diffusers' trainers collect carries the training's dropout, and a UNet that is given it drops out
  while it paints. So the metadata says only what the LoRA is (`TOLD`).
- A kohya file whose text encoders have q and v alone is refused: diffusers knows the spelling by `out_proj`. So each
  such encoder gets one pair of zeros for the `out_proj` of its first layer. It changes nothing and costs
  2 * rank * width numbers an encoder: 0.5 MB in all for SDXL at rank 64 in fp16.
- Text encoders are flat in transformers 5 and begin with `text_model.` before: the files have it, both read that.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from models.diffusion.adapter_files import FOLDERS, read_folder
from models.diffusion.adapter_keys import PEFT_ROOT, TEXT_MODEL, UNET
from models.errors import StorageError, WeightsInvalid
from models.lora.network.folding import fold
from models.lora.training.checkpoints import config_json
from models.storage.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, SINGLE_FILE
from models.storage.files import local_errors, write_atomically

if TYPE_CHECKING:
    import torch

TOLD = ("r", "lora_alpha", "target_modules")
"""What diffusers is told of a LoRA. Every release of peft knows these; one that lacks a newer option would raise."""
KOHYA_PREFIXES = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
_SCALED_OTHERWISE = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "lora_bias", "fan_in_fan_out")

Pairs = dict[str, tuple["torch.Tensor", "torch.Tensor"]]
"""Module -> (down [rank, inputs], up [outputs, rank])."""


def write_folders(checkpoint: Path, target: Path) -> None:
    """Write the three adapters into `target`; of a checkpoint of this training the same bytes.

    Raises:
        WeightsInvalid: the checkpoint is missing, broken or no plain LoRA.
        StorageError: no space, or no permission.
    """
    from safetensors.torch import save

    for part, file in _read(checkpoint).items():
        tensors = {f"{PEFT_ROOT}{name}": value.contiguous() for name, value in file.tensors.items()}
        write_atomically(target / FOLDERS[part] / ADAPTER_WEIGHTS[0], save(tensors, metadata={"format": "pt"}))
        write_atomically(target / FOLDERS[part] / ADAPTER_CONFIG, config_json(dict(file.config)))


def write_diffusers_file(checkpoint: Path, target: Path) -> None:
    """Write the LoRA as `StableDiffusionXLPipeline.load_lora_weights` takes it.

    Args:
        checkpoint: a folder of three adapters.
        target: the file, usually called pytorch_lora_weights.safetensors.

    Raises:
        WeightsInvalid: the checkpoint is missing, broken or no plain LoRA.
        StorageError: no space, or no permission.
    """
    from diffusers import StableDiffusionXLPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from safetensors import SafetensorError

    told: dict[str, Any] = {}
    for part, file in _read(checkpoint).items():
        named = {_named(part, key): value for key, value in file.tensors.items()}
        told[f"{part}_lora_layers"] = _unet_names(named) if part == UNET else convert_state_dict_to_diffusers(named)
        told[f"{part}_lora_adapter_metadata"] = {key: file.config[key] for key in TOLD}
    with local_errors(target), tempfile.TemporaryDirectory() as scratch:
        try:
            StableDiffusionXLPipeline.save_lora_weights(scratch, weight_name=SINGLE_FILE, **told)
        except SafetensorError as error:
            raise StorageError(f"{scratch}: not written ({error}); free some disk, or set TMPDIR") from error
        data = (Path(scratch) / SINGLE_FILE).read_bytes()
    write_atomically(target, _in_order(data))


def _unet_names(tensors: dict[str, Any]) -> dict[str, Any]:
    """The pairs of a UNet as diffusers names them; its own conversion does so for attention alone."""
    return {name.replace(".lora_A.", ".lora.down.").replace(".lora_B.", ".lora.up."): value
            for name, value in tensors.items()}  # fmt: skip


def write_kohya_file(checkpoint: Path, target: Path, metadata: Mapping[str, str]) -> None:
    """Write the LoRA as kohya's sd-scripts name it, for ComfyUI, A1111, InvokeAI and sd-scripts themselves.

    The UNet's blocks keep diffusers' names (`lora_unet_down_blocks_1_attentions_0_…`) instead of the older numbers of
    Stability's code (`lora_unet_input_blocks_4_1_…`). All four programs and diffusers translate them, and
    `diffusers.utils.convert_state_dict_to_kohya` writes them; the numbers hold for SDXL's count of blocks alone, and
    the steppe base has another one. (That function itself writes alpha = rank, so its work is done here.)

    Args:
        checkpoint: a folder of three adapters.
        target: the .safetensors file.
        metadata: for the file's header, besides what follows from the LoRA itself (`ss_network_…`, ModelSpec's
            architecture and hash).

    Raises:
        WeightsInvalid: the checkpoint is missing, broken or no plain LoRA.
        StorageError: no space, or no permission.
    """
    from safetensors.torch import save

    files = _read(checkpoint)
    tensors = {name: value for part, file in files.items() for name, value in _kohya_tensors(part, file).items()}
    content = _content_of(save(tensors))
    header = {**metadata, **_describe(files[UNET].config), "modelspec.hash_sha256": _model_hash(content)}
    write_atomically(target, _in_order(save(tensors, header)))


class _Plain(NamedTuple):
    """One part's LoRA as it is written: whole pairs of one rank, alpha / rank in the weights, alpha = rank."""

    path: Path
    """For messages."""
    tensors: Mapping[str, torch.Tensor]
    config: Mapping[str, Any]


def _read(checkpoint: Path) -> dict[str, _Plain]:
    """The checkpoint by part."""
    files = {part: _Plain(file.path, file.tensors, file.config) for part, file in read_folder(checkpoint).items()}
    for file in files.values():
        _pairs(file)
        unusual = [option for option in _SCALED_OTHERWISE if file.config.get(option)]
        if unusual or not file.config.get("target_modules"):
            reason = f"its config has {', '.join(unusual)}" if unusual else "its config names no target_modules"
            raise WeightsInvalid(
                f"{file.path}: only a plain LoRA, as the training here makes it, is exported; {reason}"
            )
    return {part: _folded(file) for part, file in files.items()}


def _folded(file: _Plain) -> _Plain:
    """The same LoRA with alpha = rank. Checkpoints are written so; those of earlier versions were not."""
    rank = file.config["r"]
    tensors = fold(file.tensors, file.config["lora_alpha"], rank)
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise WeightsInvalid(f"{file.path}: its weights are not finite once alpha / rank is in them; train it again")
    return file._replace(tensors=tensors, config={**file.config, "lora_alpha": rank})


def _named(part: str, name: str) -> str:
    """A module or key of a part under its name in the files: text encoders begin with `text_model.`."""
    return name if part == UNET else TEXT_MODEL + name.removeprefix(TEXT_MODEL)


def _kohya_tensors(part: str, file: _Plain) -> dict[str, torch.Tensor]:
    """One part's tensors under sd-scripts' names, with every module's alpha."""
    import torch

    pairs = _pairs(file)
    if part != UNET:
        pairs |= _silent_pair(pairs)
    tensors = {}
    for module, (down, up) in pairs.items():
        stem = f"{KOHYA_PREFIXES[part]}_{_named(part, module).replace('.', '_')}"
        tensors[f"{stem}.lora_down.weight"] = down
        tensors[f"{stem}.lora_up.weight"] = up
        tensors[f"{stem}.alpha"] = torch.tensor(float(file.config["lora_alpha"]))
    return tensors


def _pairs(file: _Plain) -> Pairs:
    modules = [key.removesuffix(_DOWN) for key in file.tensors if key.endswith(_DOWN)]
    if file.tensors.keys() != {module + half for module in modules for half in (_DOWN, _UP)}:
        raise WeightsInvalid(f"{file.path}: holds something besides pairs of lora_A and lora_B; train it again")
    return {module: (file.tensors[module + _DOWN], file.tensors[module + _UP]) for module in modules}


def _silent_pair(pairs: Pairs) -> Pairs:
    """Zeros for one `out_proj` if the LoRA has none: diffusers recognises the spelling of a text encoder by it.

    It is as large as q, k or v beside it: CLIP's four attention projections are squares of one size.
    """
    import torch

    attention = [module for module in pairs if ".self_attn." in module]
    if not attention or any(module.endswith(".out_proj") for module in attention):
        return {}
    beside = min(attention)
    down, up = pairs[beside]
    return {beside.rpartition(".")[0] + ".out_proj": (torch.zeros_like(down), torch.zeros_like(up))}


def _describe(config: Mapping[str, Any]) -> dict[str, str]:
    """What programs read in the header to list and load the file.

    `ss_…` are sd-scripts' own; `modelspec.…` is https://github.com/Stability-AI/ModelSpec, version 1.0.0. Its
    `implementation` says whose names the keys follow.
    """
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config["r"]),
        "ss_network_alpha": f"{config['lora_alpha']:g}",
        "ss_base_model_version": "sdxl_base_v1-0",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.implementation": "diffusers",
    }


def _model_hash(content: bytes) -> str:
    """ModelSpec's hash: sha256 of all tensor content, without the header."""
    return f"0x{hashlib.sha256(content).hexdigest()}"


def _content_of(data: bytes) -> bytes:
    """What follows the header of a safetensors file: eight bytes with the header's length, the header, the tensors."""
    return data[8 + int.from_bytes(data[:8], "little") :]


def _in_order(data: bytes) -> bytes:
    """The same safetensors file with its metadata sorted by name.

    The library writes it in another order at every call, so that the same LoRA would have another checksum whenever it
    is published again, and be sent again.
    """
    content = _content_of(data)
    header = json.loads(data[8 : len(data) - len(content)])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + content
