"""What the question templates are filled in with, one function a template: the run's state, in the words of `words`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlgpt.agents import words
from rlgpt.agents.answers import MOST_STAGES, PPO_BOUNDS
from rlgpt.agents.library import Entry
from rlgpt.agents.loops import RunState
from rlgpt.agents.progress import Inner, PlanState
from rlgpt.agents.prompts import render
from rlgpt.agents.requests import CONTROLLER
from rlgpt.agents.sections import (
    accepted_before,
    arenas,
    called_again,
    card_of,
    earlier_plans,
    earlier_skills,
    interrupted,
    listed,
    names,
    remembered,
    section,
    settled,
    stage_section,
    strings,
    which,
)
from rlgpt.bus.messages import SkillTried, TrainingFinished
from rlgpt.bus.parts import Picture


def divide_fields(state: RunState) -> dict[str, str]:
    task = state.task
    code = task.mode == "code-only"
    return {
        "goal": task.goal,
        "success": task.success,
        "card": card_of(state).text,
        "team": "a planner and a programmer" if code else "a planner, a programmer and a learner",
        "doer": "a coded routine" if code else "a learner with a few coded routines",
        "plans": f"{state.plan_limit} plan{'s' * (state.plan_limit != 1)}",
        "most": str(MOST_STAGES),
    }


def plan_fields(state: RunState, number: int) -> dict[str, str]:
    task, stage = state.task, state.stage
    limits: dict[str, Any] = {
        "trial_episodes": task.loops.trial_episodes,
        "skill_steps": task.loops.skill_steps,
        "interrupted": called_again(task),
        "bar": words.bar(task.loops),
        "attempts": task.loops.attempts,
        "episodes": task.evaluation.episodes,
        "target": f"{stage.target:.0%}",
    }
    if task.mode == "code-only":
        procedure, advice, modes = "procedure_code_only", "plan_advice_code_only", "always `code`"
    else:
        procedure, advice, modes = "procedure_rl_gpt", "plan_advice", "`code` or `rl`"
        limits["env_steps"] = f"{task.trainer.env_steps:,}"
    return {
        "goal": stage.task.goal,
        "success": stage.task.success,
        "stage": stage_section(state, stage),
        "card": card_of(state).text,
        "procedure": render(procedure, **strings(limits)),
        "arenas": arenas(task),
        "advice": render(advice, skill_steps=str(task.loops.skill_steps)),
        "earlier": earlier_plans(state, number),
        **which(state, stage, len(state.siblings(number)) + 1),
        "modes": modes,
    }


def solo_fields(state: RunState, number: int) -> dict[str, str]:
    """As `plan_fields`, with what the author of a source has to know."""
    task = state.task
    steps, imports = str(task.loops.skill_steps), listed(task.environment.imports)
    given = {"max_steps": steps, "imports": imports, "library": "those of sub-actions before it", "remembered": remembered(task)}
    rules = render("skill_rules", name="<name of the sub-action>", **given)
    no_source = "" if task.mode == "code-only" else "; for `rl`: empty"
    return {**plan_fields(state, number), "no_source": no_source, "rules": rules, "accepted_before": accepted_before(state, number)}


def skill_fields(state: RunState, plan: PlanState, inner: Inner, earlier: Sequence[Entry] = ()) -> dict[str, str]:
    """For `skill` and for `controller` alike; `earlier` skills of the library are shown."""
    task, name, stage = state.task, inner.spec.name, state.stage_of(plan)
    is_controller = name == CONTROLLER
    steps = "as many as the episode has" if is_controller else str(task.loops.skill_steps)
    rules = {"name": name, "max_steps": steps, "imports": listed(task.environment.imports), "library": names(plan.skills)}
    rules["remembered"] = remembered(task)
    fields = {
        "name": name,
        "purpose": "" if is_controller else inner.spec.purpose,
        "goal": stage.task.goal,
        "stage": stage_section(state, stage),
        "card": card_of(state).text,
        "trial_episodes": str(task.loops.trial_episodes),
        "bar": words.bar(task.loops),
        "test": inner.spec.success,
        "rules": "\n\n".join(part for part in (render("skill_rules", **rules), words.library(settled(plan))) if part),
        "plan": section("The plan it belongs to", words.plan(plan, code_only=task.mode == "code-only")),
        "accepted_before": accepted_before(state, plan.number, inner),
        "earlier_skills": earlier_skills(state, earlier),
        "attempts": section("Earlier attempts", words.attempts(inner)),
        "number": str(len(inner.attempts) + 1),
        "attempts_allowed": str(task.loops.attempts),
    }
    if is_controller:
        scored = {"episodes": str(task.evaluation.episodes), "target": f"{stage.target:.0%}"}
        return {**fields, **scored, "interrupted": interrupted(task)}
    learner = "becomes one choice of a learner, which learns when a call pays"
    use = "can be called by the controller, the routine that plays whole episodes" if task.mode == "code-only" else learner
    used = f"{use}, in any situation of an episode and also several times"
    return {**fields, "max_steps": steps, "interrupted": called_again(task), "use": used}


def set_up_fields(state: RunState, plan: PlanState) -> dict[str, str]:
    task, card, stage = state.task, card_of(state), state.stage_of(plan)
    bounds = "; ".join(f"`{name}` {getattr(task.trainer, name):g} ({low:g} to {high:g})" for name, (low, high) in PPO_BOUNDS.items())
    a_round = task.trainer.rollout * task.trainer.environments
    updates = f"with what is set, {a_round:,} decisions an update, so at most {-(-task.trainer.env_steps // a_round)} updates."
    return {
        "goal": stage.task.goal,
        "success": stage.task.success,
        "stage": stage_section(state, stage),
        "card": card.text,
        "plan": words.plan(plan),
        "sources": words.library(settled(plan)),
        "env_steps": f"{task.trainer.env_steps:,}",
        "environments": str(task.trainer.environments),
        "episodes": str(task.evaluation.episodes),
        "target": f"{stage.target:.0%}",
        "skills": names(plan.skills),
        "primitives": listed(card.actions) or "not named one by one here, so leave the list empty",
        "shaped": f"the scenario adds `{task.shaping}` already. Yours is added to it: " if task.shaping else "",
        "ppo": f"what is set, and in brackets the bounds: {bounds}.",
        "updates": updates,
        "earlier": earlier_plans(state, plan.number),
    }


def arena_fields(state: RunState, plan: PlanState, inner: Inner) -> dict[str, str]:
    task, card, stage = state.task, card_of(state), state.stage_of(plan)
    return {
        "name": inner.spec.name,
        "purpose": inner.spec.purpose,
        "goal": stage.task.goal,
        "stage": stage_section(state, stage),
        "card": card.text,
        "plan": words.plan(plan),
        "env_steps": f"{task.loops.arena_steps:,}",
        "skill_steps": str(task.loops.skill_steps),
        "skills": names(plan.skills),
        "primitives": listed(card.actions) or "not named one by one here, so leave the list empty",
    }


def trial_fields(state: RunState, trial: SkillTried, shown: Sequence[Picture] = ()) -> dict[str, str]:
    """`shown` are the pictures that go with the question."""
    task, stage, inner = state.task, state.stage_of(state.plans[trial.plan]), state.plans[trial.plan].inner[trial.name]
    attempt = next(attempt for attempt in inner.attempts if attempt.number == trial.attempt)
    earlier = Inner(inner.spec, [a for a in inner.attempts if a.number < trial.attempt])
    is_controller, code = trial.name == CONTROLLER, task.mode == "code-only"
    best = "the best attempt so far is taken as it is"
    dropped = "the plan has to do without it" if code else "it is better left to the learner"
    return {
        "what": "the controller" if is_controller else "the skill",
        "name": trial.name,
        "number": str(trial.attempt),
        "attempts_allowed": str(task.loops.attempts),
        "purpose": inner.spec.purpose,
        "goal": stage.task.goal,
        "stage": stage_section(state, stage),
        "card": card_of(state).text,
        "source": words.source(attempt.draft.skill) if attempt.draft else "(no source)",
        "episodes": str(task.loops.trial_episodes),
        "interrupted": "" if is_controller else called_again(task),
        "bar": words.bar(task.loops),
        "test": inner.spec.success,
        "result": f"It {'PASSED' if trial.success else 'FAILED'} its success test.",
        "trial": words.trial(trial),
        "pictures": words.pictures(shown),
        "attempts": section("Attempts before this one", words.attempts(earlier)),
        "given_up": best if is_controller else dropped,
    }


def plan_review_fields(state: RunState, result: TrainingFinished) -> dict[str, str]:
    plan = state.plans[result.plan]
    stage, set_up, whole, code = state.stage_of(plan), plan.training, plan.result or result, state.task.mode == "code-only"
    choices = "" if set_up is None or set_up.controller else f"Skills given to the learner: {names(set_up.skills)}. "
    choices += f"Primitive actions left: {listed(set_up.primitives)}. " if set_up and set_up.primitives else ""
    choices += f"Shaping: `{set_up.shaping}`. " if set_up and set_up.shaping else ""
    choices += f"Reason: {set_up.reason}" if set_up and set_up.reason and not code else ""
    reached = whole.score is not None and whole.score.rate >= stage.target
    last = plan.ordinal >= state.plan_limit
    return {
        **which(state, stage, plan.ordinal),
        "again": ", who will not plan this again: it is the last word on it" if reached or last else ", who will plan again",
        "goal": stage.task.goal,
        "success": stage.task.success,
        "stage": stage_section(state, stage),
        "card": card_of(state).text,
        "plan": words.plan(PlanState(plan.number, ordinal=plan.ordinal, proposal=plan.proposal, inner=plan.inner), code_only=code),
        "target": f"{stage.target:.0%}",
        "verdict": "It is reached." if reached else "It is NOT reached.",
        "learning": "\n".join(part for part in (choices, words.learning(plan)) if part),
        "uses": words.uses(whole),
        "samples": section("Some evaluation episodes", words.samples(whole)),
        "entries": f", `{CONTROLLER}` among them" if code else "",
        "learned": "" if code else "; for mode `rl`: whether the learner learned it",
        "look": "at how the controller went about it" if code else "the curve, at how often each choice was made and what it paid",
        "instead": "" if code else ", leave to the learner or turn into code",
    }
