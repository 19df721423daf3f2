"""What the learner chooses from: an environment's action space, with skills in it.

`SkillActions.of(space, ...)` is the one entrance. `space` is what the policy sees, `decode` turns a batch of its actions into choices
for the worker pool. A choice of a skill that cannot run now becomes a primitive action, whatever the space; a masking policy makes none.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from typing_extensions import override

from rlgpt.bus.errors import Explained
from rlgpt.envs.transitions import Call, Choice, Primitive

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]


class ActionsUnsupported(Explained, ValueError):
    """An action space, or a choice of primitives, that a learner with skills cannot take."""


def action_names(space: spaces.Space[Any], words: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of a Discrete space's actions, in order: the scenario's words if it has them, otherwise the environment's numbers."""
    if not isinstance(space, spaces.Discrete):
        return ()
    if words and len(words) != space.n:
        raise ActionsUnsupported(
            f"environment.actions names {len(words)} actions ({', '.join(words)}), but the action space is {space}: "
            "name all of them, or none"
        )
    return tuple(words) or tuple(str(space.start + i) for i in range(int(space.n)))


def kept_numbers(words: Sequence[str], primitives: Sequence[str]) -> list[int]:
    """Numbers of the Discrete actions that stay, as far as names tell: what a pool may take where a call takes no step (empty: any)."""
    numbers = {name: i for i, name in enumerate(words)}
    return [numbers.get(name, int(name) if name.isdecimal() else -1) for name in primitives if name in numbers or name.isdecimal()]


class SkillActions(ABC):
    """The learner's side of an action space with S skills.

    space  what the policy sees
    names  of what a decision can be, for usage counts: primitive actions by name (Discrete) or all as "primitive", then the skills
    """

    space: spaces.Space[Any]
    names: tuple[str, ...]

    def __init__(self, skills: Sequence[str], primitives: Sequence[str]) -> None:
        self.names = tuple(primitives) + tuple(f"{name} (skill)" if name in primitives else name for name in skills)
        self.primitives = len(primitives)
        self._calls = [Call(skill) for skill in range(len(skills))]

    @staticmethod
    def of(space: spaces.Space[Any], skills: Sequence[str] = (), primitives: Sequence[str] = (), words: Sequence[str] = ()) -> SkillActions:
        """The form for this kind of space.

        skills      names, in the pool's order
        primitives  names of the primitive actions that stay (Discrete only; empty: all)
        words       names of all primitive actions (Discrete only; empty: the environment's numbers)
        """
        if isinstance(space, spaces.Discrete):
            return DiscreteActions(space, skills, primitives, words)
        if primitives:
            raise ActionsUnsupported(
                f"primitives ({', '.join(primitives)}) can only restrict Discrete actions, not {type(space).__name__}: leave it empty"
            )
        if isinstance(space, spaces.MultiDiscrete):
            return MultiDiscreteActions(space, skills)
        if isinstance(space, spaces.Box):
            return BoxActions(space, skills)
        raise ActionsUnsupported(
            f"actions of kind {type(space).__name__} ({space}) cannot take skills; Discrete, MultiDiscrete and Box can: "
            "wrap the environment so that it offers one of them"
        )

    def decode(self, actions: Array, runnable: Bools) -> tuple[list[Choice], npt.NDArray[np.int64]]:
        """The policy's actions as choices for the pool, and what each is, as an index into `names`.

        actions   [B, ...] as the policy gave them
        runnable  [B, S]   skills that can run now
        """
        chosen = self._chosen(actions)
        if not self._calls:
            return [self._primitive(actions[i], which) for i, which in enumerate(chosen.tolist())], chosen
        skill = chosen - self.primitives
        blocked = (skill >= 0) & ~np.take_along_axis(np.pad(runnable, ((0, 0), (0, 1))), np.maximum(skill, 0)[:, None], 1)[:, 0]
        chosen = np.where(blocked, 0, chosen)
        calls = self._calls
        choices: list[Choice] = [
            calls[which - self.primitives] if which >= self.primitives else self._primitive(actions[i], which)
            for i, which in enumerate(chosen.tolist())
        ]
        return choices, chosen

    @abstractmethod
    def mask(self, runnable: Bools) -> Bools | None:
        """[B, n] for MaskablePPO, in the layout of sb3-contrib; None where the space cannot be masked (Box)."""

    @abstractmethod
    def encode(self, choice: Choice) -> Array | None:
        """The policy's action, one row, that `decode` makes this choice of; None where the policy has none (a primitive that is left out).

        What a space leaves open (the rest of a MultiDiscrete action beside a skill, the numbers beside a Box's logits) is 0.
        """

    @abstractmethod
    def _chosen(self, actions: Array) -> npt.NDArray[np.int64]:
        """[B] index into `names`."""

    @abstractmethod
    def _primitive(self, action: Array, which: int) -> Primitive:
        """The primitive action of one row; `which` is its index into `names`."""


