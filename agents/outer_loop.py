"""The outer loop as a fold: a plan is proposed, its sub-actions are settled, it is learned and evaluated, reviewed, and planned again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rlgpt.agents import inner_loop, repeats, stages
from rlgpt.agents.progress import Inner, PlanState, Training
from rlgpt.agents.requests import CONTROLLER, AskPlan, AskPlanReview, Finish, Request
from rlgpt.agents.scoring import pooled
from rlgpt.bus.envelope import consumer_of
from rlgpt.bus.messages import PlanFailed, PlanProposed, PlanReviewed, TrainingFinished, TrainingProgressed, TrainingRequested
from rlgpt.bus.parts import SubAction

if TYPE_CHECKING:
    from rlgpt.agents.loops import RunState


def plan_proposed(state: RunState, seq: int, _source: str, message: PlanProposed) -> Iterator[Request]:
    plan = _begin(state, message.plan, repeated=False)
    if plan is None:
        return
    plan.proposal = message
    for sub_action in message.sub_actions:
        plan.inner[sub_action.name] = Inner(sub_action)
    if state.task.mode == "code-only":
        plan.inner[CONTROLLER] = Inner(
            SubAction(name=CONTROLLER, purpose="play whole episodes", mode="code", success=state.stage.task.success)
        )
    again = repeats.plan_repeated(message.sub_actions, state.siblings(plan.number))
    if again is not None:
        plan.repeated = True
        state.stage.repeats += 1
        if state.stage.repeats >= state.task.loops.repeats:
            plan.failure = f"it is plan {again.number} again"
            yield from _dead_loop(state, plan)
            return
    state.awaiting[seq] = "skills"
    yield from inner_loop.next_sub_action(state, plan)


def plan_failed(state: RunState, _seq: int, _source: str, message: PlanFailed) -> Iterator[Request]:
    plan = _begin(state, message.plan, repeated=message.repeated)
    if plan is None:
        return
    plan.failure = message.reason
    if state.stage.repeats >= state.task.loops.repeats:
        yield from _dead_loop(state, plan)
    else:
        yield from next_plan(state, plan, message.reason)


def _begin(state: RunState, number: int, *, repeated: bool) -> PlanState | None:
    """Plan `number`, of the stage under way; None if it is there already, or no stage has begun."""
    if number in state.plans or not state.stages:
        return None
    state.answered("plan")
    plan = PlanState(number, stage=state.stage.number, ordinal=len(state.stage.plans) + 1, repeated=repeated)
    state.plans[number] = plan
    state.stage.plans.append(number)
    state.stage.repeats += repeated
    return plan


def _dead_loop(state: RunState, plan: PlanState) -> Iterator[Request]:
    times = state.stage.repeats
    reason = f"dead loop: an earlier plan came again {times} time{'s' * (times != 1)}, though it had not reached the target"
    yield from give_up(state, plan, f"plan {plan.number}: {plan.failure}", reason)


# ---------------------------------------------------------------- learning


def training_requested(state: RunState, seq: int, _source: str, message: TrainingRequested) -> Iterator[Request]:
    plan = state.plans.get(message.plan)
    if plan and message.seed not in plan.trainings and len(plan.trainings) < len(state.seeds):
        state.answered("skills")
        plan.trainings[message.seed] = Training(message, seq)
        state.awaiting[seq] = "training"
    yield from ()


def training_progressed(state: RunState, _seq: int, _source: str, message: TrainingProgressed) -> Iterator[Request]:
    training = _training(state, message)
    if training and training.result is None:
        # A trainer that continues from its checkpoint says some points again: the last word on a step count stands.
        training.curve = [point for point in training.curve if point.env_steps < message.point.env_steps] + [message.point]
        training.resumed = max(training.resumed, message.resumed)
    yield from ()


def training_finished(state: RunState, seq: int, _source: str, message: TrainingFinished) -> Iterator[Request]:
    plan, training = state.plans.get(message.plan), _training(state, message)
    if plan is None or training is None or training.result is not None:
        return
    training.result = message
    state.awaiting.pop(training.seq, None)
    state.spent.learning_steps += message.env_steps + message.lead_steps
    state.spent.evaluation_steps += message.score.env_steps if message.score else 0
    state.spent.learn_s += message.learn_s
    state.spent.evaluate_s += message.evaluate_s
    yield from _conclude(state, seq, plan)


def training_lost(state: RunState, plan: PlanState, training: Training, reason: str) -> Iterator[Request]:
    """No process could do this learning. One of several seeds is a failure among them; the only one is the plan's failure."""
    state.awaiting.pop(training.seq, None)
    if len(state.seeds) > 1:
        training.result = TrainingFinished(
            plan=plan.number, seed=training.request.seed, env_steps=0, score=None, policy=None, failure=reason
        )
        yield from _conclude(state, state.seq, plan)
    else:
        plan.failure = reason
        yield from next_plan(state, plan, reason)


