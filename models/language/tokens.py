"""Counts CLIP's tokens without transformers, whose import takes seconds and needs torch.

The tokenizer is built as `transformers.CLIPTokenizer` 5 builds it, on the same library; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

START, END = "<|startoftext|>", "<|endoftext|>"
_PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def clip_counter(folder: Path) -> Callable[[str], int] | None:
    """Return a function that counts a text's tokens with start and end token; None if the files are not CLIP's usual.

    Args:
        folder: the tokenizer's, with tokenizer_config.json, and tokenizer.json or vocab.json and merges.txt.
    """
    from tokenizers import Tokenizer

    try:
        special = json.loads((folder / "tokenizer_config.json").read_bytes())
        if [special.get(name) for name in ("bos_token", "eos_token", "unk_token")] != [START, END, END]:
            return None
        whole = folder / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(whole)) if whole.is_file() else _from_parts(folder)
    except Exception:  # the library raises bare ones; transformers then says what is wrong
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if None in (tokenizer.token_to_id(START), tokenizer.token_to_id(END)):
        return None
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids) + 2


def _from_parts(folder: Path) -> Any:
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    vocabulary = json.loads((folder / "vocab.json").read_bytes())
    merges = _merges((folder / "merges.txt").read_text(encoding="utf-8"))
    tokenizer = Tokenizer(BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token=END))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([START, END])
    return tokenizer


def _merges(text: str) -> list[tuple[str, str]]:
    pairs = (line.split() for line in text.splitlines() if line and not line.startswith("#version"))
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
