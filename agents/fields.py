"""What the question templates are filled in with, one function a template: the run's state, in the words of `words`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rlgpt.agents import words
from rlgpt.agents.answers import PPO_BOUNDS
from rlgpt.agents.loops import RunState
from rlgpt.agents.progress import Inner, PlanState
from rlgpt.agents.prompts import render
from rlgpt.agents.requests import CONTROLLER
from rlgpt.bus.messages import Card, Skill, SkillTried, TrainingFinished

NOTHING = "none"


def plan_fields(state: RunState, number: int) -> dict[str, str]:
    task = state.task
    limits: dict[str, Any] = {
        "trial_episodes": task.loops.trial_episodes,
        "skill_steps": task.loops.skill_steps,
        "attempts": task.loops.attempts,
        "episodes": task.evaluation.episodes,
        "target": f"{task.evaluation.target:.0%}",
    }
    if task.mode == "code-only":
        procedure, modes = "procedure_code_only", "always `code`"
    else:
        procedure, modes, limits["env_steps"] = "procedure_rl_gpt", "`code` or `rl`", f"{task.trainer.env_steps:,}"
    return {
        "goal": task.goal,
        "success": task.success,
        "card": _card(state).text,
        "procedure": render(procedure, **_strings(limits)),
        "skill_steps": str(task.loops.skill_steps),
        "earlier": _section("Earlier plans of this run", words.plans(state)),
        "number": str(number),
        "plans": str(state.plan_limit),
        "modes": modes,
    }


def skill_fields(state: RunState, plan: PlanState, inner: Inner) -> dict[str, str]:
    """For `skill` and for `controller` alike."""
    task, name = state.task, inner.spec.name
    is_controller = name == CONTROLLER
    steps = "as many as the episode has" if is_controller else str(task.loops.skill_steps)
    rules = {"name": name, "max_steps": steps, "imports": _listed(task.environment.imports), "library": _names(plan.skills)}
    fields = {
        "name": name,
        "purpose": "" if is_controller else inner.spec.purpose,
        "goal": task.goal,
        "card": _card(state).text,
        "trial_episodes": str(task.loops.trial_episodes),
        "test": inner.spec.success,
        "rules": "\n\n".join(part for part in (render("skill_rules", **rules), words.library(plan.skills)) if part),
        "plan": _section("The plan it belongs to", words.plan(plan)),
        "attempts": _section("Earlier attempts", words.attempts(inner)),
        "number": str(len(inner.attempts) + 1),
        "attempts_allowed": str(task.loops.attempts),
    }
    if is_controller:
        return fields
    learner = "becomes one choice of a learner, which learns when a call pays"
    use = "can be called by the controller, the routine that plays whole episodes" if task.mode == "code-only" else learner
    return {**fields, "max_steps": steps, "use": f"{use}, in any situation of an episode and also several times"}


def set_up_fields(state: RunState, plan: PlanState) -> dict[str, str]:
    task, card = state.task, _card(state)
    bounds = "; ".join(f"`{name}` {getattr(task.trainer, name):g} ({low:g} to {high:g})" for name, (low, high) in PPO_BOUNDS.items())
    return {
        "goal": task.goal,
        "success": task.success,
        "card": card.text,
        "plan": words.plan(plan),
        "env_steps": f"{task.trainer.env_steps:,}",
        "skills": _names(plan.skills),
        "primitives": _listed(card.actions) or "not named one by one here, so leave the list empty",
        "ppo": f"what is set, and in brackets the bounds: {bounds}.",
        "earlier": _section(
            "Earlier plans of this run", "\n\n".join(words.plan(p) for p in state.plans.values() if p.number < plan.number)
        ),
    }


def trial_fields(state: RunState, trial: SkillTried) -> dict[str, str]:
    task, inner = state.task, state.plans[trial.plan].inner[trial.name]
    attempt = next(attempt for attempt in inner.attempts if attempt.number == trial.attempt)
    earlier = Inner(inner.spec, [a for a in inner.attempts if a.number < trial.attempt])
    return {
        "name": trial.name,
        "number": str(trial.attempt),
        "attempts_allowed": str(task.loops.attempts),
        "purpose": inner.spec.purpose,
        "goal": task.goal,
        "card": _card(state).text,
        "source": words.source(attempt.draft.skill) if attempt.draft else "(no source)",
        "episodes": str(len(trial.episodes)),
        "test": inner.spec.success,
        "result": "The skill PASSED its success test." if trial.success else "The skill FAILED its success test.",
        "trial": words.trial(trial),
        "attempts": _section("Attempts before this one", words.attempts(earlier)),
    }


def plan_review_fields(state: RunState, result: TrainingFinished) -> dict[str, str]:
    task, plan = state.task, state.plans[result.plan]
    set_up = plan.training
    choices = f"Skills given to the learner: {_names(set_up.skills)}. " if set_up and set_up.controller is None else ""
    choices += f"Shaping: `{set_up.shaping}`. " if set_up and set_up.shaping else ""
    choices += f"Reason: {set_up.reason}" if set_up and set_up.reason else ""
    return {
        "number": str(result.plan),
        "goal": task.goal,
        "success": task.success,
        "card": _card(state).text,
        "plan": words.plan(PlanState(plan.number, proposal=plan.proposal, inner=plan.inner)),
        "learning": "\n".join(part for part in (choices, words.result(result)) if part),
        "samples": _section("Some evaluation episodes", words.samples(result)),
    }


def _card(state: RunState) -> Card:
    if state.submitted is None:
        raise ValueError("no task yet, so there is no card")
    return state.submitted.card


def _section(title: str, text: str) -> str:
    return f"# {title}\n\n{text}" if text.strip() else ""


def _names(skills: Iterable[Skill]) -> str:
    return _listed(skill.name for skill in skills) or NOTHING


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _strings(values: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
