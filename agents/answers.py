"""What the models are asked to answer: one schema per question, and what makes a well-formed answer impossible.

Schemas keep to what endpoints call `strict`: every field required, no free-form dictionaries. Checks are pure; they raise AnswerRejected
with words that the model is told when it is asked again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rlgpt.agents.llm.reading import AnswerRejected
from rlgpt.agents.repeats import normal_form
from rlgpt.agents.source_check import GIVEN, check_expression, check_name, check_source, names_in, nearest
from rlgpt.bus.task import Learner, Mode

MOST_SUB_ACTIONS = 12
MOST_STAGES = 8

_FENCE = re.compile(r"\A\s*```[a-zA-Z]*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)


class Answer(BaseModel):
    """Base of all answers: fields we did not ask for are dropped, a nullable field that was left out is null."""

    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_extra={"additionalProperties": False})

    @model_validator(mode="before")
    @classmethod
    def _left_out_is_null(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        nullable = (name for name, field in cls.model_fields.items() if type(None) in getattr(field.annotation, "__args__", ()))
        return {**dict.fromkeys(nullable), **data}


def _without_fence(value: Any) -> Any:
    """A Python source in a block of Markdown, as models like to write it."""
    found = _FENCE.match(value) if isinstance(value, str) else None
    return found[1] + "\n" if found else value


# ---------------------------------------------------------------- slow agent


class PlannedSubAction(Answer):
    name: str = Field(description="a Python name in lower_case")
    purpose: str = Field(description="what it does, in a sentence, for whoever writes it")
    mode: Literal["code", "rl"] = Field(description="code: a routine is written for it; rl: it is left to the learner")
    success: str = Field(description="Python expression that holds once it has succeeded; may be empty for mode rl")
    reason: str = Field(description="why this mode")


class PlanAnswer(Answer):
    """A plan: the task as ordered sub-actions."""

    rationale: str = Field(description="the idea of the plan in two or three sentences")
    sub_actions: list[PlannedSubAction]


def check_plan(plan: PlanAnswer, mode: Mode = "rl-gpt", reserved: Iterable[str] = ("controller",)) -> None:
    """Names are usable and unique, modes are those of the run, and every `code` sub-action has a success test."""
    if not plan.sub_actions:
        raise AnswerRejected("the plan has no sub-actions; it needs at least one")
    if len(plan.sub_actions) > MOST_SUB_ACTIONS:
        raise AnswerRejected(f"the plan has {len(plan.sub_actions)} sub-actions; use the fewest that do, at most {MOST_SUB_ACTIONS}")
    seen: set[str] = set(reserved)
    for sub_action in plan.sub_actions:
        check_name(sub_action.name, "the sub-action's name")
        if sub_action.name in seen:
            raise AnswerRejected(f"the name `{sub_action.name}` is taken; every sub-action needs its own")
        seen.add(sub_action.name)
        if mode == "code-only" and sub_action.mode != "code":
            raise AnswerRejected(f"`{sub_action.name}` has mode `rl`, but nothing is learned in this run: every sub-action must be `code`")
        if sub_action.success.strip():
            check_expression(sub_action.success, f"the success test of `{sub_action.name}`")
        elif sub_action.mode == "code":
            raise AnswerRejected(f"`{sub_action.name}` has mode `code` and no success test; without one no draft of it could be accepted")


class DividedStage(Answer):
    name: str = Field(description="a Python name in lower_case")
    goal: str = Field(description="what has to be done in this stage, in a sentence or two")
    success: str = Field(description="Python expression that holds once the stage is done")


class DivisionAnswer(Answer):
    """A long task as ordered stages."""

    rationale: str = Field(description="why these stages, in a sentence or two")
    sub_tasks: list[DividedStage]


def check_division(answer: DivisionAnswer, success: str) -> None:
    """Names are usable and unique, every stage has a goal and a test of its own, and the last test is the task's."""
    if not 0 < len(answer.sub_tasks) <= MOST_STAGES:
        raise AnswerRejected(f"there are {len(answer.sub_tasks)} stages; use the fewest that do, at least 1 and at most {MOST_STAGES}")
    names, tests = set[str](), set[str]()
    for stage in answer.sub_tasks:
        check_name(stage.name, "the stage's name")
        check_expression(stage.success, f"the success test of `{stage.name}`")
        if stage.name in names:
            raise AnswerRejected(f"the name `{stage.name}` is taken; every stage needs its own")
        if normal_form(stage.success) in tests:
            raise AnswerRejected(f"`{stage.name}` has the success test of a stage before it, which holds already when it begins")
        if not stage.goal.strip():
            raise AnswerRejected(f"`{stage.name}` has no goal; whoever plans it sees nothing but its goal and its test")
        names.add(stage.name)
        tests.add(normal_form(stage.success))
    last = answer.sub_tasks[-1]
    if normal_form(last.success) != normal_form(success):
        raise AnswerRejected(f"the last stage, `{last.name}`, ends the task, so its success test has to be the task's own: `{success}`")


