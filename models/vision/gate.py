"""The gate: accepts or refuses a frame by its scores, and chooses the candidate to keep. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from models.records import Candidate
from models.scores import Bounds, Scores


def judge(
    scores: Scores, *, consistency_threshold: float, prompt_threshold: float, bounds: Bounds | None = None
) -> tuple[bool, tuple[str, ...]]:
    """Return whether a frame passes the gate, and the reasons if not.

    Where the hero was found, he is compared with frame 1's or his calibrated pictures; else the whole picture with
    frame 1. A score equal to its threshold passes. Frame 1 has no image similarity, because it is the reference.

    Returns:
        (accepted, reasons): one reason for each score under its threshold and each anomaly; none if accepted.
    """
    reasons: list[str] = []
    hero = None if bounds is None else bounds.score(scores.likeness)
    if bounds is not None and hero is not None:
        reasons += _under("likeness of the hero", hero, bounds.least)
    elif scores.consistency is not None:
        reasons += _under("image similarity", scores.consistency, consistency_threshold)
    reasons += _under("text–image similarity", scores.prompt, prompt_threshold)
    reasons += scores.anomalies
    return not reasons, tuple(reasons)


def best(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate to keep, by these rules in order:

    1. an accepted one before a refused one;
    2. the one with the fewest anomalies;
    3. the one with the highest sum of both similarities (of his crop, where he was found); since all candidates of a
       frame have the same thresholds, this is also the highest sum of margins;
    4. the earlier attempt.

    Raises:
        ValueError: there are no candidates.
    """
    if not candidates:
        raise ValueError("there is no candidate to choose from")
    return min(candidates, key=_rank)


def _rank(candidate: Candidate) -> tuple[bool, int, float, int]:
    scores = candidate.scores
    return (
        not candidate.accepted,
        len(scores.anomalies),
        -(scores.prompt + _similarity(scores)),
        candidate.attempt,
    )


def _similarity(scores: Scores) -> float:
    """Return how alike a frame is: his own pictures first, then frame 1's hero, then frame 1 as a whole."""
    alike = scores.likeness
    known = (None if alike is None else alike.own, None if alike is None else alike.crop, scores.consistency)
    return next((value for value in known if value is not None), 0.0)


def _under(name: str, score: float, threshold: float) -> list[str]:
    """Return a reason if the score is under its threshold or NaN, with enough digits to tell the two apart."""
    if score >= threshold:
        return []
    digits = next((count for count in range(2, 7) if f"{score:.{count}f}" != f"{threshold:.{count}f}"), 7)
    return [f"{name} {score:.{digits}f} is under {threshold:.{digits}f}"]
