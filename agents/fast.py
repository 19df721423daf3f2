"""The fast agent: writes skills, repairs them, and sets up the learning."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from rlgpt.agents import fields
from rlgpt.agents.agent import handles
from rlgpt.agents.answers import SetUpAnswer, SkillAnswer, check_set_up, check_skill, with_settings
from rlgpt.agents.llm.questioner import QuestionFailed
from rlgpt.agents.llm.reading import AnswerRejected
from rlgpt.agents.progress import Inner, PlanState
from rlgpt.agents.prompts import render
from rlgpt.agents.requests import CONTROLLER, AskSetUp, AskSkill, Settle
from rlgpt.agents.thinker import Thinker
from rlgpt.bus.messages import (
    DeadLettered,
    Message,
    PlanProposed,
    ReviewMissed,
    Skill,
    SkillDrafted,
    SkillFailed,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    TrainingRequested,
)
from rlgpt.bus.task import Learner

TRIAL_SEEDS = 500_000
"""First seed of trials; learning draws below, evaluation above (`evaluation.first_seed`)."""

EPISODE_STEPS = 100_000
"""Longest call of a controller, which plays until the episode ends."""


class Fast(Thinker):
    """Works through the plan's `code` sub-actions one by one, then asks for the learning."""

    role: ClassVar[str] = "fast"

    # Without a critic it is the trial itself that moves the inner loop on.
    @handles(PlanProposed, SkillTried, SkillReviewed, SkillFailed, SkillSettled, ReviewMissed, DeadLettered)
    async def advance(self, _event: Message) -> list[Message]:
        answers: list[Message] = []
        for request in self.requests:
            if isinstance(request, AskSkill):
                answers.append(await self.draft(request))
            elif isinstance(request, Settle):
                answers.append(self.settle(request))
            elif isinstance(request, AskSetUp):
                answers.append(await self.set_up(self.state.plans[request.plan]))
        return answers

    async def draft(self, request: AskSkill) -> SkillDrafted | SkillFailed:
        task, plan = self.state.task, self.state.plans[request.plan]
        inner = plan.inner[request.name]
        controls = request.name == CONTROLLER
        steps = EPISODE_STEPS if controls else task.loops.skill_steps
        question = render("controller" if controls else "skill", **fields.skill_fields(self.state, plan, inner))
        key = f"plan-{request.plan}/fast/{request.name}/attempt-{request.attempt}"
        try:
            answer = await self.ask(key, question, SkillAnswer, check=partial(self._check, inner=inner))
        except QuestionFailed as failure:
            return SkillFailed(plan=request.plan, attempt=request.attempt, name=request.name, reason=str(failure))
        return SkillDrafted(
            plan=request.plan,
            attempt=request.attempt,
            skill=Skill(name=request.name, source=answer.source, max_steps=steps),
            success=inner.spec.success,
            seeds=tuple(TRIAL_SEEDS + 1000 * task.seed + n for n in range(task.loops.trial_episodes)),
            library=tuple(plan.skills),
            environment=task.environment,
        )

    def _check(self, answer: SkillAnswer, inner: Inner) -> None:
        check_skill(answer, name=inner.spec.name, imports=self.state.task.environment.imports)
        for attempt in inner.attempts:
            if attempt.draft and attempt.draft.skill.source.strip() == answer.source.strip():
                raise AnswerRejected(f"this is, word for word, attempt {attempt.number}, which failed; change what its review says")

    def settle(self, request: Settle) -> SkillSettled:
        self.log.info("skill_settled", skill=request.name, accepted=request.skill is not None, why=request.reason)
        if request.skill is not None:
            # For people: the journal is what counts.
            folder = self.context.folder / "skills"
            folder.mkdir(exist_ok=True)
            (folder / f"plan-{request.plan}-{request.name}.py").write_text(request.skill.source.rstrip() + "\n", encoding="utf-8")
        return SkillSettled(
            plan=request.plan,
            name=request.name,
            accepted=request.skill is not None,
            attempts=request.attempts,
            reason=request.reason,
            skill=request.skill,
        )

    async def set_up(self, plan: PlanState) -> TrainingRequested:
        """The learning set-up. Where the model cannot give one, the scenario's own is used with every skill, and the reason says so."""
        task, skills = self.state.task, {skill.name: skill for skill in plan.skills}
        request = TrainingRequested(
            plan=plan.number,
            environment=task.environment,
            success=task.success,
            skills=tuple(skills.values()),
            controller=CONTROLLER if CONTROLLER in skills else None,
            learner=self._within_budget(task.trainer),
            evaluation=task.evaluation,
            seed=task.seed,
            workers=task.processes.workers,
        )
        if task.mode == "rl-only":
            return request.model_copy(update={"reason": "rl-only: the scenario's own settings"})
        if task.mode == "code-only":
            return request.model_copy(update={"reason": "code-only: the controller is evaluated, nothing is learned"})
        primitives = self.state.submitted.card.actions if self.state.submitted else ()
        question = render("set_up", **fields.set_up_fields(self.state, plan))
        check = partial(check_set_up, skills=tuple(skills), primitives=primitives)
        try:
            answer = await self.ask(f"plan-{plan.number}/fast/set-up", question, SetUpAnswer, check=check)
        except QuestionFailed as failure:
            return request.model_copy(update={"reason": f"the scenario's own settings and every skill: {failure}"})
        chosen = {
            "skills": tuple(skill for name, skill in skills.items() if name in answer.skills),
            "primitives": tuple(answer.primitives),
            "shaping": answer.shaping,
            "learner": with_settings(request.learner, answer.ppo),
            "reason": answer.reason,
        }
        return request.model_copy(update=chosen)

    def _within_budget(self, learner: Learner) -> Learner:
        """The learner's settings with no more environment steps than the run has left."""
        limit = self.state.task.budgets.env_steps
        left = learner.env_steps if limit is None else max(1, min(learner.env_steps, limit - self.state.spent.env_steps))
        return learner.model_copy(update={"env_steps": left})
