"""Prompts: a scene in words for the pipeline, within the text encoder's 77 tokens."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from models.bases.hub import TOKENIZER, fetch_part
from models.errors import InputError, WeightsInvalid
from models.language.tokens import clip_counter
from models.language.vocabulary import load_vocabulary
from models.profiles import Profile
from models.records import CastMember, FramePrompt, Scene
from models.shots import DISTANCES, framing_words, read_framing

log = logging.getLogger("models.language")

MAX_TOKENS = 77
"""Limit of CLIP's text encoder, with start and end token. It silently drops further tokens."""
ARTICLE = re.compile(r"^(?:the|an?)\s+", re.IGNORECASE)

_counters: dict[str, Callable[[str], int]] = {}
_lock = threading.Lock()


def refine(
    scene: Scene, cast: Sequence[CastMember], profile: Profile, count_tokens: Callable[[str], int]
) -> FramePrompt:
    """Return the scene's prompt: hero and action with everybody described, place, time, things, shot, style.

    This is also the order of importance. If the prompt is too long, whole parts are left out from the end; words of the
    first part are cut only if it is too long by itself. Omitted words are logged and kept in the record.

    Args:
        count_tokens: returns a text's length in the profile's tokens, with start and end token.

    Raises:
        InputError: the scene names somebody who is not in `cast`.
    """
    described, mentioned = describe_cast(scene.action, cast)
    silent = [member for member in _members(scene, cast) if member.name not in mentioned]
    head = " ".join([profile.trigger, described, *(f"with {member.description}" for member in silent)])
    things = [thing if thing.startswith("with ") else f"with {thing}" for thing in scene.things if thing]
    parts = [
        head,
        scene.place,
        scene.time,
        *things,
        words_of_shot(scene, profile),
        *([profile.style] if profile.style else []),
    ]
    kept, cut = fit(parts, count_tokens)
    if cut:
        left_out = ", ".join(cut)
        log.warning("frame %d: left out of the prompt (limit %d tokens): %s", scene.number, MAX_TOKENS, left_out)
    prompt = ", ".join(kept)
    return FramePrompt(
        scene=scene, prompt=prompt, negative_prompt=profile.negative_prompt, tokens=count_tokens(prompt), cut=cut
    )


def words_of_shot(scene: Scene, profile: Profile) -> str:
    """Return the scene's shot in words that the profile's base knows.

    These are the scene's own words unless the panel says another size or angle. A base with a vocabulary knows neither
    angles nor more than its own shots, so there another size counts only if it is another distance.

    Raises:
        WeightsInvalid: the profile's vocabulary is missing or broken.
    """
    said, panel = read_framing(scene.shot), scene.panel
    size = said.size or "MS"
    if (size, said.angle) == (panel.shot_size, panel.angle):
        return scene.shot
    vocabulary, distance = load_vocabulary(profile), DISTANCES[panel.shot_size]
    if vocabulary is not None:
        return scene.shot if DISTANCES[size] == distance else vocabulary.shot.get(distance, scene.shot)
    words = framing_words(panel.shot_size, panel.angle)
    return words if said.size else f"{words}, {scene.shot}"


def describe_cast(action: str, cast: Sequence[CastMember]) -> tuple[str, set[str]]:
    """Return `action` with each cast name's first mention replaced by the member's description, and those names.

    Names match as whole words in any letter case, with or without an article, but not as possessives. Longer names
    match first ("the old merchant" before "the merchant"). Names inside descriptions are not replaced.
    """
    members = {ARTICLE.sub("", member.name).casefold(): member for member in cast}
    if not members:
        return action, set()
    names = "|".join(re.escape(name) for name in sorted(members, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)(?:(?:the|an?)\s+)?({names})(?!\w|['’]s)", re.IGNORECASE)
    seen: set[str] = set()

    def describe(match: re.Match[str]) -> str:
        member = members[match[1].casefold()]
        if member.name in seen:
            return match[0]
        seen.add(member.name)
        return member.description

    return pattern.sub(describe, action), seen


def fit(parts: Sequence[str], count_tokens: Callable[[str], int]) -> tuple[list[str], tuple[str, ...]]:
    """Return the leading parts that fit in `MAX_TOKENS`, and the parts left out, in the prompt's order."""
    kept = list(parts)
    cut: list[str] = []
    while len(kept) > 1 and count_tokens(", ".join(kept)) > MAX_TOKENS:
        cut.insert(0, kept.pop())
    if count_tokens(kept[0]) <= MAX_TOKENS:
        return kept, tuple(cut)
    words = kept[0].split()
    fitting = next((n for n in range(len(words), 0, -1) if count_tokens(" ".join(words[:n])) <= MAX_TOKENS), 1)
    return [" ".join(words[:fitting])], (" ".join(words[fitting:]), *cut)


def token_counter(profile: Profile) -> Callable[[str], int]:
    """Return a function that counts a text's tokens for the profile's text encoders, with start and end token.

    SDXL's two tokenizers share one vocabulary, so the first counts for both. It is loaded once per process.

    Raises:
        WeightsInvalid: its files are missing or broken.
    """
    key = profile.layout if profile.base.is_file else f"{profile.base.source} {profile.base.revision}"
    with _lock:
        if key not in _counters:
            folder = Path(profile.layout) if profile.base.is_file else fetch_part(profile.base, TOKENIZER)
            own = folder / "tokenizer"
            _counters[key] = clip_counter(own) or _transformers_counter(profile.base.source, own)
        counter = _counters[key]

    def count(text: str) -> int:
        with _lock:
            return counter(text)

    return count


def _transformers_counter(source: str, folder: Path) -> Callable[[str], int]:
    """Return the same for tokenizers of any other kind, and say what is wrong with a broken one."""
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # OSError for missing files, a bare Exception of the Rust tokenizer for broken ones
        raise WeightsInvalid(f"tokenizer of {source}: {' '.join(str(error).split())}") from None
    if tokenizer.vocab_size <= len(tokenizer.all_special_tokens):  # the result for an empty folder
        raise WeightsInvalid(f"tokenizer of {source}: no vocabulary in its subfolder 'tokenizer'")
    return lambda text: len(tokenizer(text, truncation=False, verbose=False).input_ids)


def _members(scene: Scene, cast: Sequence[CastMember]) -> Iterator[CastMember]:
    """Yield the scene's cast, each member once."""
    known = {member.name: member for member in cast}
    for name in dict.fromkeys(scene.cast):
        if name not in known:
            raise InputError(f"scene {scene.number} names {name!r}, the cast is {', '.join(known) or 'empty'}")
        yield known[name]
