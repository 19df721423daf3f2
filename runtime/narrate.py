"""What an event means to somebody who watches a run: no line, one, or a few."""

from __future__ import annotations

from collections.abc import Iterator

from rlgpt.agents import arenas, budget
from rlgpt.agents.loops import RunState
from rlgpt.bus.messages import (
    AgentLeft,
    ArenaFinished,
    ArenaProgressed,
    ArenaRequested,
    BudgetSpent,
    DeadLettered,
    Message,
    ModelAsked,
    PlanFailed,
    PlanProposed,
    PlanReviewed,
    ReviewMissed,
    RunFinished,
    SkillDrafted,
    SkillFailed,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    TaskDivided,
    TaskSubmitted,
    TrainingFinished,
    TrainingProgressed,
    TrainingRequested,
)
from rlgpt.bus.parts import Point
from rlgpt.runtime.parts import stage_lines
from rlgpt.runtime.story import LAUNCHER
from rlgpt.runtime.text import duration, percent, printable, short, steps

PARTS_OF_LEARNING = 10


def narrate(message: Message, state: RunState) -> Iterator[str]:
    """Lines for `message`, `state` being the loops' after it."""
    match message:
        case TaskSubmitted():
            yield f"task: {printable(message.task.goal)}"
        case TaskDivided():
            yield f"{len(message.sub_tasks)} stages: {short(message.rationale, 300)}"
            for number, sub_task in enumerate(message.sub_tasks, start=1):
                yield f"  {number}. {sub_task.name}: {short(sub_task.goal, 120)}, until {short(sub_task.success, 80)}"
        case PlanProposed():
            stage = f"stage {message.stage}, " if message.stage else ""
            yield f"{stage}plan {message.plan}: {short(message.rationale, 200)}"
            for number, sub_action in enumerate(message.sub_actions, start=1):
                yield f"  {number}. [{sub_action.mode}] {sub_action.name}: {short(sub_action.purpose, 120)}"
        case PlanFailed():
            yield f"plan {message.plan} failed: {short(message.reason, 300)}"
        case SkillDrafted():
            lines = len(message.skill.source.splitlines())
            made = f"taken from the library ({message.origin})" if message.origin else f"written ({lines} lines)"
            yield f"{message.skill.name}, attempt {message.attempt}: {made}, to be tried in {len(message.seeds)} episodes"
        case SkillTried():
            yield f"{message.name}, attempt {message.attempt}: {trial_words(message)}"
        case SkillFailed():
            yield f"{message.name}, attempt {message.attempt}: no draft: {short(message.reason, 300)}"
        case SkillReviewed():
            change = f" -> {short(message.change, 200)}" if message.change else ""
            yield f"{message.name}, attempt {message.attempt}: review says {message.verdict}: {short(message.why, 200)}{change}"
        case SkillSettled():
            end = "accepted as a skill" if message.accepted else "left to the learner"
            yield f"{message.name}: {end} after {message.attempts} attempt{'s' * (message.attempts != 1)} ({short(message.reason, 160)})"
        case ArenaRequested() | ArenaProgressed() | ArenaFinished():
            yield from _arena(message, state)
        case TrainingRequested() | TrainingProgressed() | TrainingFinished():
            yield from _training(message, state)
        case PlanReviewed():
            advice = f" -> {short(message.advice, 200)}" if message.advice else ""
            yield f"plan {message.plan}: review: {short(message.why, 240)}{advice}"
        case RunFinished():
            yield f"finished: {message.outcome.replace('_', ' ')}: {short(message.reason, 300)}"
            for line in stage_lines(state):
                yield f"  {line}"
        case _:
            yield from _besides(message)


def trial_words(trial: SkillTried) -> str:
    """`4 of 5 episodes succeed`, with the first error or what the failed ones ended at."""
    if trial.error:
        return f"could not be tried: {short(trial.error, 240)}"
    good = sum(episode.success for episode in trial.episodes)
    words = f"{good} of {len(trial.episodes)} episodes succeed"
    failed = next((episode for episode in trial.episodes if not episode.success), None)
    if failed is None:
        return words
    ended = short(failed.error, 160) if failed.error else failed.ended
    return f"{words} (seed {failed.seed}: {ended} after {failed.steps} steps, at {short(failed.last, 100)})"


def point_words(point: Point) -> str:
    episodes = f"success {point.success_rate:.0%}, return {point.mean_return:.1f}" if point.episodes else "no episode ended"
    return f"{episodes}, {point.steps_per_s:,.0f} steps/s"


