"""Every message of the two loops, typed. The body of an envelope is one of these, as msgpack.

    launcher --TaskSubmitted--> slow --PlanProposed--> fast --SkillDrafted--> rollout --SkillTried--> critic --SkillReviewed--> fast
                                  ^                      '--TrainingRequested--> trainer --TrainingFinished--> critic --PlanReviewed--.
                                  '------------------------------------------------------------------------------------------------'

Facts are in the past tense; `...Requested` asks for work. A message's topic is its name in dotted lower case
(`SkillTried` -> `skill.tried`) and its type `rlgpt.skill.tried.v1`. Users' own messages subclass `Message` the same way.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from pydantic import Field

from rlgpt.bus.arena import Arena, Contest
from rlgpt.bus.parts import (
    Artifact,
    Card,
    Identifier,
    Part,
    Picture,
    Point,
    Score,
    Skill,
    StageResult,
    SubAction,
    SubActionReview,
    TrialEpisode,
    Use,
)
from rlgpt.bus.task import Environment, Evaluation, Learner, SubTask, Task

REGISTRY: dict[str, type[Message]] = {}


class UnknownMessage(Exception):
    """A type name no imported message class carries."""


class Message(Part):
    """Base of everything that travels. Subclasses register themselves under their type name."""

    TOPIC: ClassVar[str] = ""
    TYPE: ClassVar[str] = ""

    def __init_subclass__(cls, *, topic: str | None = None, owner: str = "rlgpt", version: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.TOPIC = topic or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", ".", cls.__name__).lower()
        cls.TYPE = f"{owner}.{cls.TOPIC}.v{version}"
        REGISTRY[cls.TYPE] = cls


def message_class(type_name: str) -> type[Message]:
    """The class of a type name; raises UnknownMessage."""
    try:
        return REGISTRY[type_name]
    except KeyError:
        raise UnknownMessage(
            f"no message class for type {type_name!r}; import the module that defines it (known: {sorted(REGISTRY)})"
        ) from None


# ---------------------------------------------------------------- the ring


class TaskSubmitted(Message):
    """Launcher -> everybody: the run begins. `run` is the run folder's name."""

    run: str
    task: Task
    card: Card


class TaskDivided(Message):
    """Slow agent, as task planner: the task as ordered stages. A run without it has one stage, the task itself."""

    sub_tasks: tuple[SubTask, ...] = Field(min_length=1)
    rationale: str = ""


class PlanProposed(Message):
    """Slow agent -> fast agent: the task, or stage `stage` of it, as ordered sub-actions.

    plan   counts from 1 through the whole run, so that it names the plan without its stage
    stage  counts from 1 where the task was divided, else 0
    drafts  first drafts of `code` sub-actions, written together with the plan (`agents: one`)
    """

    plan: int
    stage: int = 0
    sub_actions: tuple[SubAction, ...] = Field(min_length=1)
    rationale: str = ""
    drafts: tuple[Skill, ...] = ()


class PlanFailed(Message):
    """Slow agent: plan number `plan` could not be had from the model, for `reason`. It counts against `loops.plans`.

    repeated  the model gave an earlier plan again, and kept to it when it was told
    """

    plan: int
    reason: str
    repeated: bool = False


class SkillDrafted(Message):
    """Fast agent -> rollout: try this skill, alone, from the start of an episode for each seed.

    success     expression that has to hold at some step
    needed      episodes in which it has to; null: in all of them
    library     accepted skills it may call
    origin      id of the skill of the library that it is; empty: written for this run
    """

    plan: int
    attempt: int
    skill: Skill
    success: str
    seeds: tuple[int, ...]
    needed: int | None = Field(None, ge=1)
    library: tuple[Skill, ...] = ()
    environment: Environment
    origin: str = ""


