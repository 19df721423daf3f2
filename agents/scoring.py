"""Scores put together: the seeds of one plan, and the stages of a chain. Pure; no numpy, since every process folds the log."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlgpt.bus.messages import TrainingFinished
from rlgpt.bus.parts import Score


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927, JASA 22), which stays within 0 and 1 and has a width at 0 and n of n too."""
    z = 1.959964
    share, shrink = successes / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def pooled(results: Sequence[TrainingFinished]) -> Score | None:
    """Of all seeds of a plan together. A seed without a policy counts with as many episodes, all failed; None if none has one.

    Return, length and shares of decisions are those of the episodes that were played.
    """
    scores = [result.score for result in results if result.score]
    if not scores:
        return None
    played = sum(score.episodes for score in scores)
    n = played + scores[0].episodes * (len(results) - len(scores))
    successes = sum(score.successes for score in scores)
    low, high = wilson(successes, n)
    names = dict.fromkeys(name for score in scores for name in score.usage)
    return scores[0].model_copy(
        update={
            "episodes": n,
            "successes": successes,
            "rate": successes / n,
            "low": low,
            "high": high,
            "mean_return": sum(score.mean_return * score.episodes for score in scores) / played,
            "mean_steps": sum(score.mean_steps * score.episodes for score in scores) / played,
            "env_steps": sum(score.env_steps for score in scores),
            "verified": _verified(scores),
            "usage": {name: sum(score.usage.get(name, 0.0) * score.episodes for score in scores) / played for name in names},
        }
    )


def chained(stages: Sequence[Score], *, whole: bool, seeds: int = 1) -> Score | None:
    """Of the first stage's held-out seeds, those that passed every stage; each stage but the first began where the one before succeeded.

    stages  scores of the stages so far, in order, every one but the last of the policy that went on
    whole   these are all the stages; a chain cut short succeeds nowhere
    seeds   policies that were scored together in the last stage: each of them plays the whole chain

    Return and length are sums along the chain, for each of the first stage's seeds. None without a stage.
    """
    if not stages:
        return None
    first, last = stages[0], stages[-1]
    n = first.episodes if len(stages) == 1 else first.episodes * seeds
    successes = last.successes if whole else 0
    low, high = wilson(successes, n)
    # A seed that failed earlier plays no part in the later stages; the last stage was played once by each of `seeds` policies.
    plays = [score.episodes / (n if score is last else first.episodes) for score in stages]
    return last.model_copy(
        update={
            "episodes": n,
            "successes": successes,
            "rate": successes / n,
            "low": low,
            "high": high,
            "mean_return": sum(score.mean_return * share for score, share in zip(stages, plays, strict=True)),
            "mean_steps": sum(score.mean_steps * share for score, share in zip(stages, plays, strict=True)),
            "first_seed": first.first_seed,
            "env_steps": sum(score.env_steps for score in stages),
            "verified": _verified(stages),
            "usage": {},
        }
    )


def _verified(scores: Sequence[Score]) -> bool | None:
    """One that was not confirmed is the word for all; then one that could not be."""
    found = {score.verified for score in scores}
    return False if False in found else None if None in found else True
