"""Arenas: where an `rl` sub-action is learned by itself, before the task is."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from rlgpt.bus.parts import Artifact, Identifier, Part


class Arena(Part):
    """Episodes of its own for one `rl` sub-action, with its own measure of success. Steps are environment steps.

    purpose     what is to be learned, for the models and the report
    where       expression: episodes begin in states after which it held, found while the skills accepted before play; empty: as `starts`
                says, or else as every episode of the task
    starts      start states as a file, instead of `where`
    held_out    those that what was learned is judged in; null: of `starts` every fifth, which is then not learned in
    states      of `where`: how many states are looked for to learn in; half as many to judge in
    success     expression over obs, info, start, previous, action, steps: it is done. Ends an episode here, and a call of the skill
                later; empty: it lasts `steps`
    shaping     expression added to the reward of every step
    steps       length of an episode, and of a call of the skill
    env_steps   budget of learning
    can_run     expression over obs, info: where the skill may be called; empty: everywhere
    primitives  names of the primitive actions it has; empty: all
    skills      names of accepted skills it may choose as well
    against     accepted skill that it has to beat; empty: doing nothing, which is the first of its primitive actions again and again
    judged      success: the share of episodes that succeed; return: rewards and shaping of an episode together, undiscounted
    episodes    of the comparison, at most; as many as there are held-out states
    actions     how the learned policy chooses: drawn, or the likeliest
    trainer     settings of the learner that are others than the task's
    """

    purpose: str = ""
    where: str = ""
    starts: Artifact | None = None
    held_out: Artifact | None = None
    states: int = Field(200, ge=2)
    success: str = ""
    shaping: str = ""
    steps: int = Field(50, ge=1)
    env_steps: int = Field(100_000, ge=1)
    can_run: str = ""
    primitives: tuple[str, ...] = ()
    skills: tuple[Identifier, ...] = ()
    against: str = ""
    judged: Literal["success", "return"] = "success"
    episodes: int = Field(100, ge=2)
    actions: Literal["sampled", "greedy"] = "sampled"
    trainer: dict[str, Any] = Field({})

    @model_validator(mode="after")
    def _says_what_it_is(self) -> Arena:
        if self.where and self.starts:
            raise ValueError("where: it looks for start states, and `starts` names a file of them; leave out one of the two")
        if self.held_out and not self.starts:
            raise ValueError("held_out: states to judge in belong to `starts`, states to learn in")
        if self.judged == "success" and not self.success:
            raise ValueError("success: it is judged by success, so there has to be a test; or say judged: return")
        return self


class Contest(Part):
    """What was learned against `against`, in the same held-out episodes; a figure is a share of successes, or a mean return.

    difference  learned minus other, paired by episode, with its 95 % interval `low` to `high` (normal approximation)
    better, worse   episodes in which it did better, or worse
    verified    the episodes were repeated in a clean worker and agreed; None where the environment is not deterministic
    env_steps   of all the episodes played for it
    """

    against: str
    judged: Literal["success", "return"]
    episodes: int = Field(ge=1)
    learned: float
    other: float
    difference: float
    low: float
    high: float
    better: int
    worse: int
    verified: bool | None
    env_steps: int

    @property
    def won(self) -> bool:
        """The interval of the difference is above 0, and nothing speaks against the episodes."""
        return self.low > 0 and self.verified is not False