# ---------------------------------------------------------------- fast agent


class SkillAnswer(Answer):
    """One skill, as Python."""

    explanation: str = Field(description="how it works, and what is different from the last draft if there was one")
    source: str = Field(description="the whole Python source")

    _bare = field_validator("source", mode="before")(_without_fence)


class DraftAnswer(SkillAnswer):
    """One skill, as Python, or one of the library taken over."""

    source: str = Field(description="the whole Python source; empty where one of the library is taken over")
    reuse: str | None = Field(description="id of the earlier skill to take over unchanged, or null")


class SoloSubAction(PlannedSubAction):
    source: str = Field(description="the whole Python source of a code sub-action; empty for mode rl")

    _bare = field_validator("source", mode="before")(_without_fence)


class SoloAnswer(Answer):
    """A plan with its code: the task as ordered sub-actions, and the first source of each that is code."""

    rationale: str = Field(description="the idea of the plan in two or three sentences")
    sub_actions: list[SoloSubAction]

    def plan(self) -> PlanAnswer:
        """The plan without the code."""
        bare = [PlannedSubAction(**sub_action.model_dump(exclude={"source"})) for sub_action in self.sub_actions]
        return PlanAnswer(rationale=self.rationale, sub_actions=bare)


def check_solo(answer: SoloAnswer, mode: Mode, imports: Iterable[str]) -> None:
    """A usable plan, and a usable source for each of its `code` sub-actions."""
    check_plan(answer.plan(), mode)
    for sub_action in answer.sub_actions:
        if sub_action.mode == "code":
            if not sub_action.source.strip():
                raise AnswerRejected(f"`{sub_action.name}` has mode `code` and no source; write it, or leave it to `rl`")
            try:
                check_source(sub_action.source, sub_action.name, imports)
            except AnswerRejected as error:
                raise AnswerRejected(f"the source of `{sub_action.name}`: {error}") from None


class ArenaAnswer(Answer):
    """Where a sub-action is learned by itself, before the task is."""

    learn: bool = Field(description="false: it is left to the learner of the whole task, and the rest does not matter")
    where: str = Field(description="Python expression; its episodes begin in states after which it held; empty: as every episode begins")
    success: str = Field(description="Python expression that holds once it is done; may be empty if it is judged by return")
    shaping: str = Field(description="Python expression added to the reward of every step; empty for none")
    judged: Literal["success", "return"] = Field(description="what it is compared by")
    steps: int = Field(description="environment steps of an episode, and of a call of the skill")
    can_run: str = Field(description="Python expression over obs and info: where the skill may be called; empty for everywhere")
    primitives: list[str] = Field(description="names of the primitive actions it has; an empty list keeps them all")
    skills: list[str] = Field(description="names of accepted skills that it may choose as well")
    against: str | None = Field(description="name of an accepted skill it has to beat, or null: doing nothing")
    reason: str


UNTIL = ("obs", "info", "start", "previous", "action", "steps")
"""What an arena's success test may speak of: a call of the skill ends by it, and knows nothing else."""


def check_arena(answer: ArenaAnswer, skills: Sequence[str], primitives: Iterable[str], most: int) -> None:
    """Readable expressions, actions and skills that exist, a length within `most` steps."""
    if not answer.learn:
        return
    _check_choices(answer.skills, answer.primitives, skills, primitives)
    if answer.against and answer.against not in skills:
        there = ", ".join(f"`{name}`" for name in skills) or "none, so answer null"
        raise AnswerRejected(f"`against` names `{answer.against}`, which is no accepted skill; there is: {there}")
    if answer.judged == "success" and not answer.success.strip():
        raise AnswerRejected("`judged` is `success`, so there has to be a success test; or judge by `return`")
    texts = {"where": answer.where, "success": answer.success, "shaping": answer.shaping, "can_run": answer.can_run}
    for name, text in texts.items():
        if text.strip():
            check_expression(text, f"`{name}`")
    for name, known in (("success", UNTIL), ("can_run", ("obs", "info"))):
        if others := sorted(names_in(texts[name]) & set(GIVEN) - set(known)):
            raise AnswerRejected(
                f"`{name}` uses {', '.join(others)}, which a call of the skill does not know: use {', '.join(known)} alone"
            )
    if not 1 <= answer.steps <= most:
        raise AnswerRejected(f"`steps` is {answer.steps}; it has to be from 1 to {most}")