class SkillTried(Message):
    """Rollout -> critic: what happened.

    success      it met the success test in as many episodes as were needed
    error        why it could not be tried at all (syntax, no such function, killed for memory), empty otherwise
    pictures     of one episode, the first that failed or else the first, in the order of its steps (see `Critic.pictures`)
    no_pictures  why there are none though some were asked for
    """

    plan: int
    attempt: int
    name: Identifier
    success: bool
    episodes: tuple[TrialEpisode, ...]
    env_steps: int
    error: str = ""
    pictures: tuple[Picture, ...] = ()
    no_pictures: str = ""


class SkillReviewed(Message):
    """Critic -> fast agent. The critic never overrules the success test: `accept` of a failed trial counts as `revise`."""

    plan: int
    attempt: int
    name: Identifier
    verdict: Literal["accept", "revise", "give_up"]
    why: str
    change: str = ""


class SkillFailed(Message):
    """Fast agent: no draft for this attempt, since the model's answer could not be had or used, for `reason`.

    repeated  the model gave code again that had failed, and kept to it when it was told
    """

    plan: int
    attempt: int
    name: Identifier
    reason: str
    repeated: bool = False


class SkillSettled(Message):
    """Fast agent: the end of a sub-action's inner loop. `skill` is set if accepted; otherwise the sub-action falls to `rl`."""

    plan: int
    name: Identifier
    accepted: bool
    attempts: int
    reason: str
    skill: Skill | None = None


class ArenaRequested(Message):
    """Fast agent -> trainer: learn the sub-action `name` in this arena, then compare what was learned with the alternative.

    environment  the task's, or stage's; the arena's start states and lengths are put to it
    skills       those accepted before it, in the plan's order; the arena says which it may choose
    against      the skill that it has to beat; None: doing nothing
    """

    plan: int
    name: Identifier
    arena: Arena
    environment: Environment
    skills: tuple[Skill, ...] = ()
    against: Skill | None = None
    learner: Learner
    evaluation: Evaluation
    seed: int
    workers: int | None = None
    reason: str = ""


class ArenaProgressed(Message):
    """Trainer: one more point of the learning curve in the arena of `name`. `resumed` counts the times it went on from a checkpoint."""

    plan: int
    name: Identifier
    point: Point
    resumed: int = 0


class ArenaFinished(Message):
    """Trainer -> fast agent: learned in its arena, and compared.

    env_steps   spent on learning; `found_steps`: on looking for start states. Those of the comparison are in `contest`
    states      start states that were learned in; 0: it began as every episode of the task
    skill       what was learned; whether it is accepted is for the loops to say
    failure     why there is no skill, or no comparison; empty otherwise
    """

    plan: int
    name: Identifier
    env_steps: int
    found_steps: int = 0
    states: int = 0
    skill: Skill | None = None
    contest: Contest | None = None
    curve: tuple[Point, ...] = ()
    device: str = "cpu"
    learn_s: float = 0.0
    evaluate_s: float = 0.0
    failure: str = ""


class TrainingRequested(Message):
    """Fast agent -> trainer: learn, or with a `controller` only evaluate, under these settings.

    library     accepted skills that are no choices of the learner, but that its choices may call
    primitives  names of the primitive actions that stay (empty: all of them)
    shaping     expression added to the reward of every environment step, over previous, obs, info, reward, steps; empty: none
    controller  name of a skill that plays whole episodes (`code-only`); nothing is learned
    practice    successful episodes to collect beside the evaluation, as start states of the stage after this one; 0: none
    held_out    start states of the evaluation, where `environment.starts` are those of learning; None: the evaluation's own seeds
    """

    plan: int
    environment: Environment
    success: str
    skills: tuple[Skill, ...] = ()
    library: tuple[Skill, ...] = ()
    primitives: tuple[str, ...] = ()
    shaping: str = ""
    controller: Identifier | None = None
    learner: Learner
    evaluation: Evaluation
    seed: int
    workers: int | None = None
    reason: str = ""
    practice: int = 0
    held_out: Artifact | None = None


