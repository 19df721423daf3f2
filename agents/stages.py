"""The stages of a long task as a fold: each has two loops of its own, and begins where the best policy of the one before succeeded.

A stage is done when a plan of it reaches the stage's target, or when its plans are used up and its best policy reached at least one start
state for the next. The chain's score counts the first stage's held-out seeds that passed every stage: each later stage is evaluated from
exactly the states that those seeds led to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rlgpt.agents.progress import Stage
from rlgpt.agents.requests import AskPlan, Finish, Request
from rlgpt.agents.scoring import chained
from rlgpt.bus.messages import TaskDivided, TrainingFinished
from rlgpt.bus.parts import Artifact, Score, StageResult
from rlgpt.bus.task import SubTask, Task

if TYPE_CHECKING:
    from rlgpt.agents.loops import RunState


def whole(task: Task) -> Stage:
    """The one stage of a task that is not divided."""
    sub_task = SubTask(name=task.name, goal=task.goal, success=task.success)
    return Stage(0, sub_task, task.environment, task.evaluation.target, last=True)


def divided(state: RunState, seq: int, _source: str, message: TaskDivided) -> Iterator[Request]:
    if state.divided and not state.sub_tasks:
        state.answered("division")
        state.sub_tasks = message.sub_tasks
        state.awaiting[seq] = "plan"
        yield from _begin(state, 1, state.task.environment.starts, None)


def _begin(state: RunState, number: int, starts: Artifact | None, held_out: Artifact | None) -> Iterator[Request]:
    task, count = state.task, len(state.sub_tasks)
    environment = task.environment.model_copy(update={"starts": starts, "until_success": True})
    target = task.evaluation.stage_target
    if target is None:
        target = task.evaluation.target ** (1 / count)
    state.stages.append(Stage(number, state.sub_tasks[number - 1], environment, target, number == count, held_out))
    yield AskPlan(max(state.plans, default=0) + 1, number)


def done(state: RunState, plan: int) -> bool:
    """Whether this plan, just evaluated, is good enough for its stage."""
    stage = state.stage_of(state.plans[plan])
    if state.plans[plan].rate >= stage.target:
        return True
    chain = chain_score(state) if stage.number and stage.last else None
    return chain is not None and chain.rate >= state.task.evaluation.target


def end(state: RunState, reason: str) -> Iterator[Request]:
    """The stage under way is over, for `reason`: the next one begins where its best policy succeeded, or the run ends."""
    stage, target = state.stage, state.task.evaluation.target
    where = f"stage {stage.number} ({stage.task.name})"
    if stage.best is None:
        yield Finish("gave_up" if state.best is None else "below_target", f"{where}: {reason}; none of its plans led to a policy")
    elif not stage.last:
        best = _chosen(state, stage)
        if best and best.reached and best.held_out:
            yield from _begin(state, stage.number + 1, best.reached, best.held_out)
        else:
            missing = "held-out episode" if best and best.reached else "practice episode"
            yield Finish("below_target", f"{where}: {reason}; no {missing} succeeded, so the next stage has nowhere to begin")
    elif score := state.score:
        words = f"{score.successes} of {score.episodes} held-out episodes pass all {stage.number} stages"
        reached = score.rate >= target
        yield Finish("target_reached" if reached else "below_target", words if reached else f"{words}; {where}: {reason}")


def _chosen(state: RunState, stage: Stage) -> TrainingFinished | None:
    """What goes on from a stage: the best seed of its best plan."""
    training = state.plans[stage.best].best_training if stage.best is not None else None
    return training.result if training else None


def chain_score(state: RunState) -> Score | None:
    """Of the stages so far; before the last one has a policy, nobody has passed them all. None before the first has one."""
    scored = [stage for stage in state.stages if stage.best is not None]
    if not scored:
        return None
    scores = [found.score for stage in scored[:-1] if (found := _chosen(state, stage)) and found.score]
    last = state.plans[scored[-1].best or 0]
    if last.result is None or last.result.score is None:
        return None
    return chained([*scores, last.result.score], whole=scored[-1].last, seeds=len(last.trainings))


def results(state: RunState) -> tuple[StageResult, ...]:
    """Every stage of the divided task, also those that were never begun; empty for a task that is not divided."""
    begun = {stage.number: stage for stage in state.stages}
    found = []
    for number, sub_task in enumerate(state.sub_tasks, start=1):
        best = begun[number].best if number in begun else None
        result = state.plans[best].result if best is not None else None
        score, policy = (result.score, result.policy) if result else (None, None)
        found.append(StageResult(name=sub_task.name, plan=best, score=score, policy=policy))
    return tuple(found)
