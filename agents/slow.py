"""The slow agent: cuts the task into sub-actions, decides which are code and which are learned, and ends the run."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from rlgpt.agents import fields, keeping, stages
from rlgpt.agents.agent import handles
from rlgpt.agents.answers import DivisionAnswer, PlanAnswer, check_division, check_plan
from rlgpt.agents.llm.questioner import QuestionFailed
from rlgpt.agents.llm.reading import AnswerRejected
from rlgpt.agents.prompts import render
from rlgpt.agents.repeats import AGAIN, is_repetition, plan_repeated
from rlgpt.agents.requests import AskDivision, AskPlan, Finish, Request
from rlgpt.agents.thinker import Thinker
from rlgpt.bus.messages import (
    ArenaFinished,
    BudgetSpent,
    DeadLettered,
    Message,
    PlanFailed,
    PlanProposed,
    PlanReviewed,
    ReviewMissed,
    RunFinished,
    SkillFailed,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    TaskDivided,
    TaskSubmitted,
    TrainingFinished,
)
from rlgpt.bus.parts import Skill, SubAction
from rlgpt.bus.task import SubTask


class Slow(Thinker):
    """Plans at the beginning and after each reviewed plan below the target; says RunFinished when the loops end."""

    role: ClassVar[str] = "slow"

    # A budget can run out at any step of the ring, and then it is the slow agent that ends the run.
    @handles(
        TaskSubmitted,
        TaskDivided,
        PlanFailed,
        PlanProposed,
        PlanReviewed,
        SkillTried,
        SkillReviewed,
        SkillFailed,
        SkillSettled,
        ArenaFinished,
        TrainingFinished,
        BudgetSpent,
        ReviewMissed,
        DeadLettered,
    )
    async def advance(self, _event: Message) -> list[Message]:
        return [answer for request in self.requests for answer in await self.act(request)]

    async def act(self, request: Request) -> list[Message]:
        """What a request of the loops leads to; nothing where it is none of this role's."""
        match request:
            case AskDivision():
                return [await self.divide()]
            case AskPlan():
                return [await self.plan(request.plan)]
            case Finish():
                return [self.finish(request)]
        return []

    async def divide(self) -> TaskDivided | BudgetSpent:
        """The scenario's stages, or those the model cuts the task into. Where it cannot, there is one, and the rationale says so."""
        task = self.state.task
        if task.stages:
            return TaskDivided(sub_tasks=task.stages, rationale="the scenario's stages")
        question = render("divide", **fields.divide_fields(self.state))
        try:
            answer = await self.ask(f"divide/{self.role}", question, DivisionAnswer, check=partial(check_division, success=task.success))
        except QuestionFailed as failure:
            whole = SubTask(name=task.name, goal=task.goal, success=task.success)
            undivided = TaskDivided(sub_tasks=(whole,), rationale=f"one stage, the whole task: there was no usable division: {failure}")
            return self.out_of_budget(failure) or undivided
        sub_tasks = tuple(SubTask(**stage.model_dump()) for stage in answer.sub_tasks)
        self.log.info("task_divided", stages=[sub_task.name for sub_task in sub_tasks])
        return TaskDivided(sub_tasks=sub_tasks, rationale=answer.rationale)

    async def plan(self, number: int) -> PlanProposed | PlanFailed | BudgetSpent:
        stage = self.state.stage
        if self.state.task.mode == "rl-only":
            # Nothing to decide, so no model is asked: the whole task is the one thing to learn.
            whole = SubAction(name="whole_task", purpose=stage.task.goal, mode="rl", success=stage.task.success, reason="mode is rl-only")
            rationale = "rl-only: the learner has the primitive actions alone"
            return PlanProposed(plan=number, stage=stage.number, sub_actions=(whole,), rationale=rationale)
        try:
            proposed = await self.propose(number)
        except QuestionFailed as failure:
            repeated = is_repetition(failure.outcome, failure.reason)
            return self.out_of_budget(failure) or PlanFailed(plan=number, reason=str(failure), repeated=repeated)
        self.log.info("plan_proposed", plan=number, sub_actions=[f"{s.name}:{s.mode}" for s in proposed.sub_actions])
        return proposed

    async def propose(self, number: int) -> PlanProposed:
        """The model's plan. Raises QuestionFailed."""
        question = render("plan", **fields.plan_fields(self.state, number))
        answer = await self.ask(f"plan-{number}/{self.role}", question, PlanAnswer, check=partial(self.check_plan, number=number))
        return self.proposal(number, answer)

    def check_plan(self, answer: PlanAnswer, number: int) -> None:
        """Possible, and not one that was tried before. Raises AnswerRejected."""
        check_plan(answer, self.state.task.mode)
        again = plan_repeated(_sub_actions(answer), self.state.siblings(number))
        if again is not None and again.result and again.result.score:
            reached = f"{again.result.score.successes} of {again.result.score.episodes} episodes"
            raise AnswerRejected(
                f"{AGAIN} plan {again.ordinal}, with the same names, modes and success tests. It reached {reached} and would again: split "
                f"what failed, change what is code and what is left to the learner, or change a test"
            )

    def proposal(self, number: int, answer: PlanAnswer, drafts: tuple[Skill, ...] = ()) -> PlanProposed:
        sub_actions = _sub_actions(answer)
        return PlanProposed(plan=number, stage=self.state.stage.number, sub_actions=sub_actions, rationale=answer.rationale, drafts=drafts)

    def finish(self, request: Finish) -> RunFinished:
        state = self.state
        self.log.info("run_finished", outcome=request.outcome, why=request.reason, best_plan=state.best)
        if state.task.library.add and request.outcome == "target_reached":
            keeping.keep_policies(state, self.event.envelope.time)
        return RunFinished(
            outcome=request.outcome,
            reason=request.reason,
            plan=state.best,
            score=state.score,
            policy=state.policy,
            stages=stages.results(state),
        )


def _sub_actions(answer: PlanAnswer) -> tuple[SubAction, ...]:
    return tuple(SubAction(**sub_action.model_dump()) for sub_action in answer.sub_actions)
