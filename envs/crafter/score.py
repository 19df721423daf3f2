"""How well an agent does in Crafter: success tests of the 22 achievements, and the Crafter score of Hafner (2021), arXiv 2109.06780.

The paper's protocol: 1 M environment steps of learning from pictures and Crafter's own reward; success rates over all episodes of that
budget. A score of a policy evaluated after learning, of one that reads symbols, or of one that runs coded skills is computed by the same
formula and is *not* comparable with the paper's numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rlgpt.envs.crafter.rules import ACHIEVEMENTS

HUMAN_EXPERTS = 50.5
"""Crafter score of human experts, in percent (table 1 of the paper)."""


def success_test(achievement: str) -> str:
    """The expression that holds once the achievement has been unlocked in an episode."""
    if achievement not in ACHIEVEMENTS:
        raise ValueError(f"{achievement!r} is no achievement of Crafter; there are {', '.join(ACHIEVEMENTS)}")
    return f"info['achievements']['{achievement}'] > 0"


def success_rates(episodes: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """Percentage of episodes that unlocked each achievement, from how often each was achieved per episode."""
    if not episodes:
        raise ValueError("no episodes, so that there is no success rate")
    return {name: 100 * sum(episode[name] > 0 for episode in episodes) / len(episodes) for name in ACHIEVEMENTS}


def crafter_score(rates: Mapping[str, float]) -> float:
    """The geometric mean of the success rates s_i in percent, shifted by one: exp(mean(ln(1 + s_i))) - 1, from 0 to 100."""
    wrong = {name: rate for name, rate in rates.items() if not 0 <= rate <= 100}
    if set(rates) != set(ACHIEVEMENTS) or wrong:
        raise ValueError(f"the Crafter score needs the 22 success rates in percent; got {sorted(rates)}, out of range: {wrong}")
    return math.exp(sum(math.log1p(rate) for rate in rates.values()) / len(ACHIEVEMENTS)) - 1
