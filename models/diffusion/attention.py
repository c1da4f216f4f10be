"""Where a word of the prompt acts in the picture: the UNet's cross-attention from the picture to the word's tokens.

After the last step the UNet is evaluated once more, on the painted latents with some noise and without guidance. The
attention is computed again from the queries and keys of its upward layers (as in DAAM, Tang et al. 2022,
https://arxiv.org/abs/2210.04885, but for one step). Nothing is replaced, so that it works with any attention code. The
steps themselves are not watched, because a CUDA graph runs no hooks when it is replayed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

NOISE = 0.3
"""Share of the schedule at which the latents are noised. On 48 drawings of the steppe world, the strongest attention
was inside the hero's outline on 48 at 0.05 to 0.3, on 46 at 0.9."""
EDM_NOISE = 0.83
"""Noise over signal there, for a base on EDM's schedule."""
FINER = 2
"""Cells of a map to a latent, along each side."""


class Inputs:
    """What the UNet was last called with besides latents."""

    def __init__(self) -> None:
        self.text: Tensor | None = None
        self.added: dict[str, Tensor] = {}

    def last(self, count: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the last `count` rows: under guidance, those of the prompts."""
        assert self.text is not None
        return self.text[-count:], {name: value[-count:] for name, value in self.added.items()}


@contextmanager
def noted_inputs(unet: nn.Module) -> Iterator[Inputs]:
    """Inside, the UNet's text and size inputs are noted. They are the same in every step."""
    noted = Inputs()

    def note(_unet: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        noted.text, noted.added = kwargs["encoder_hidden_states"], kwargs["added_cond_kwargs"]

    handle = unet.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield noted
    finally:
        handle.remove()


def positions_of(tokenizer: Any, prompt: str, word: str) -> list[int]:
    """Return where the word ends in the prompt's tokens, for each time that it is there, up to the model's length.

    CLIP's text encoders are causal: a word's last token alone knows the whole word. Its first ones, often a single
    letter each, act where any word that begins so would.
    """
    if not word:
        return []
    tokens = tokenizer(prompt, truncation=True).input_ids
    wanted = tokenizer(word, add_special_tokens=False).input_ids
    ends = range(len(wanted), len(tokens) + 1)
    return [end - 1 for end in ends if tokens[end - len(wanted) : end] == wanted]


def attention_maps(
    unet: Any, scheduler: Any, latents: Tensor, noise: Tensor, inputs: Inputs, places: Sequence[Sequence[int]]
) -> list[Tensor | None]:
    """Return for each picture how strongly each part of it attends to the given tokens; 1 is the mean.

    Args:
        unet: the base's, without graphs.
        scheduler: that the latents were painted with.
        latents: painted, [N, channels, height, width].
        noise: standard normal, of the same shape.
        inputs: what the UNet was painted with.
        places: for each picture, the tokens' places; a picture without any has no map.

    Returns:
        float32 [2 * height, 2 * width] on the CPU, or None.
    """
    if not any(places):
        return [None for _ in places]
    noised, step = _noised(scheduler, latents.float(), noise.to(latents.device))
    text, added = inputs.last(len(latents))
    watch = _Watch(places, (latents.shape[-2], latents.shape[-1]))
    with ExitStack() as stack:
        for attention in _upward_attentions(unet):
            watch.enter(stack, attention)
        unet(noised.to(unet.dtype), step, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False)
    return [None if not places[row] else watch.mean(row) for row in range(len(latents))]


def _noised(scheduler: Any, latents: Tensor, noise: Tensor) -> tuple[Tensor, float | Tensor]:
    """Return what a UNet is given of latents with a little noise, and the timestep that it is told.

    EDM's schedulers (Karras et al. 2022, https://arxiv.org/abs/2206.00364) have no cumulative products.
    """
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        sigma = EDM_NOISE * scheduler.config.sigma_data
        given: Tensor = scheduler.precondition_inputs(latents + sigma * noise, sigma)
        return given, scheduler.precondition_noise(sigma)
    step = int(NOISE * len(alphas))
    kept = alphas[step].to(latents)
    return kept.sqrt() * latents + (1 - kept).sqrt() * noise, step


def _upward_attentions(unet: Any) -> list[Any]:
    """Return the cross-attentions of the upward blocks: on the way down a picture's parts know less of each other."""
    return [module for name, module in unet.up_blocks.named_modules() if name.endswith(".attn2")]


class _Watch:
    """Adds up the attention to tokens, layer by layer, while the UNet runs."""

    def __init__(self, places: Sequence[Sequence[int]], size: tuple[int, int]) -> None:
        self.places, self.size = places, size
        self.sums: list[Tensor | float] = [0.0 for _ in places]
        self.layers = 0

    def mean(self, row: int) -> Tensor | None:
        """Return the mean over the layers; None if the base has none."""
        found = self.sums[row]
        return (found / self.layers).cpu() if isinstance(found, Tensor) else None

    def enter(self, stack: ExitStack, attention: Any) -> None:
        """Watch a layer until the stack is closed. Its queries are computed before its keys."""
        queries: list[Tensor] = []
        handles = (
            attention.to_q.register_forward_hook(lambda _module, _given, made: queries.append(made)),
            attention.to_k.register_forward_hook(
                lambda _module, _given, made: self._add(attention, queries.pop(), made)
            ),
        )
        for handle in handles:
            stack.callback(handle.remove)

    def _add(self, attention: Any, queries: Tensor, keys: Tensor) -> None:
        heads, (height, width) = attention.heads, _side_by_side(queries.shape[1], self.size)
        self.layers += 1
        for row, places in enumerate(self.places):
            if not places:
                continue
            query, key = (each[row].float().view(len(each[row]), heads, -1).transpose(0, 1) for each in (queries, keys))
            # Softmax runs over all tokens, so all keys are needed.
            shares = (query @ key.transpose(-1, -2) * attention.scale).softmax(dim=-1).mean(dim=0)
            maps = shares[:, list(places)].T.reshape(1, len(places), height, width)
            even = maps / maps.mean(dim=(-1, -2), keepdim=True)  # a token that is seen everywhere counts as much
            fine = functional.interpolate(
                even, [FINER * side for side in self.size], mode="bilinear", align_corners=False
            )
            self.sums[row] = self.sums[row] + fine[0].mean(dim=0)


def _side_by_side(cells: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of a layer that has so many cells; each level halves both, rounding up."""
    height, width = size
    while height * width > cells:
        height, width = -(-height // 2), -(-width // 2)
    assert height * width == cells, f"{cells} cells are no part of {size}"
    return height, width
