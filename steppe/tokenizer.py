"""The tokenizer of the steppe world: CLIP's own kind, with a small vocabulary learnt from captions.

Laid out as OpenAI's CLIP does it: 256 byte tokens, the same 256 as word ends, the merges, then the two special
tokens. So any text has tokens, and the end-of-text token stands for nothing but the end of a text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 77
VOCABULARY_SIZE = 1024
# Names of the tales, which no caption of the base has: one token a name instead of a string of letters.
NAMES = ("aldar kose", "aldar", "kose")


def train_tokenizer(captions: Iterable[str]) -> Any:
    """A `transformers.CLIPTokenizer` of `VOCABULARY_SIZE` tokens at most, learnt from captions."""
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
    """Token numbers of captions as int64 [captions, 77]."""
    return tokenizer(
        captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    ).input_ids
