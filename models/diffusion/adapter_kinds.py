"""What each kind of adapter adds to a weight: the shape of the difference, and its value.

    kind    difference                      source
    LoRA    up @ down                       Hu et al. 2021, https://arxiv.org/abs/2106.09685
    LoCon   up · mid · down                 LoRA of a convolution through a core, LyCORIS
    LoHa    (w1_a @ w1_b) * (w2_a @ w2_b)   Hyeon-Woo et al. 2021, https://arxiv.org/abs/2108.06098
    LoKr    w1 ⊗ w2                         Yeh et al. 2023, https://arxiv.org/abs/2309.14859
    diff    itself                          LyCORIS: whole differences of weights, norms and biases

The first four act at alpha / rank. DoRA (Liu et al. 2024, https://arxiv.org/abs/2402.09353) gives the changed weight
another length: `m * (W + D) / |W + D|`, less W is then the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from models.diffusion.adapter_keys import Shape

if TYPE_CHECKING:
    import torch

KINDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "LoRA": (frozenset({"down", "up"}), frozenset({"mid"})),
    "LoHa": (frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}), frozenset({"hada_t1", "hada_t2"})),
    "LoKr": (
        frozenset(),
        frozenset({"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"}),
    ),
    "diff": (frozenset({"diff"}), frozenset()),
    "norm": (frozenset({"w_norm"}), frozenset()),
}
"""Kind of a weight's difference -> the roles that it must have, and may have."""
BIASES = ("diff_b", "b_norm")
LENGTHS = ("dora_scale", "magnitude")
"""The lengths of a DoRA: LyCORIS's, and PEFT's."""
SCALED = ("LoRA", "LoHa", "LoKr")
"""Kinds that act at alpha / rank, and may be lengthened by DoRA."""


def kind_of(roles: set[str]) -> tuple[str | None, str | None]:
    """The kind that these roles of one module make up, None for a bias alone; and what is wrong with them, if it is."""
    own, lengthened = roles - {"alpha", *LENGTHS, *BIASES}, roles & set(LENGTHS)
    if not own:
        return None, None if roles & set(BIASES) and not lengthened else "it has no partner"
    kinds = [kind for kind, (must, may) in KINDS.items() if own & (must | may)]
    must = KINDS[kinds[0]][0]
    if len(kinds) > 1:
        return None, f"it is {' and '.join(kinds)} at once"
    if not must <= own or (kinds[0] == "LoKr" and not _whole_lokr(own)) or ("hada_t1" in own) != ("hada_t2" in own):
        return None, "it has no partner"
    if lengthened and kinds[0] not in SCALED:
        return None, f"it is {kinds[0]} with the lengths of a DoRA"
    return kinds[0], None


def _whole_lokr(roles: set[str]) -> bool:
    return all((f"lokr_{w}" in roles) != ({f"lokr_{w}_a", f"lokr_{w}_b"} <= roles) for w in ("w1", "w2")) and not (
        "lokr_t2" in roles and "lokr_w2" in roles
    )


def rank_of(kind: str, shapes: Mapping[str, Shape]) -> int | None:
    """By what alpha is divided; None where nothing was factored, so that alpha says nothing."""
    if kind == "LoRA":
        return shapes["down"][0]
    if kind == "LoHa":
        return shapes["hada_w1_b"][0]
    factors = [shapes[role] for role in ("lokr_w2_b", "lokr_w1_b") if role in shapes]
    return factors[0][0] if factors else None


def difference_shape(kind: str, shapes: Mapping[str, Shape]) -> Shape | None:
    """[outputs, inputs times kernel] of the difference, or None where the tensors do not fit one another."""
    if kind == "LoRA":
        return _lora_shape(shapes)
    if kind == "LoHa":
        first, second = _factored(shapes, "hada_w1", "hada_t1"), _factored(shapes, "hada_w2", "hada_t2")
        return first if first == second else None
    if kind == "LoKr":
        first, second = _factored(shapes, "lokr_w1"), _factored(shapes, "lokr_w2", "lokr_t2")
        return first and second and (first[0] * second[0], first[1] * second[1])
    shape = shapes["diff" if kind == "diff" else "w_norm"]
    return flat(shape)


def flat(shape: Shape) -> Shape:
    """[outputs, all the rest]; a vector stays one."""
    return shape if len(shape) < 2 else (shape[0], prod(shape[1:]))