class PpoSettings(Answer):
    """Settings of the learner that may be changed; null keeps what is set."""

    learning_rate: float | None
    entropy: float | None
    gamma: float | None
    gae_lambda: float | None
    rollout: int | None = Field(description="decisions of each environment between two updates")
    batch_size: int | None
    epochs: int | None


PPO_BOUNDS: dict[str, tuple[float, float]] = {
    "learning_rate": (1e-5, 1e-2),
    "entropy": (0.0, 0.2),
    "gamma": (0.9, 0.9999),
    "gae_lambda": (0.5, 1.0),
    "rollout": (16, 4096),
    "batch_size": (16, 8192),
    "epochs": (1, 30),
}


class SetUpAnswer(Answer):
    """How the learner is set up."""

    primitives: list[str] = Field(description="names of the primitive actions that stay; an empty list keeps them all")
    skills: list[str] = Field(description="names of the accepted skills the learner gets as actions")
    shaping: str = Field(description="Python expression added to the reward of every environment step; empty for none")
    ppo: PpoSettings | None = Field(description="changed settings of the learner, or null")
    reason: str


def check_set_up(answer: SetUpAnswer, skills: Iterable[str], primitives: Iterable[str]) -> None:
    """Only actions and skills that exist, a readable shaping expression, settings within PPO_BOUNDS."""
    _check_choices(answer.skills, answer.primitives, skills, primitives)
    if answer.shaping.strip():
        check_expression(answer.shaping, "the shaping")
    for name, (low, high) in PPO_BOUNDS.items():
        value = getattr(answer.ppo, name) if answer.ppo else None
        if value is not None and not low <= value <= high:
            raise AnswerRejected(f"ppo.{name} = {value} is outside its bounds, {low:g} to {high:g}")


def _check_choices(chosen_skills: list[str], chosen_primitives: list[str], skills: Iterable[str], primitives: Iterable[str]) -> None:
    """Only actions and skills that exist, none twice."""
    known = {"skill": list(skills), "primitive action": list(primitives)}
    for what, chosen in (("skill", chosen_skills), ("primitive action", chosen_primitives)):
        for name in chosen:
            if name not in known[what]:
                there = ", ".join(f"`{item}`" for item in known[what]) or "none to choose from, so leave the list empty"
                raise AnswerRejected(f"there is no {what} `{name}`{nearest(name, known[what])}; there is: {there}")
        if len(set(chosen)) < len(chosen):
            raise AnswerRejected(f"the same {what} is listed twice: {chosen}")


def with_settings(learner: Learner, settings: PpoSettings | None) -> Learner:
    """The scenario's learner with the settings the model changed."""
    changed = settings.model_dump(exclude_none=True) if settings else {}
    return Learner.model_validate({**learner.model_dump(), **changed})


# ---------------------------------------------------------------- critic


class TrialReviewAnswer(Answer):
    """A review of one trial of a skill."""

    verdict: Literal["accept", "revise", "give_up"]
    why: str = Field(description="what happened, and the cause if it failed")
    change: str = Field(description="what to change in the code, concretely; empty unless the verdict is revise")


def check_trial_review(answer: TrialReviewAnswer) -> None:
    """A verdict with its reason; `revise` says what to change. (A critic may disagree with the success test; the loops settle that.)"""
    if not answer.why.strip():
        raise AnswerRejected("`why` is empty; the author of the skill sees nothing but your words")
    if answer.verdict == "revise" and not answer.change.strip():
        raise AnswerRejected("the verdict is `revise`, so `change` must say what to change")


class ReviewedSubAction(Answer):
    name: str
    worked: bool
    why: str


class PlanReviewAnswer(Answer):
    """A review of a whole plan after learning and evaluation."""

    sub_actions: list[ReviewedSubAction] = Field(description="one entry for each sub-action of the plan")
    why: str = Field(description="why the plan reached the score it reached")
    advice: str = Field(description="what the next plan should do differently")


def check_plan_review(answer: PlanReviewAnswer, names: Sequence[str]) -> None:
    """Every sub-action of the plan is reviewed once, no other."""
    reviewed = [item.name for item in answer.sub_actions]
    for name in reviewed:
        if name not in names:
            raise AnswerRejected(f"the plan has no sub-action `{name}`{nearest(name, names)}; it has {', '.join(names)}")
    missing = [name for name in names if name not in reviewed]
    if missing or len(reviewed) > len(names):
        raise AnswerRejected(f"review every sub-action once: {', '.join(names)}" + (f"; missing: {', '.join(missing)}" if missing else ""))
    if not answer.why.strip():
        raise AnswerRejected("`why` is empty")
