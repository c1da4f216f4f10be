"""The small CLIP's objective: captions and pictures, and the leading person in whole pictures and in crops."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from steppe.architecture import CLIP_SIZE
from steppe.classifier import to_pixels
from steppe.objectives import roughen

FIGURE, FACE = (-2.4, -2.6, 2.4, 6.4), (-2.4, -2.6, 2.4, 2.0)
"""Left, upper, right and lower edge of a person, and of head and hat, in head radii from the head's middle."""
ASTRAY = 0.6
"""Standard deviation of these edges in training, in head radii: the hero's box is found, not known."""


class LikenessLoss(nn.Module):
    """The small CLIP's loss: InfoNCE of captions and pictures, plus contrastive losses over the leading person.

    The second part (supervised contrastive loss, https://arxiv.org/abs/2004.11362) makes the person count more than the
    place in a picture's vector. It is taken of whole pictures, of the person alone, and of head and hat alone, since
    these are the crops that are compared when a board is painted.
    """

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, pictures: Tensor, tokens: Tensor, heads: Tensor, who: Tensor, hat: Tensor) -> Tensor:
        """Return the scalar loss.

        Args:
            pictures: uint8 [N, H, W, 3].
            tokens: of their captions, [N, 77].
            heads: column, row and radius of each head, [N, 2, 3]; the first is the leading person's.
            who: a number for each leading person, [N].
            hat: a number for each kind of head with its hat, [N].
        """
        pixels = roughen(to_pixels(pictures))
        figures, faces = (cut_round(pixels, heads[:, 0], part) for part in (FIGURE, FACE))
        seen = self.clip.get_image_features(pixel_values=torch.cat([letterbox(pixels), figures, faces])).pooler_output
        image, figure, face = functional.normalize(seen.float(), dim=-1).chunk(3)
        said = self.clip.get_text_features(input_ids=tokens).pooler_output
        text = functional.normalize(said.float(), dim=-1)
        logits = image @ text.T * self.clip.logit_scale.exp().clamp(max=100).float()
        own = torch.arange(len(image), device=image.device)
        matched = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
        return matched + same_person_loss(image, who) + same_person_loss(figure, who) + same_person_loss(face, hat)


def cut_round(pixels: Tensor, heads: Tensor, part: tuple[float, ...]) -> Tensor:
    """Return a part of the person with each of `heads` [N, 3], with grey margins, [N, 3, 128, 128].

    Args:
        pixels: pictures [N, 3, H, W] in -1..1.
        heads: column, row and radius.
        part: its edges as in FIGURE; they move by ASTRAY, and stay inside the picture.
    """
    high, wide = pixels.shape[-2:]
    x, y, radius = (heads[:, n].float() for n in range(3))
    astray = ASTRAY * torch.randn(4, len(heads), device=pixels.device)
    left, upper, right, lower = (edge + by for edge, by in zip(part, astray, strict=True))
    across = torch.stack([x + left * radius, x + right * radius], dim=1).clamp(0, wide)
    down = torch.stack([y + upper * radius, y + lower * radius], dim=1).clamp(0, high)
    side = torch.maximum(across.diff(dim=1), down.diff(dim=1)).clamp(min=8)  # of the square around the part
    place = (torch.arange(CLIP_SIZE, device=pixels.device) + 0.5) / CLIP_SIZE - 0.5
    columns, rows = (middle.mean(dim=1, keepdim=True) + side * place for middle in (across, down))
    grid = torch.stack(
        [
            (2 * columns / wide - 1)[:, None, :].expand(-1, CLIP_SIZE, -1),
            (2 * rows / high - 1)[:, :, None].expand(-1, -1, CLIP_SIZE),
        ],
        dim=-1,
    )
    seen = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    inside = [
        ((line >= ends[:, :1]) & (line < ends[:, 1:])).float() for line, ends in ((columns, across), (rows, down))
    ]
    return seen * inside[0][:, None, None, :] * inside[1][:, None, :, None]


def letterbox(pixels: Tensor) -> Tensor:
    """Return pictures [N, 3, H, W] in -1..1 padded with grey to squares and reduced to [N, 3, 128, 128]."""
    height, width = pixels.shape[-2:]
    if height == width:
        return functional.avg_pool2d(pixels, height // CLIP_SIZE)
    side = max(height, width)
    above, before = (side - height) // 2, (side - width) // 2
    square = functional.pad(pixels, (before, side - width - before, above, side - height - above))
    return functional.interpolate(square, (CLIP_SIZE, CLIP_SIZE), mode="bilinear", antialias=True)


def same_person_loss(image: Tensor, who: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the supervised contrastive loss of unit vectors [N, D]; positives share `who` [N]."""
    itself = torch.eye(len(image), dtype=torch.bool, device=image.device)
    logits = (image @ image.T / temperature).masked_fill(itself, -1e4)
    same = (who[:, None] == who[None, :]) & ~itself
    found = logits.log_softmax(dim=-1).masked_fill(~same, 0.0).sum(dim=-1)
    return -(found / same.sum(dim=-1).clamp(min=1)).mean()
