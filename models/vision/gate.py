"""The decision to accept a frame, and which candidate to keep when none was accepted. Pure functions of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from models.records import Candidate, Scores


def judge(scores: Scores, *, consistency_threshold: float, prompt_threshold: float) -> tuple[bool, tuple[str, ...]]:
    """Whether a frame passes, and why not.

    A score equal to its threshold passes. Frame 1 has no image similarity: the others are compared with it.

    Returns:
        (accepted, reasons), with a reason for each score under its threshold and each anomaly; none when accepted.
    """
    reasons: list[str] = []
    if scores.consistency is not None:
        reasons += _under("image similarity", scores.consistency, consistency_threshold)
    reasons += _under("text–image similarity", scores.prompt, prompt_threshold)
    reasons += scores.anomalies
    return not reasons, tuple(reasons)


def best(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate to keep, by this rule:

    1. an accepted one before a refused one;
    2. then the one with the fewest anomalies;
    3. then the one with the highest sum of both similarities: the gate has one pair of thresholds for all candidates
       of a frame, so the sum orders them as the sum of their margins does;
    4. then the earlier attempt.

    Raises:
        ValueError: there is none.
    """
    if not candidates:
        raise ValueError("there is no candidate to choose from")
    return min(candidates, key=_rank)


def _rank(candidate: Candidate) -> tuple[bool, int, float, int]:
    scores = candidate.scores
    return (
        not candidate.accepted,
        len(scores.anomalies),
        -(scores.prompt + (scores.consistency or 0.0)),
        candidate.attempt,
    )


def _under(name: str, score: float, threshold: float) -> list[str]:
    """A reason if `score` fails; with enough digits to tell the two apart. A NaN fails."""
    if score >= threshold:
        return []
    digits = next((count for count in range(2, 7) if f"{score:.{count}f}" != f"{threshold:.{count}f}"), 7)
    return [f"{name} {score:.{digits}f} is under {threshold:.{digits}f}"]