def _training(state: RunState, message: TrainingProgressed | TrainingFinished) -> Training | None:
    """The learning a trainer speaks of. Where there is one a plan, it need not name the seed."""
    plan = state.plans.get(message.plan)
    if plan is None:
        return None
    return plan.trainings.get(message.seed if len(state.seeds) > 1 else state.seeds[0])


def _conclude(state: RunState, seq: int, plan: PlanState) -> Iterator[Request]:
    """Once every seed has ended: the plan's result, and what follows from it."""
    results = [training.result for training in plan.trainings.values() if training.result]
    if len(results) < len(state.seeds):
        return
    plan.result = results[0] if len(results) == 1 else _together(plan, results)
    stage = state.stage_of(plan)
    best = state.plans[stage.best].rate if stage.best is not None else -1.0
    if plan.rate > best:
        stage.best = plan.number
    if state.critic_asked:
        state.awaiting[seq] = "plan review"
        yield AskPlanReview(plan.number)
    else:
        yield from after_plan(state, plan)


def _together(plan: PlanState, results: list[TrainingFinished]) -> TrainingFinished:
    """All seeds as one result: the score of all, the policy, curve and samples of the best; failures of single seeds by name."""
    best = plan.best_training
    base = best.result if best and best.result else results[0]
    summed = {
        "env_steps": sum(result.env_steps for result in results),
        "learn_s": sum(result.learn_s for result in results),
        "evaluate_s": sum(result.evaluate_s for result in results),
        "score": pooled(results),
        "failure": "; ".join(f"seed {result.seed}: {result.failure}" for result in results if result.failure),
    }
    return base.model_copy(update=summed)


# ---------------------------------------------------------------- review, and what comes next


def plan_reviewed(state: RunState, _seq: int, source: str, message: PlanReviewed) -> Iterator[Request]:
    plan = state.plans.get(message.plan)
    if plan and plan.result and plan.review is None and consumer_of(source) in state.task.critic.reviewers:
        plan.review = message
        state.answered("plan review")
        yield from after_plan(state, plan)


def after_plan(state: RunState, plan: PlanState) -> Iterator[Request]:
    score, stage = plan.result.score if plan.result else None, state.stage_of(plan)
    if score and stages.done(state, plan.number):
        words = f"plan {plan.number} succeeds in {score.successes} of {score.episodes} held-out episodes"
        if stage.number:
            yield from stages.end(state, words)
        else:
            yield Finish("target_reached", words)
    else:
        below = f"plan {plan.number} is below the target of {stage.target:.0%}"
        failure = plan.result.failure if plan.result and not score else ""
        yield from next_plan(state, plan, f"plan {plan.number}: {failure}" if failure else below)


def next_plan(state: RunState, last: PlanState, reason: str) -> Iterator[Request]:
    """Plan again after plan `last`, or end the stage."""
    stage, limit = state.stage_of(last), state.plan_limit
    if stage is not state.stage:
        return  # a late word on a plan of a stage that is over
    if stage.plans.index(last.number) + 1 < limit:
        yield AskPlan(last.number + 1, stage.number)
    else:
        yield from give_up(state, last, reason, f"all {limit} plans are used")


def give_up(state: RunState, last: PlanState, reason: str, spent: str) -> Iterator[Request]:
    """The stage is planned no more, since `spent`; `reason` is that of its last plan."""
    if state.stage_of(last).number:
        yield from stages.end(state, f"{reason}, and {spent}")
    elif state.best is not None:
        yield Finish("below_target", f"{reason}, and {spent}")
    elif spent.startswith("dead loop"):
        yield Finish("gave_up", f"{reason}; {spent}, and no plan led to a policy")
    else:
        yield Finish("gave_up", f"{reason}; none of {state.plan_limit} plans led to a policy")