class DiscreteActions(SkillActions):
    """Discrete(n) -> the primitives that stay, then one more choice per skill. What cannot run becomes the first primitive."""

    def __init__(self, space: spaces.Discrete[Any], skills: Sequence[str], primitives: Sequence[str], words: Sequence[str]) -> None:
        all_names = action_names(space, words)
        for name in primitives:
            if name not in all_names:
                near = difflib.get_close_matches(name, all_names, n=1)
                raise ActionsUnsupported(
                    f"primitives names {name!r}, which is no action of {space} ({', '.join(all_names)})"
                    + (f"; did you mean {near[0]!r}?" if near else "")
                )
        kept = [i for i, name in enumerate(all_names) if not primitives or name in primitives]
        super().__init__(skills, [all_names[i] for i in kept])
        self._kept = [Primitive(int(space.start) + i) for i in kept]
        self._place = {int(space.start) + number: i for i, number in enumerate(kept)}
        self.space = spaces.Discrete(len(self.names))

    def mask(self, runnable: Bools) -> Bools:
        return np.concatenate([np.ones((len(runnable), self.primitives), np.bool_), runnable], axis=1)

    def encode(self, choice: Choice) -> Array | None:
        which = self.primitives + choice.skill if isinstance(choice, Call) else self._place.get(int(choice.action))
        return None if which is None else np.array(which, np.int64)

    def _chosen(self, actions: Array) -> npt.NDArray[np.int64]:
        return actions.reshape(-1).astype(np.int64)

    @override
    def _primitive(self, action: Array, which: int) -> Primitive:
        return self._kept[which]


class MultiDiscreteActions(SkillActions):
    """MultiDiscrete(nvec) -> one more leading choice: 0 takes the rest as the primitive action, s the skill s - 1, ignoring the rest."""

    def __init__(self, space: spaces.MultiDiscrete, skills: Sequence[str]) -> None:
        super().__init__(skills, ["primitive"])
        self._shape, self._dtype = space.nvec.shape, space.dtype
        self._start = space.start.reshape(-1)
        self._leading, self._own = bool(skills), int(space.nvec.sum())
        nvec = space.nvec.reshape(-1)
        self.space = spaces.MultiDiscrete(np.concatenate([[1 + len(skills)], nvec]) if skills else nvec)

    def mask(self, runnable: Bools) -> Bools:
        ones = np.ones((len(runnable), self._own), np.bool_)
        return np.concatenate([np.ones_like(ones[:, :1]), runnable, ones], axis=1) if self._leading else ones

    def encode(self, choice: Choice) -> Array:
        if isinstance(choice, Call):
            return np.array([1 + choice.skill, *np.zeros_like(self._start)], np.int64)
        own = np.asarray(choice.action, np.int64).reshape(-1) - self._start
        return np.concatenate([[0], own]) if self._leading else own

    def _chosen(self, actions: Array) -> npt.NDArray[np.int64]:
        return actions[:, 0].astype(np.int64) if self._leading else np.zeros(len(actions), np.int64)

    @override
    def _primitive(self, action: Array, which: int) -> Primitive:
        own = action[1:] if self._leading else action
        return Primitive((own.astype(np.int64) + self._start).reshape(self._shape).astype(self._dtype))


class BoxActions(SkillActions):
    """Box of d numbers -> d + 1 + S numbers: the primitive action, scaled to [-1, 1], and logits, of which the largest wins.

    The first logit stands for "primitive", the others for a skill each; without skills there are none. The policy is Gaussian over all
    of them, and the log-probability is that of the whole vector. Its logits begin as independent numbers of mean 0 and deviation 1, so
    at first each of the 1 + S is taken equally often; they are compared as drawn, not clipped to the space's bounds, where ties would
    always fall to the first. Scaling gives every dimension the same room to explore, whatever its unit.
    """

    def __init__(self, space: spaces.Box, skills: Sequence[str]) -> None:
        super().__init__(skills, ["primitive"])
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise ActionsUnsupported(f"{space} has unbounded dimensions; wrap the environment so that every action has finite bounds")
        self._low, self._span = space.low.astype(np.float64), (space.high.astype(np.float64) - space.low.astype(np.float64))
        self._shape, self._dtype, self._size = space.shape, space.dtype, int(np.prod(space.shape))
        logits = 1 + len(skills) if skills else 0
        self._logits = bool(skills)
        self.space = spaces.Box(-1.0, 1.0, (self._size + logits,), np.float32)

    @override
    def mask(self, runnable: Bools) -> None:
        return None

    def encode(self, choice: Choice) -> Array:
        logits = -np.ones(1 + len(self._calls) if self._logits else 0)
        own = np.zeros(self._size)
        if isinstance(choice, Call):
            logits[1 + choice.skill] = 1.0
        else:
            logits[:1] = 1.0
            given = np.asarray(choice.action, np.float64)
            own = np.where(self._span > 0, 2.0 * (given - self._low) / np.where(self._span > 0, self._span, 1.0) - 1.0, 0.0).reshape(-1)
        return np.concatenate([own, logits]).astype(np.float32)

    def _chosen(self, actions: Array) -> npt.NDArray[np.int64]:
        if not self._logits:
            return np.zeros(len(actions), np.int64)
        return np.asarray(np.argmax(actions[:, self._size :], axis=1), np.int64)

    @override
    def _primitive(self, action: Array, which: int) -> Primitive:
        unit = np.clip(action[: self._size].reshape(self._shape).astype(np.float64), -1.0, 1.0)
        scaled = self._low + (unit + 1.0) / 2.0 * self._span
        if np.issubdtype(self._dtype, np.integer):
            scaled = np.rint(scaled)
        return Primitive(scaled.astype(self._dtype))