def _lora_shape(shapes: Mapping[str, Shape]) -> Shape | None:
    up, down, mid = shapes["up"], shapes["down"], shapes.get("mid")
    if min(len(up), len(down)) < 2 or 0 in (*up, *down):
        return None
    if mid is None:
        return (up[0], flat(down)[1]) if flat(up)[1] == down[0] else None
    fits = flat(up)[1] == mid[0] and down[0] == mid[1] and len(mid) == 4
    return (up[0], flat(down)[1] * prod(mid[2:])) if fits else None


def _factored(shapes: Mapping[str, Shape], name: str, core: str = "") -> Shape | None:
    """Of one factor of a LoHa or LoKr, itself given whole, as a product, or through a core."""
    if name in shapes:
        return flat(shapes[name]) if len(shapes[name]) > 1 else None
    first, second, middle = shapes[f"{name}_a"], shapes[f"{name}_b"], shapes.get(core)
    if len(first) != 2 or len(second) < 2 or 0 in (*first, *second):
        return None
    if middle is None:
        return (first[0], flat(second)[1]) if first[1] == second[0] else None
    fits = len(middle) == 4 and middle[:2] == (first[0], second[0])
    return (first[1], second[1] * prod(middle[2:])) if fits else None


def difference(kind: str, tensors: Mapping[str, Any], weight: torch.Tensor, scale: float) -> torch.Tensor:
    """What is added to a weight.

    Args:
        kind: one of `KINDS`.
        tensors: role -> tensor in fp32, on the weight's device.
        weight: the base's, in fp32, which a DoRA lengthens.
        scale: alpha / rank.
    """
    if kind in ("diff", "norm"):
        whole: torch.Tensor = tensors["diff" if kind == "diff" else "w_norm"].view_as(weight)
        return whole
    change: torch.Tensor = scale * {"LoRA": _lora, "LoHa": _loha, "LoKr": _lokr}[kind](tensors).reshape(weight.shape)
    if "magnitude" in tensors:
        return _lengthened(weight + change, tensors["magnitude"].flatten()) - weight
    return _lengthened(weight + change, tensors["dora_scale"]) - weight if "dora_scale" in tensors else change


def _lora(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    up, down = tensors["up"].flatten(1), tensors["down"].flatten(1)
    return up @ down if "mid" not in tensors else _through(tensors["mid"], up.T, down)


def _loha(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return _product(tensors, "hada_w1", "hada_t1") * _product(tensors, "hada_w2", "hada_t2")


def _lokr(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    import torch

    first, second = _product(tensors, "lokr_w1"), _product(tensors, "lokr_w2", "lokr_t2")
    return torch.kron(first.reshape(*first.shape, *[1] * (second.dim() - first.dim())), second)


def _product(tensors: Mapping[str, torch.Tensor], name: str, core: str = "") -> torch.Tensor:
    if name in tensors:
        return tensors[name]
    first, second = tensors[f"{name}_a"], tensors[f"{name}_b"]
    return _through(tensors[core], first, second) if core in tensors else first @ second.flatten(1)


def _through(core: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """A convolution through its core [i, j, height, width]: first [i, outputs], second [j, inputs]."""
    import torch

    product: torch.Tensor = torch.einsum("ijhw,io,jn->onhw", core, first, second)
    return product


def _lengthened(weight: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The weight with each output's part, or each input's, at the length that a DoRA says."""
    if of_outputs(tuple(lengths.shape), tuple(weight.shape)):
        own = weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.dim() - 1))
    else:
        own = weight.transpose(0, 1).flatten(1).norm(dim=1).reshape(1, -1, *[1] * (weight.dim() - 2))
    lengthened: torch.Tensor = weight * (lengths.reshape(own.shape) / own.clamp(min=1e-12))
    return lengthened


def of_outputs(lengths: Shape, weight: Shape) -> bool | None:
    """Whether a DoRA says a length of each output; False: of each input; None: the numbers are too many or too few.

    LyCORIS and OneTrainer write [outputs, 1, …] or [1, inputs, 1, …]. PEFT's are of outputs, whatever their shape; here
    they are given flat.
    """
    if prod(lengths) == weight[0] and lengths[0] == weight[0]:
        return True
    return False if lengths[0] == 1 and lengths[1:2] == weight[1:2] == (prod(lengths),) else None
