"""Episodes in which a skill plays alone, with the calls it made of other skills: what a policy can be cloned from.

They come from a locked worker that holds the skills, and are only claims: whoever learns from them repeats the actions elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.errors import WorkerDied
from rlgpt.envs.handle import plain
from rlgpt.envs.layout import Shape
from rlgpt.envs.learned import packed
from rlgpt.envs.limits import Limits
from rlgpt.envs.space import leaves
from rlgpt.envs.zygote import Zygote, work_for


@dataclass(frozen=True)
class Demonstration:
    """One episode, T environment steps.

    actions  [T, ...] primitive actions
    callee   [T] int32  index of the skill that had been called when the step was taken, -1 where it was the player's own action
    call     [T] int32  number of that call within the episode
    success  by the worker's account; fault  why the episode was given up, empty if it was not
    """

    seed: int
    actions: npt.NDArray[Any]
    callee: npt.NDArray[np.int32]
    call: npt.NDArray[np.int32]
    success: bool
    fault: str

    @property
    def steps(self) -> int:
        """T."""
        return len(self.actions)

    def decisions(self) -> npt.NDArray[np.int64]:
        """Steps at which somebody who may choose skills as well as primitive actions would have decided: [D], ascending."""
        return np.flatnonzero((self.callee < 0) | np.concatenate([[True], self.call[1:] != self.call[:-1]])[: self.steps])


class Demonstrator:
    """A worker in which skills play whole episodes. Use in a `with` statement. Raises as `rlgpt.envs.trial.describe`, and SkillInvalid."""

    def __init__(
        self,
        environment: Environment,
        success: str,
        skills: Sequence[Skill],
        *,
        library: Sequence[Skill] = (),
        call_s: float = 24.0,
        limits: Limits | None = None,
    ) -> None:
        """`library`: further skills, which those in `skills` may call; their actions count as the caller's own."""
        sources, others = ([packed(skill) for skill in part] for part in (skills, library))
        self._skills, self._work = len(skills), work_for(sources, success, library=others, call_s=call_s)
        self._zygote = Zygote(environment, limits=limits)
        try:
            self._begin()
        except BaseException:
            self._zygote.close()
            raise

    def _begin(self) -> None:
        description = self._zygote.description
        (self._acted,) = leaves(description.action_space)
        shape = Shape(description.observation_space, description.action_space, 1, self._skills, 0)
        self._worker = self._zygote.fork(shape, self._work)

    def play(self, skill: int, seed: int, *, deadline_s: float = 300.0) -> Demonstration:
        """The episode of `seed` in which this skill is called again and again. A worker that is lost is replaced; `fault` says why."""
        try:
            account = self._worker.ask({"play": int(seed), "skill": int(skill)}, deadline_s)
        except WorkerDied as death:
            self._begin()
            return self._read({}, seed, str(death))
        return self._read(account, seed, plain(account.get("fault", ""), 2000))

    def _read(self, account: dict[str, Any], seed: int, fault: str) -> Demonstration:
        """What the worker told, checked for its form."""
        size = self._acted.dtype.itemsize * int(np.prod(self._acted.shape))
        parts = [account.get(name, b"") for name in ("actions", "callee", "call")]
        steps = len(parts[1]) // 4 if isinstance(parts[1], bytes) else -1
        if not all(isinstance(part, bytes) for part in parts) or [len(part) for part in parts] != [steps * size, steps * 4, steps * 4]:
            parts, steps, fault = [b"", b"", b""], 0, "the worker's account of the episode cannot be"
        actions = np.frombuffer(parts[0], self._acted.dtype).reshape(steps, *self._acted.shape)
        callee, call = (np.frombuffer(part, np.int32) for part in parts[1:])
        if steps and not (callee.min() >= -1 and callee.max() < self._skills):
            fault = "the worker told of skills that are not there"
        whole = account.get("over") is True and not fault
        return Demonstration(int(seed), actions, callee, call, whole and account.get("success") is True, fault)

    def close(self) -> None:
        """End the processes."""
        self._zygote.close()

    def __enter__(self) -> Demonstrator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
