"""The stages of a long task as a fold: each has two loops of its own, and begins where the best policy of the one before succeeded.

A stage is done when a plan of it reaches the stage's target, or when its plans are used up and its best policy reached at least one start
state for the next. The chain's score counts the first stage's held-out seeds that passed every stage: each later stage is evaluated from
exactly the states that those seeds led to.

Where the environment is not deterministic no state can be reached again. There a later stage's episodes begin behind the policies of the
stages before, which are played each time (`envs/lead.py`), and its evaluation plays whole chains: those that do not get to the stage are
no episodes of its own score, but count, as failed, in the chain's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rlgpt.agents.progress import Stage
from rlgpt.agents.requests import AskPlan, Finish, Request
from rlgpt.agents.scoring import chained
from rlgpt.bus.messages import TaskDivided, TrainingFinished
from rlgpt.bus.parts import Artifact, Score, StageResult
from rlgpt.bus.task import Lead, SubTask, Task

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
        yield from _begin(state, 1)


def _begin(state: RunState, number: int, held_out: Artifact | None = None, **beginning: object) -> Iterator[Request]:
    """Stage `number`; `beginning` is where its episodes begin, if not as the task's do: fields of its environment."""
    task, count = state.task, len(state.sub_tasks)
    environment = task.environment.model_copy(update={"until_success": True, **beginning})
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
        if not state.task.environment.deterministic:
            yield from _behind(state, stage, f"{where}: {reason}")
        elif best and best.reached and best.held_out:
            yield from _begin(state, stage.number + 1, best.held_out, starts=best.reached)
        else:
            missing = "held-out episode" if best and best.reached else "practice episode"
            yield Finish("below_target", f"{where}: {reason}; no {missing} succeeded, so the next stage has nowhere to begin")
    elif score := state.score:
        words = f"{score.successes} of {score.episodes} held-out episodes pass all {stage.number} stages"
        reached = score.rate >= target
        yield Finish("target_reached" if reached else "below_target", words if reached else f"{words}; {where}: {reason}")


def _behind(state: RunState, stage: Stage, reason: str) -> Iterator[Request]:
    """The next stage begins behind this one's best policy, which is played each time."""
    training = state.plans[stage.best].best_training if stage.best is not None else None
    score = training.result.score if training and training.result else None
    if training is None or training.result is None or score is None or not score.successes:
        yield Finish("below_target", f"{reason}; no held-out episode succeeded, so the next stage cannot be reached")
        return
    request = training.request
    lead = Lead(
        name=stage.task.name,
        success=stage.task.success,
        skills=request.skills,
        library=request.library,
        controller=request.controller,
        policy=training.result.policy,
    )
    yield from _begin(state, stage.number + 1, lead=(*stage.environment.lead, lead))


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
