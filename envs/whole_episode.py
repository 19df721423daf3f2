"""A whole episode played by one skill, and at which steps it had called another: the worker's side of a demonstration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlgpt.envs.actions import Action, ActionReader
from rlgpt.envs.episode import Episode
from rlgpt.envs.skill import Calls, CompiledSkill
from rlgpt.envs.space import leaves

MAX_STEPS = 100_000
"""Of a demonstration; one that goes on longer is of no use, and its account would not fit into a message."""
MAX_BYTES = 3 << 20


def play_episode(
    episode: Episode, skill: CompiledSkill, seed: int, calls: Calls, names: Sequence[str], reader: ActionReader
) -> dict[str, Any]:
    """Call the skill again and again until the episode of `seed` is over.

    -> steps T, over, success, fault (why it was given up, in words); as bytes: actions [T, ...] of the action space's own kind,
       callee [T] int32 (index into `names` of the skill it had called when it took the step, -1: its own action), call [T] int32
       (how many such calls had begun by then: where it changes, a new call began)
    """
    (acted,) = leaves(reader.space)
    actions: list[Action] = []
    callee: list[int] = []
    call: list[int] = []
    index = {name: i for i, name in enumerate(names)}
    most = min(MAX_STEPS, MAX_BYTES // (acted.dtype.itemsize * max(1, int(np.prod(acted.shape))) + 8))

    def note(action: Action) -> None:
        actions.append(action)
        callee.append(index.get(calls.callee, -1))
        call.append(calls.begun)

    calls.callee, calls.begun = "", 0
    others, episode.after_step = episode.after_step, note
    fault = ""
    try:
        episode.reset(seed)
        while not (episode.over or fault):
            fault = episode.call(skill, advance=True).fault
            if len(actions) > most:
                fault = f"the episode goes on after {most} steps"
    finally:
        episode.after_step = others
    kept = min(len(actions), most)
    return {
        "steps": kept,
        "over": episode.over,
        "success": episode.success,
        "fault": fault,
        "actions": np.array(actions[:kept], acted.dtype).tobytes(),
        "callee": np.array(callee[:kept], np.int32).tobytes(),
        "call": np.array(call[:kept], np.int32).tobytes(),
    }
