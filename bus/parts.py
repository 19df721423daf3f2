"""The pieces that tasks and messages are made of: values, with their units."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Part(BaseModel):
    """A frozen piece of a task or message; unknown fields are errors, not silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Artifact(Part):
    """A large thing kept outside the bus: `uri` as fsspec reads it, `sha256` of its bytes in hex, `media_type`."""

    uri: str
    sha256: str
    media_type: str


class Card(Part):
    """What the models are told of an environment.

    text      Markdown: actions, observations, limits, helpers, examples
    kind      of the action space: Discrete, MultiDiscrete or Box
    actions   names of the primitive actions where there are few enough to name (Discrete), else empty
    version   a short hash of the text
    """

    text: str
    kind: Literal["Discrete", "MultiDiscrete", "Box"]
    actions: tuple[str, ...] = ()
    version: str


class SubAction(Part):
    """One step of a plan. `success` is an expression over obs, info, start, ...: it holds at some step of a successful call."""

    name: Identifier
    purpose: str
    mode: Literal["code", "rl"]
    success: str = ""
    reason: str = ""


class Skill(Part):
    """Source of one Python generator function `name(obs, info)` that yields actions; optionally `can_run(obs, info)` beside it.

    max_steps   environment steps after which a call is stopped, >= 1
    whole       it plays whole episodes: an interrupt ends the call it has made of another skill, and hands control back to it
    policy      of a skill that was learned in its arena: the network that its source knows as `policy` (see `envs/learned.py`)
    """

    name: Identifier
    source: str
    max_steps: int = Field(ge=1)
    whole: bool = False
    policy: Artifact | None = None


class TrialEpisode(Part):
    """One call of a skill in a fresh episode.

    steps          environment steps taken
    episode_return undiscounted sum of rewards
    first, last    observation before and after, in words the card defines
    trace          bounded list of `step: action -> observation` lines
    error          traceback or limit that stopped it, empty if none
    """

    BROKEN_TEST: ClassVar[str] = "the success expression "
    """How the error begins where the success test could not be evaluated: no skill is to blame for that."""

    seed: int
    success: bool
    steps: int
    episode_return: float
    ended: Literal["returned", "step limit", "episode over", "interrupted", "error"]
    first: str
    last: str
    trace: tuple[str, ...] = ()
    error: str = ""

    @property
    def test_broken(self) -> bool:
        """The success test could not be evaluated."""
        return self.error.startswith(self.BROKEN_TEST)


class Picture(Part):
    """A frame of a trial's episode: what the environment draws after environment step `step` of seed `seed` (0: before the first)."""

    seed: int
    step: int
    file: Artifact


class Point(Part):
    """A point of a learning curve, at `env_steps` environment steps since learning began.

    episodes, success_rate, mean_return   over the training episodes finished since the point before
    usage          share of decisions by action or skill name
    """

    env_steps: int
    episodes: int
    success_rate: float
    mean_return: float
    steps_per_s: float
    usage: dict[str, float] = Field(default_factory=dict)


class Use(Part):
    """How often one choice of a learner, a primitive action or a skill, was made, and what it led to.

    skill    it is a skill
    offered  decisions in which it could be made: a skill's `can_run` held, and it was not set aside
    calls    times it was made
    failed   of those, times in which the skill or its worker failed
    steps    environment steps of all calls
    reward   sum of what all calls were paid, in the learner's own reward: discounted inside a call, with shaping while learning
    fault    how it failed last, in words; empty if it never did
    aside    it failed so often that it could not be chosen any more
    """

    name: str
    skill: bool = False
    offered: int = 0
    calls: int = 0
    failed: int = 0
    steps: int = 0
    reward: float = 0.0
    fault: str = ""
    aside: bool = False


class Score(Part):
    """A policy on held-out seeds: successes of n with the Wilson 95 % interval; what was executed is stated.

    verified   the seeds and actions were replayed in a clean worker without model-written code and agreed;
               None where the environment is declared not deterministic
    """

    episodes: int
    successes: int
    rate: float
    low: float
    high: float
    mean_return: float
    mean_steps: float
    actions: Literal["sampled", "greedy", "code"]
    first_seed: int
    env_steps: int
    verified: bool | None
    usage: dict[str, float] = Field(default_factory=dict)


class SubActionReview(Part):
    """The critic's word on one sub-action of a finished plan."""

    name: Identifier
    worked: bool
    why: str


class StageResult(Part):
    """A stage of a divided task at the end of the run: its best plan, None if it has no policy.

    score  on the stage's own start states: those that the stage before reached from its held-out ones
    """

    name: Identifier
    plan: int | None
    score: Score | None
    policy: Artifact | None = None
