"""A run's parts in words, for the live view, the lines and the summary: the stages of a divided task, and the seeds of a plan."""

from __future__ import annotations

from rlgpt.agents import stages
from rlgpt.agents.loops import RunState
from rlgpt.agents.progress import PlanState, Training
from rlgpt.runtime.text import percent, short


def stage_lines(state: RunState) -> list[str]:
    """`1. find_key: 48 of 50 [..], plan 2 of 3`, a line a stage; empty for a task that is not divided."""
    lines = []
    begun = {stage.number: stage for stage in state.stages}
    for number, result in enumerate(stages.results(state), start=1):
        stage = begun.get(number)
        if stage is None:
            words = "not begun"
        elif result.score is None:
            words = "no policy" if state.finished or number < len(state.stages) else "under way"
        else:
            score = result.score
            words = f"{score.successes} of {score.episodes} {percent(score)}, plan {result.plan}"
        if stage and stage.plans:
            words += f" ({len(stage.plans)} plan{'s' * (len(stage.plans) != 1)}, target {stage.target:.0%})"
            words += _went_on(state, result.plan) if number < len(state.stages) else ""
        lines.append(f"{number}. {result.name}: {words}")
    return lines


def _went_on(state: RunState, plan: int | None) -> str:
    """Which of several seeds the next stage builds on."""
    best = state.plans[plan].best_training if plan is not None and len(state.seeds) > 1 else None
    if best is None or best.result is None or best.result.score is None:
        return ""
    return f"; seed {best.request.seed} went on, with {best.result.score.successes} of {best.result.score.episodes}"


def seed_words(plan: PlanState) -> str:
    """What each seed came to; empty where there is one."""
    if len(plan.trainings) < 2:
        return ""
    return ", ".join(f"seed {seed}: {_seed(training)}" for seed, training in plan.trainings.items())


def _seed(training: Training) -> str:
    result = training.result
    if result is None:
        return f"{training.steps:,} steps so far"
    if result.score is None:
        return f"no policy ({short(result.failure, 80)})"
    return f"{result.score.successes} of {result.score.episodes}"


def mode_words(state: RunState) -> str:
    """The mode with what else is switched off or on: `rl-gpt, no critic`."""
    if state.submitted is None:
        return "?"
    task = state.task
    more = [", one agent"] * (task.agents == "one") + [", no critic"] * (not task.critic.enabled)
    more += [f", {len(state.sub_tasks)} stages"] * bool(state.sub_tasks) + [f", {task.seeds} seeds"] * (len(state.seeds) > 1)
    return task.mode + "".join(more)
