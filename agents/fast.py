"""The fast agent: writes skills, repairs them, and sets up the learning."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import ClassVar, Literal

from rlgpt.agents import arenas, fields, keeping
from rlgpt.agents.agent import handles
from rlgpt.agents.answers import ArenaAnswer, DraftAnswer, SetUpAnswer, SkillAnswer, check_arena, check_set_up, with_settings
from rlgpt.agents.library import Entry, Library
from rlgpt.agents.llm.questioner import QuestionFailed
from rlgpt.agents.llm.reading import AnswerRejected
from rlgpt.agents.progress import Inner, PlanState
from rlgpt.agents.prompts import render
from rlgpt.agents.repeats import AGAIN, code_repeated, is_repetition
from rlgpt.agents.requests import CONTROLLER, AskArena, AskSetUp, AskSkill, Request, Settle
from rlgpt.agents.retrieval import candidates
from rlgpt.agents.source_check import check_source, nearest, renamed_function
from rlgpt.agents.thinker import Thinker
from rlgpt.bus.arena import Arena
from rlgpt.bus.messages import (
    ArenaFinished,
    ArenaRequested,
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
    @handles(PlanProposed, SkillTried, SkillReviewed, SkillFailed, SkillSettled, ArenaFinished, ReviewMissed, DeadLettered)
    async def advance(self, _event: Message) -> list[Message]:
        return [answer for request in self.requests for answer in await self.act(request)]

    async def act(self, request: Request) -> list[Message]:
        """What a request of the loops leads to; nothing where it is none of this role's."""
        match request:
            case AskSkill():
                return [await self.draft(request)]
            case Settle():
                return [self.settle(request)]
            case AskArena():
                return [await self.arena(request)]
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

    async def arena(self, request: AskArena) -> ArenaRequested | SkillSettled | BudgetSpent:
        """Learn a sub-action by itself: in the scenario's arena of that name, or in one the model describes."""
        plan, task = self.state.plans[request.plan], self.state.task
        arena, reason = task.arenas.get(request.name), "the scenario's arena"
        if arena is None:
            primitives = self.state.submitted.card.actions if self.state.submitted else ()
            names = [skill.name for skill in plan.skills]
            question = render("arena", **fields.arena_fields(self.state, plan, plan.inner[request.name]))
            check = partial(check_arena, skills=names, primitives=primitives, most=task.loops.skill_steps)
            try:
                answer = await self.ask(f"plan-{plan.number}/{self.role}/{request.name}/arena", question, ArenaAnswer, check=check)
            except QuestionFailed as failure:
                left = f"left to the learner of the whole task, since it has no arena: {failure}"
                return self.out_of_budget(failure) or _left(request, left)
            if not answer.learn:
                return _left(request, f"left to the learner of the whole task: {answer.reason}")
            arena, reason = _described(answer, plan.inner[request.name], task.loops.arena_steps, task.evaluation.actions), answer.reason
        asked = self._in_arena(plan, request.name, arena, reason)
        before = next((result for result in self._learnt_before(plan, asked)), None)
        if before is None or before.contest is None:
            return asked
        self.log.info("arena_as_before", skill=request.name, plan=before.plan)
        won = before.contest.won
        words = f"as in plan {before.plan}: {arenas.outcome(before.contest)}"
        return SkillSettled(
            plan=plan.number, name=request.name, accepted=won, attempts=1, reason=words, skill=before.skill if won else None
        )

    def _in_arena(self, plan: PlanState, name: str, arena: Arena, reason: str) -> ArenaRequested:
        task = self.state.task
        against = next((skill for skill in plan.skills if skill.name == arena.against), None)
        if arena.against and against is None:
            reason = f"{reason}; there is no accepted skill {arena.against!r}, so that it is compared with doing nothing"
        return ArenaRequested(
            plan=plan.number,
            name=name,
            arena=arena,
            environment=self.state.stage_of(plan).environment,
            skills=tuple(plan.skills),
            against=against,
            learner=task.trainer.model_copy(update={"warm_start": None}),
            evaluation=task.evaluation,
            seed=task.seed,
            workers=task.processes.workers,
            reason=reason,
        )

    def _learnt_before(self, plan: PlanState, asked: ArenaRequested) -> Iterator[ArenaFinished]:
        """What earlier plans of the stage came to in the very same arena, with the same skills."""
        for earlier in self.state.siblings(plan.number):
            learnt = earlier.inner[asked.name].learnt if asked.name in earlier.inner else None
            if learnt and learnt.result and not learnt.result.failure:
                same = learnt.request.model_copy(update={"plan": asked.plan, "reason": asked.reason})
                if same == asked:
                    yield learnt.result

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
            shaping=task.shaping,
            skills=tuple(skills.values()),
            controller=CONTROLLER if CONTROLLER in skills else None,
            learner=self._within_budget(task.trainer),
            evaluation=task.evaluation,
            seed=task.seed,
            workers=task.processes.workers,
            practice=task.loops.practice if task.environment.deterministic and not stage.last else 0,
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
            "shaping": both_shapings(task.shaping, answer.shaping),
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


def _left(request: AskArena, reason: str) -> SkillSettled:
    return SkillSettled(plan=request.plan, name=request.name, accepted=False, attempts=0, reason=reason)


def _described(answer: ArenaAnswer, inner: Inner, env_steps: int, actions: Literal["sampled", "greedy"]) -> Arena:
    """The arena that the model describes."""
    described = answer.model_dump(include={"where", "success", "shaping", "judged", "steps", "can_run", "primitives", "skills"})
    return Arena.model_validate(
        {**described, "against": answer.against or "", "purpose": inner.spec.purpose, "env_steps": env_steps, "actions": actions}
    )


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


def both_shapings(scenario: str, model: str) -> str:
    """What the scenario adds to the reward, and what the model adds, as one expression."""
    parts = [part.strip() for part in (scenario, model) if part.strip()]
    return " + ".join(f"({part})" for part in parts) if len(parts) > 1 else "".join(parts)


def choices(accepted: Sequence[Skill], chosen: Collection[str]) -> dict[str, tuple[Skill, ...]]:
    """The skills the learner chooses from, and the others as the library, since a chosen one may call them."""
    return {
        "skills": tuple(skill for skill in accepted if skill.name in chosen),
        "library": tuple(skill for skill in accepted if skill.name not in chosen),
    }
