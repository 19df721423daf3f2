"""What the question templates are filled in with, one function a template: the run's state, in the words of `words`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rlgpt.agents import words
from rlgpt.agents.answers import MOST_STAGES, PPO_BOUNDS
from rlgpt.agents.library import Entry
from rlgpt.agents.loops import RunState
from rlgpt.agents.progress import Inner, PlanState, Stage
from rlgpt.agents.prompts import render
from rlgpt.agents.requests import CONTROLLER
from rlgpt.bus.messages import SkillTried, TrainingFinished
from rlgpt.bus.parts import Card, Picture, Skill
from rlgpt.bus.task import Task

NOTHING = "none"


def divide_fields(state: RunState) -> dict[str, str]:
    task = state.task
    return {
        "goal": task.goal,
        "success": task.success,
        "card": _card(state).text,
        "plans": str(state.plan_limit),
        "most": str(MOST_STAGES),
    }


def plan_fields(state: RunState, number: int) -> dict[str, str]:
    task, stage = state.task, state.stage
    limits: dict[str, Any] = {
        "trial_episodes": task.loops.trial_episodes,
        "skill_steps": task.loops.skill_steps,
        "attempts": task.loops.attempts,
        "episodes": task.evaluation.episodes,
        "target": f"{stage.target:.0%}",
    }
    if task.mode == "code-only":
        procedure, modes = "procedure_code_only", "always `code`"
    else:
        procedure, modes, limits["env_steps"] = "procedure_rl_gpt", "`code` or `rl`", f"{task.trainer.env_steps:,}"
    return {
        "goal": stage.task.goal,
        "success": stage.task.success,
        "stage": stage_section(state, stage),
        "card": _card(state).text,
        "procedure": render(procedure, **_strings(limits)),
        "advice": render("plan_advice", skill_steps=str(task.loops.skill_steps)),
        "earlier": _earlier_plans(state, number),
        "number": str(number),
        "plans": str(number - len(state.siblings(number)) + state.plan_limit - 1),
        "modes": modes,
    }


def solo_fields(state: RunState, number: int) -> dict[str, str]:
    """As `plan_fields`, with what the author of a source has to know."""
    task = state.task
    steps, imports = str(task.loops.skill_steps), _listed(task.environment.imports)
    given = {"max_steps": steps, "imports": imports, "library": "those of sub-actions before it", "remembered": _remembered(task)}
    rules = render("skill_rules", name="<name of the sub-action>", **given)
    return {**plan_fields(state, number), "rules": rules}


def stage_section(state: RunState, stage: Stage) -> str:
    """Where a stage stands among the others; empty for a task that is not divided."""
    if not stage.number:
        return ""
    lines = []
    for number, sub_task in enumerate(state.sub_tasks, start=1):
        fate = "done" if number < stage.number else "this one" if number == stage.number else "to come"
        lines.append(f"{number}. `{sub_task.name}` ({fate}): {sub_task.goal}")
    before = state.sub_tasks[stage.number - 2].name
    begins = (
        f"Its episodes begin where `{before}` succeeded." if stage.number > 1 else "It begins as every episode of this environment does."
    )
    return render(
        "stage",
        number=str(stage.number),
        count=str(len(state.sub_tasks)),
        whole=state.task.goal,
        others="\n".join(lines),
        begins=begins,
        success=stage.task.success,
    )


def skill_fields(state: RunState, plan: PlanState, inner: Inner, earlier: Sequence[Entry] = ()) -> dict[str, str]:
    """For `skill` and for `controller` alike; `earlier` skills of the library are shown."""
    task, name, stage = state.task, inner.spec.name, state.stage_of(plan)
    is_controller = name == CONTROLLER
    steps = "as many as the episode has" if is_controller else str(task.loops.skill_steps)
    rules = {"name": name, "max_steps": steps, "imports": _listed(task.environment.imports), "library": _names(plan.skills)}
    rules["remembered"] = _remembered(task)
    fields = {
        "name": name,
        "purpose": "" if is_controller else inner.spec.purpose,
        "goal": stage.task.goal,
        "stage": stage_section(state, stage),
        "card": _card(state).text,
        "trial_episodes": str(task.loops.trial_episodes),
        "test": inner.spec.success,
        "rules": "\n\n".join(part for part in (render("skill_rules", **rules), words.library(plan.skills)) if part),
        "plan": _section("The plan it belongs to", words.plan(plan)),
        "earlier_skills": _earlier_skills(state, earlier),
        "attempts": _section("Earlier attempts", words.attempts(inner)),
        "number": str(len(inner.attempts) + 1),
        "attempts_allowed": str(task.loops.attempts),
    }
    if is_controller:
        return {**fields, "interrupted": _interrupted(task)}
    learner = "becomes one choice of a learner, which learns when a call pays"
    use = "can be called by the controller, the routine that plays whole episodes" if task.mode == "code-only" else learner
    return {**fields, "max_steps": steps, "use": f"{use}, in any situation of an episode and also several times"}


def set_up_fields(state: RunState, plan: PlanState) -> dict[str, str]:
    task, card, stage = state.task, _card(state), state.stage_of(plan)
    bounds = "; ".join(f"`{name}` {getattr(task.trainer, name):g} ({low:g} to {high:g})" for name, (low, high) in PPO_BOUNDS.items())
    return {
        "goal": stage.task.goal,
        "success": stage.task.success,
        "stage": stage_section(state, stage),
        "card": card.text,
        "plan": words.plan(plan),
        "env_steps": f"{task.trainer.env_steps:,}",
        "skills": _names(plan.skills),
        "primitives": _listed(card.actions) or "not named one by one here, so leave the list empty",
        "ppo": f"what is set, and in brackets the bounds: {bounds}.",
        "earlier": _earlier_plans(state, plan.number),
    }


def trial_fields(state: RunState, trial: SkillTried, shown: Sequence[Picture] = ()) -> dict[str, str]:
    """`shown` are the pictures that go with the question."""
    task, stage, inner = state.task, state.stage_of(state.plans[trial.plan]), state.plans[trial.plan].inner[trial.name]
    attempt = next(attempt for attempt in inner.attempts if attempt.number == trial.attempt)
    earlier = Inner(inner.spec, [a for a in inner.attempts if a.number < trial.attempt])
    return {
        "name": trial.name,
        "number": str(trial.attempt),
        "attempts_allowed": str(task.loops.attempts),
        "purpose": inner.spec.purpose,
        "goal": stage.task.goal,
        "stage": stage_section(state, stage),
        "card": _card(state).text,
        "source": words.source(attempt.draft.skill) if attempt.draft else "(no source)",
        "episodes": str(len(trial.episodes)),
        "test": inner.spec.success,
        "result": "The skill PASSED its success test." if trial.success else "The skill FAILED its success test.",
        "trial": words.trial(trial),
        "pictures": words.pictures(shown),
        "attempts": _section("Attempts before this one", words.attempts(earlier)),
    }


def plan_review_fields(state: RunState, result: TrainingFinished) -> dict[str, str]:
    plan = state.plans[result.plan]
    stage, set_up, whole = state.stage_of(plan), plan.training, plan.result or result
    choices = f"Skills given to the learner: {_names(set_up.skills)}. " if set_up and set_up.controller is None else ""
    choices += f"Shaping: `{set_up.shaping}`. " if set_up and set_up.shaping else ""
    choices += f"Reason: {set_up.reason}" if set_up and set_up.reason else ""
    return {
        "number": str(result.plan),
        "goal": stage.task.goal,
        "success": stage.task.success,
        "stage": stage_section(state, stage),
        "card": _card(state).text,
        "plan": words.plan(PlanState(plan.number, proposal=plan.proposal, inner=plan.inner)),
        "learning": "\n".join(part for part in (choices, words.learning(plan)) if part),
        "samples": _section("Some evaluation episodes", words.samples(whole)),
    }


def _earlier_plans(state: RunState, number: int) -> str:
    """Those of the same stage before plan `number`."""
    return _section("Earlier plans of this run", words.plans(state.siblings(number)))


def _earlier_skills(state: RunState, earlier: Sequence[Entry]) -> str:
    if not earlier:
        return ""
    version = _card(state).version
    return render("earlier_skills", number=str(len(earlier)), skills="\n\n".join(words.earlier_skill(entry, version) for entry in earlier))


def _interrupted(task: Task) -> str:
    """What the environment's interrupts do to a controller."""
    if not task.environment.interrupts:
        return ""
    return (
        " Nor do the interrupts end it: where one holds, the call it has made of a skill returns, with the present `obs` and `info`, "
        "and the controller goes on and decides anew."
    )


def _remembered(task: Task) -> str:
    if not task.environment.memory:
        return "nothing is remembered between two calls"
    return "between two calls only `memory` is remembered, a dict that all skills share and that is empty when an episode begins"


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
