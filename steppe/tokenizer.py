"""The tokenizer of the steppe world: CLIP's kind, with a small vocabulary trained on captions.

The order is that of OpenAI's CLIP: 256 byte tokens, the same 256 as word ends, the merges, then the two special tokens.
So every text can be encoded, and the end-of-text token has no other meaning.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 77
VOCABULARY_SIZE = 1024
# Names that no caption of the base contains: each gets one token instead of one per letter.
NAMES = ("aldar kose", "aldar", "kose")


def train_tokenizer(captions: Iterable[str]) -> Any:
    """Return a `transformers.CLIPTokenizer` of at most `VOCABULARY_SIZE` tokens, trained on captions."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    corpus = [*captions, *NAMES * 100]
    merges_wanted = VOCABULARY_SIZE - 2 * 256 - 2
    learnt = CLIPTokenizer().train_new_from_iterator(corpus, merges_wanted + 256)
    merges = json.loads(learnt.backend_tokenizer.to_str())["model"]["merges"][:merges_wanted]
    pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in pairs), START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=MAX_TOKENS)


def encode(tokenizer: Any, captions: list[str]) -> Any:
    """Return the token numbers of captions, int64 [captions, 77]."""
    return tokenizer(
        captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    ).input_ids