def _training(message: TrainingRequested | TrainingProgressed | TrainingFinished, state: RunState) -> Iterator[str]:
    several, plan = len(state.seeds) > 1, state.plans.get(message.plan)
    name = f"plan {message.plan}, seed {message.seed}" if several else f"plan {message.plan}"
    match message:
        case TrainingRequested() if plan and plan.training != message:
            yield f"{name}: the same with this seed"
        case TrainingRequested():
            skills = ", ".join(skill.name for skill in message.skills) or "none"
            if message.controller:
                yield f"{name}: {message.controller} plays whole episodes; nothing is learned"
            else:
                shaping = f"; shaping {short(message.shaping, 100)}" if message.shaping else ""
                primitives = ", ".join(message.primitives) or "all"
                amount = f"{steps(message.learner.env_steps)} environment steps"
                yield f"{name}: learning for {amount}; skills: {skills}; primitive actions: {primitives}{shaping}"
        case TrainingProgressed(point=point):
            budget = plan.training.learner.env_steps if plan and plan.training else 0
            curve = plan.trainings[message.seed].curve if plan and message.seed in plan.trainings else plan.curve if plan else []
            before = curve[-2].env_steps if len(curve) > 1 else 0
            if budget and point.env_steps * PARTS_OF_LEARNING // budget > before * PARTS_OF_LEARNING // budget:
                seed = f"seed {message.seed}: " if several else ""
                yield f"  {seed}{steps(point.env_steps)} of {steps(budget)} steps: {point_words(point)}"
        case TrainingFinished():
            if message.failure:
                yield f"{name}: no policy: {short(message.failure, 300)}"
            if message.score:
                score = message.score
                took = f"learned in {duration(message.learn_s)}, evaluated in {duration(message.evaluate_s)} on {message.device}"
                yield f"{name}: success {percent(score)} in {score.episodes} held-out episodes ({score.actions}); {took}"
            if several and plan and plan.result and plan.result.score:
                score = plan.result.score
                yield f"plan {message.plan}: all {len(state.seeds)} seeds: success {percent(score)} in {score.episodes} held-out episodes"


def _arena(message: ArenaRequested | ArenaProgressed | ArenaFinished, state: RunState) -> Iterator[str]:
    plan = state.plans.get(message.plan)
    inner = plan.inner.get(message.name) if plan else None
    match message:
        case ArenaRequested(arena=arena):
            begins = f"where {short(arena.where, 80)}" if arena.where else "in its start states" if arena.starts else "as every episode"
            ends = f", until {short(arena.success, 80)}" if arena.success else ""
            against = message.against.name if message.against else "doing nothing"
            amount = f"{steps(arena.env_steps)} environment steps in episodes of {arena.steps}"
            yield f"{message.name}: learned in its arena for {amount}, beginning {begins}{ends}; has to beat {against}"
        case ArenaProgressed(point=point):
            curve = inner.learnt.curve if inner and inner.learnt else []
            budget_ = inner.learnt.request.arena.env_steps if inner and inner.learnt else 0
            before = curve[-2].env_steps if len(curve) > 1 else 0
            if budget_ and point.env_steps * PARTS_OF_LEARNING // budget_ > before * PARTS_OF_LEARNING // budget_:
                yield f"  {message.name}: {steps(point.env_steps)} of {steps(budget_)} steps: {point_words(point)}"
        case ArenaFinished():
            if message.failure or message.contest is None:
                yield f"{message.name}: nothing came of its arena: {short(message.failure, 300)}"
            else:
                spent = f"{steps(message.env_steps)} steps of learning, {steps(message.found_steps)} to find {message.states} start states"
                yield f"{message.name}: {arenas.outcome(message.contest)}; {spent}"


def _besides(message: Message) -> Iterator[str]:
    match message:
        case ModelAsked() if message.outcome not in ("answered", "repaired"):
            yield f"question {message.key} to {message.model}: {message.outcome}"
        case BudgetSpent():
            yield f"budget spent: {budget.words(message)}"
        case ReviewMissed():
            yield f"nobody reviewed event {message.seq} within {message.waited_s:.0f} s: the success test decides alone"
        case DeadLettered():
            words = f"given up: event {message.seq} ({message.type}) by {message.consumer} after {message.attempts} attempts"
            yield f"{words}: {short(message.reason, 200)}"
        case AgentLeft(reason="lost") if message.role != LAUNCHER:
            yield f"lost: {message.name} does not answer any more"
        case _:
            return