class TrainingProgressed(Message):
    """Trainer: one more point of the learning curve of `seed`. `resumed` counts the times it continued from a checkpoint."""

    plan: int
    seed: int = 0
    point: Point
    resumed: int = 0


class TrainingFinished(Message):
    """Trainer -> critic: learned and evaluated.

    env_steps  spent on learning, and on practice; evaluation's are in `score.env_steps`
    lead_steps played before the episodes of learning, by the stages before (see `envs/lead.py`)
    failure    why there is no policy (the learner failed), empty otherwise
    learned    how the choices were used while learning, `played` in the evaluation
    samples    a few evaluation episodes in words
    reached    start states for the stage after: where practice episodes succeeded (see `TrainingRequested.practice`)
    held_out   the same of the evaluation episodes
    """

    plan: int
    seed: int = 0
    env_steps: int
    lead_steps: int = 0
    score: Score | None
    policy: Artifact | None
    curve: tuple[Point, ...] = ()
    learned: tuple[Use, ...] = ()
    played: tuple[Use, ...] = ()
    samples: tuple[TrialEpisode, ...] = ()
    device: str = "cpu"
    learn_s: float = 0.0
    evaluate_s: float = 0.0
    failure: str = ""
    reached: Artifact | None = None
    held_out: Artifact | None = None


class PlanReviewed(Message):
    """Critic -> slow agent: what worked, what to plan differently."""

    plan: int
    sub_actions: tuple[SubActionReview, ...] = ()
    why: str
    advice: str = ""


class RunFinished(Message):
    """Slow agent: the end. `plan` and `score` are those of the best policy, None if there is none.

    stages  of a divided task. `score` is then the whole chain's: of the first stage's held-out seeds, those that passed every stage;
            `plan` and `policy` are the last stage's that has any
    """

    outcome: Literal["target_reached", "below_target", "budget_spent", "gave_up"]
    reason: str
    plan: int | None = None
    score: Score | None = None
    policy: Artifact | None = None
    stages: tuple[StageResult, ...] = ()


# ---------------------------------------------------------------- besides the ring


class ModelAsked(Message):
    """A question to a language model ended, well or badly; failed answers cost money too.

    key      its logical key in the transcript, such as `rl-gpt/plan-1/fast/swing/attempt-2`
    origin   live, recorded (the scenario's offline transcript) or transcript (asked earlier in this run: nothing spent)
    outcome  answered, repaired, or the name of the failure
    usd      None where no price is known
    """

    role: str
    key: str
    model: str
    origin: Literal["live", "recorded", "transcript"]
    outcome: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    seconds: float = 0.0
    drifted: bool = False


class BudgetSpent(Message):
    """Whoever notices: `budget` (env_steps, minutes, tokens, usd) of `limit` is `used` up. Slow ends the run with its best policy.

    role      whose own budget it is (`budgets.roles`), empty for the run's
    question  what could not be asked any more, by its key; `used` is then what the next question would at least have brought it to
    """

    budget: Literal["env_steps", "minutes", "tokens", "usd"]
    limit: float
    used: float
    role: str = ""
    question: str = ""


class ReviewMissed(Message):
    """Launcher: event `seq` has waited `waited_s` seconds, `critic.patience_s`, for a counted review; the success test decides alone."""

    seq: int
    waited_s: float


class AgentJoined(Message):
    """Broker: a client said hello and was welcomed. `name` is the process's own, `role` what it does."""

    name: str
    role: str
    host: str = ""
    pid: int = 0


class AgentLeft(Message):
    """Broker: a client said goodbye, or its heartbeat stopped (`lost`)."""

    name: str
    role: str
    reason: Literal["bye", "lost", "replaced"]


class DeadLettered(Message):
    """Broker: `consumer` failed `attempts` times on message `seq`; it is set aside, not lost."""

    consumer: str
    seq: int
    id: str
    type: str
    attempts: int
    reason: str
