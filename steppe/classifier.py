"""The classifier: a network that predicts every attribute of a picture.

It is trained on drawings only, and measures how much of a prompt is in a picture. It is a small convolutional network
(ConvNeXt's blocks, https://arxiv.org/abs/2201.03545) with an attention-pooled head for each attribute, so that the
heads for the left and the right person can look at different places.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from steppe.world import ATTRIBUTES

NO, YES = "no", "yes"
HEADS: dict[str, tuple[str, ...]] = {
    **ATTRIBUTES,
    "hero_robe": (NO, YES),
    "hero_hat": (NO, YES),
    "hero_face": (NO, YES),
    "heroes": ("0", "1", "2"),
}
"""The classifier's outputs: every attribute; whether somebody wears Aldar's robe, or his kalpak; whether Aldar is there
with a whole face (eyes, beard, no smear); and how many of him there are."""
UNKNOWN = 255
"""Label of an attribute without a value in a drawing, such as the colour of Aldar's robe."""
_CELLS = 8
"""Learned positions a side; they are stretched over pictures of another shape."""
_STEM, _WIDTHS, _DEPTHS = 24, (40, 80, 112), (2, 3, 3)


class Block(nn.Module):
    """Depthwise 7x7 convolution and a two-layer perceptron per pixel, with a residual; keeps [N, C, H, W]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.up = nn.Conv2d(width, 3 * width, 1)
        self.down = nn.Conv2d(3 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, of the shape of `x`."""
        hidden: Tensor = self.down(functional.gelu(self.up(self.norm(self.spread(x)))))
        return x + hidden


class Classifier(nn.Module):
    """Maps pictures [N, 3, H, W] in -1..1, of any shape of `steppe.shapes`, to logits for each head."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, _STEM, 4, 2, 1), nn.GELU()]
        before, stride = _STEM, 4
        for width, depth in zip(_WIDTHS, _DEPTHS, strict=True):
            layers += [nn.Conv2d(before, width, stride, stride), *(Block(width) for _ in range(depth))]
            before, stride = width, 2
        self.body = nn.Sequential(*layers)
        self.place = nn.Parameter(torch.zeros(1, before, _CELLS, _CELLS))
        self.look = nn.Conv1d(before, len(HEADS), 1)
        self.answers = nn.ModuleList(nn.Linear(before, len(values)) for values in HEADS.values())

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return logits [N, values] for each head, in the order of HEADS."""
        features = self.body(pictures)
        place = functional.interpolate(self.place, features.shape[-2:], mode="bilinear", align_corners=False)
        features = (features + place).flatten(2)
        attention = self.look(features).softmax(dim=-1)
        pooled = torch.einsum("nhc,ndc->hnd", attention, features)
        return [answer(pooled[index]) for index, answer in enumerate(self.answers)]


def to_pixels(pictures: Tensor) -> Tensor:
    """Convert uint8 [N, H, W, 3] to float [N, 3, H, W] in -1..1."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def verdicts(classifier: Classifier, pictures: Tensor) -> list[dict[str, str]]:
    """Return the classifier's value for every head, for each of the uint8 pictures [N, H, W, 3]."""
    with torch.inference_mode():
        rows = [logits.argmax(dim=-1).tolist() for logits in classifier(to_pixels(pictures))]
    return [
        {name: HEADS[name][row[index]] for name, row in zip(HEADS, rows, strict=True)} for index in range(len(pictures))
    ]


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Write the classifier's weights as fp16 safetensors."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.half().contiguous() for name, value in classifier.state_dict().items()},
        folder / "model.safetensors",
    )


def load_classifier(folder: Path) -> Classifier:
    """Return the classifier that `save_classifier` wrote, in fp32 and evaluation mode."""
    from safetensors.torch import load_file

    classifier = Classifier()
    classifier.load_state_dict({name: value.float() for name, value in load_file(folder / "model.safetensors").items()})
    return classifier.eval()


def parameters(module: Any) -> int:
    """Return the number of a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
