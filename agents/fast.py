"""The fast agent: writes skills, repairs them, and sets up the learning."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import ClassVar

from rlgpt.agents import fields, keeping
from rlgpt.agents.agent import handles
from rlgpt.agents.answers import DraftAnswer, SetUpAnswer, SkillAnswer, check_set_up, with_settings
from rlgpt.agents.library import Entry, Library
from rlgpt.agents.llm.questioner import QuestionFailed
from rlgpt.agents.llm.reading import AnswerRejected
from rlgpt.agents.progress import Inner, PlanState
from rlgpt.agents.prompts import render
from rlgpt.agents.repeats import AGAIN, code_repeated, is_repetition
from rlgpt.agents.requests import CONTROLLER, AskSetUp, AskSkill, Request, Settle
from rlgpt.agents.retrieval import candidates
from rlgpt.agents.source_check import check_source, nearest, renamed_function
from rlgpt.agents.thinker import Thinker
from rlgpt.bus.messages import (
    BudgetSpent,
    DeadLettered,
    Message,
    PlanProposed,
    ReviewMissed,
    SkillDrafted,
    SkillFailed,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    TrainingRequested,
)
from rlgpt.bus.parts import Skill
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
        return [answer for request in self.requests for answer in await self.act(request)]

    async def act(self, request: Request) -> list[Message]:
        """What a request of the loops leads to; nothing where it is none of this role's."""
        match request:
            case AskSkill():
                return [await self.draft(request)]
            case Settle():
                return [self.settle(request)]
            case AskSetUp():
                return await self.trainings(self.state.plans[request.plan])
        return []

    async def draft(self, request: AskSkill) -> SkillDrafted | SkillFailed | BudgetSpent:
        plan = self.state.plans[request.plan]
        inner = plan.inner[request.name]
        written = next((skill for skill in plan.proposal.drafts if skill.name == request.name), None) if plan.proposal else None
        if written is not None and request.attempt == 1:
            return self._drafted(request, plan, written.source)
        earlier = self._earlier(plan, inner) if self.state.task.library.use else []
        template = "controller" if request.name == CONTROLLER else "skill"
        question = render(template, **fields.skill_fields(self.state, plan, inner, earlier))
        key = f"plan-{request.plan}/{self.role}/{request.name}/attempt-{request.attempt}"
        check = partial(self._check, plan=plan, inner=inner, earlier=earlier)
        try:
            # Only where there is something to reuse does the answer have a field for it.
            answer: SkillAnswer = await self.ask(key, question, DraftAnswer if earlier else SkillAnswer, check=check)
        except QuestionFailed as failure:
            repeated = is_repetition(failure.outcome, failure.reason)
            failed = SkillFailed(plan=request.plan, attempt=request.attempt, name=request.name, reason=str(failure), repeated=repeated)
            return self.out_of_budget(failure) or failed
        reused = _reused(answer, earlier)
        if reused is not None:
            self.log.info("skill_reused", skill=request.name, attempt=request.attempt, library=reused.id)
        return self._drafted(request, plan, renamed(reused, request.name) if reused else answer.source, reused.id if reused else "")

    def _drafted(self, request: AskSkill, plan: PlanState, source: str, origin: str = "") -> SkillDrafted:
        task = self.state.task
        steps = EPISODE_STEPS if request.name == CONTROLLER else task.loops.skill_steps
        return SkillDrafted(
            plan=request.plan,
            attempt=request.attempt,
            skill=Skill(name=request.name, source=source, max_steps=steps, whole=request.name == CONTROLLER),
            success=plan.inner[request.name].spec.success,
            seeds=tuple(TRIAL_SEEDS + 1000 * task.seed + n for n in range(task.loops.trial_episodes)),
            needed=task.loops.needed,
            library=tuple(plan.skills),
            environment=self.state.stage_of(plan).environment,
            origin=origin,
        )

    def _earlier(self, plan: PlanState, inner: Inner) -> list[Entry]:
        """Skills of the library for a like purpose, but none that failed here already."""
        if self.state.submitted is None:
            return []
        stage, controls = self.state.stage_of(plan), inner.spec.name == CONTROLLER
        card = self.state.submitted.card
        found = candidates(
            Library.of(self.state.task).entries(), inner.spec, stage.task.goal, stage.environment, card, plan.skills, controller=controls
        )
        return [entry for entry in found if not code_repeated(renamed(entry, inner.spec.name), inner, self.state.siblings(plan.number))]

    def _check(self, answer: SkillAnswer, plan: PlanState, inner: Inner, earlier: Sequence[Entry]) -> None:
        reused = _reused(answer, earlier)
        source = renamed(reused, inner.spec.name) if reused else answer.source
        check_source(source, inner.spec.name, self.state.task.environment.imports)
        if before := code_repeated(source, inner, self.state.siblings(plan.number)):
            raise AnswerRejected(f"{AGAIN} apart from comments and layout, it is {before}, which failed; change what its review says")

    def settle(self, request: Settle) -> SkillSettled:
        self.log.info("skill_settled", skill=request.name, accepted=request.skill is not None, why=request.reason)
        if self.state.task.library.add:
            keeping.keep_skill(self.state, request, self.role, self.event.envelope.time)
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

    async def trainings(self, plan: PlanState) -> list[Message]:
        """One learning for every seed, all with the same set-up."""
        request = await self.set_up(plan)
        return [request.model_copy(update={"seed": seed}) for seed in self.state.seeds]

    async def set_up(self, plan: PlanState) -> TrainingRequested:
        """The learning set-up. Where the model cannot give one, the scenario's own is used with every skill, and the reason says so."""
        task, stage = self.state.task, self.state.stage_of(plan)
        skills = {skill.name: skill for skill in plan.skills}
        request = TrainingRequested(
            plan=plan.number,
            environment=stage.environment,
            success=stage.task.success,
            skills=tuple(skills.values()),
            controller=CONTROLLER if CONTROLLER in skills else None,
            learner=self._within_budget(task.trainer),
            evaluation=task.evaluation,
            seed=task.seed,
            workers=task.processes.workers,
            practice=0 if stage.last else task.loops.practice,
            held_out=stage.held_out,
        )
        if task.mode == "rl-only":
            return request.model_copy(update={"reason": "rl-only: the scenario's own settings"})
        if task.mode == "code-only":
            return request.model_copy(update={"reason": "code-only: the controller is evaluated, nothing is learned"})
        primitives = self.state.submitted.card.actions if self.state.submitted else ()
        question = render("set_up", **fields.set_up_fields(self.state, plan))
        check = partial(check_set_up, skills=tuple(skills), primitives=primitives)
        try:
            answer = await self.ask(f"plan-{plan.number}/{self.role}/set-up", question, SetUpAnswer, check=check)
        except QuestionFailed as failure:
            return request.model_copy(update={"reason": f"the scenario's own settings and every skill: {failure}"})
        chosen = {
            **choices(plan.skills, answer.skills),
            "primitives": tuple(answer.primitives),
            "shaping": answer.shaping,
            "learner": with_settings(request.learner, answer.ppo),
            "reason": answer.reason,
        }
        return request.model_copy(update=chosen)

    def _within_budget(self, learner: Learner) -> Learner:
        """The learner's settings with no more environment steps than the run has left, shared among the seeds."""
        limit = self.state.task.budgets.env_steps
        seeds = len(self.state.seeds)
        left = learner.env_steps if limit is None else max(1, min(learner.env_steps, (limit - self.state.spent.env_steps) // seeds))
        return learner.model_copy(update={"env_steps": left})


def renamed(entry: Entry, name: str) -> str:
    """The source of an earlier skill under the name it is wanted by here."""
    return renamed_function(entry.source, entry.about.name, name)


def _reused(answer: SkillAnswer, earlier: Sequence[Entry]) -> Entry | None:
    """The earlier skill that the answer takes over, None if it is a source of its own. Raises AnswerRejected for an unknown id."""
    wanted = (answer.reuse or "").strip() if isinstance(answer, DraftAnswer) else ""
    if not wanted:
        return None
    found = next((entry for entry in earlier if entry.id == wanted), None)
    if found is None:
        ids = [entry.id for entry in earlier]
        raise AnswerRejected(f"there is no earlier skill `{wanted}`{nearest(wanted, ids)}; there are {', '.join(ids)}")
    return found


def choices(accepted: Sequence[Skill], chosen: Collection[str]) -> dict[str, tuple[Skill, ...]]:
    """The skills the learner chooses from, and the others as the library, since a chosen one may call them."""
    return {
        "skills": tuple(skill for skill in accepted if skill.name in chosen),
        "library": tuple(skill for skill in accepted if skill.name not in chosen),
    }
