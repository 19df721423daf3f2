"""What an environment says of itself: spaces, time limit, a first observation in words. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from rlgpt.envs.space import SpaceData


@dataclass(frozen=True)
class Description:
    """An environment as a worker found it.

    id                 registered id
    observation_space  as `envs/space.py` describes spaces
    action_space       likewise
    max_episode_steps  time limit in environment steps, None if it has none
    words              the first observation of seed 0, in words
    info               scalars of the first `info`, in words
    warnings           what Gymnasium and the environment warned of
    toolkit            the card's functions, a line each: signature and what it does
    """

    id: str
    observation_space: SpaceData
    action_space: SpaceData
    max_episode_steps: int | None
    words: str
    info: str = ""
    warnings: tuple[str, ...] = ()
    toolkit: tuple[str, ...] = ()
