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
SHOWN_BEFORE = 3
"""Accepted skills of earlier plans whose sources are shown."""


def divide_fields(state: RunState) -> dict[str, str]:
    task = state.task
    code = task.mode == "code-only"
    return {
        "goal": task.goal,
        "success": task.success,
        "card": _card(state).text,
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
        "interrupted": _called_again(task),
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
        "card": _card(state).text,
        "procedure": render(procedure, **_strings(limits)),
        "arenas": _arenas(task),
        "advice": render(advice, skill_steps=str(task.loops.skill_steps)),
        "earlier": _earlier_plans(state, number),
        **_which(state, stage, len(state.siblings(number)) + 1),
        "modes": modes,
    }


def solo_fields(state: RunState, number: int) -> dict[str, str]:
    """As `plan_fields`, with what the author of a source has to know."""
    task = state.task
    steps, imports = str(task.loops.skill_steps), _listed(task.environment.imports)
    given = {"max_steps": steps, "imports": imports, "library": "those of sub-actions before it", "remembered": _remembered(task)}
    rules = render("skill_rules", name="<name of the sub-action>", **given)
    return {**plan_fields(state, number), "rules": rules, "accepted_before": _accepted_before(state, number)}


def stage_section(state: RunState, stage: Stage) -> str:
    """Where a stage stands among the others; empty for a task that is not divided."""
    if not stage.number:
        return ""
    lines = []
    for number, sub_task in enumerate(state.sub_tasks, start=1):
        fate = "done" if number < stage.number else "this one" if number == stage.number else "to come"
        lines.append(f"{number}. `{sub_task.name}` ({fate}): {sub_task.goal}")
    begins = "It begins as every episode of this environment does."
    if stage.number > 1:
        begins = f"Its episodes begin where `{state.sub_tasks[stage.number - 2].name}` succeeded"
        begins += f", for example: {example}. (The example" if (example := _begins_at(state, stage)) else " (the example"
        begins += ' under "Observations" is from the beginning of the whole task.)'
    return render(
        "stage",
        number=str(stage.number),
        count=str(len(state.sub_tasks)),
        whole=state.task.goal,
        others="\n".join(lines),
        begins=begins,
        success=stage.task.success,
    )


def _begins_at(state: RunState, stage: Stage) -> str:
    """What is observed where a later stage begins: the end of an episode in which the stage before succeeded."""
    before = next(other for other in state.stages if other.number == stage.number - 1)
    chosen = state.plans[before.best].best_training if before.best is not None else None
    samples = chosen.result.samples if chosen and chosen.result else ()
    return next((sample.last for sample in samples if sample.success), "")


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
        "bar": words.bar(task.loops),
        "test": inner.spec.success,
        "rules": "\n\n".join(part for part in (render("skill_rules", **rules), words.library(_settled(plan))) if part),
        "plan": _section("The plan it belongs to", words.plan(plan, code_only=task.mode == "code-only")),
        "accepted_before": _accepted_before(state, plan.number, inner),
        "earlier_skills": _earlier_skills(state, earlier),
        "attempts": _section("Earlier attempts", words.attempts(inner)),
        "number": str(len(inner.attempts) + 1),
        "attempts_allowed": str(task.loops.attempts),
    }
    if is_controller:
        scored = {"episodes": str(task.evaluation.episodes), "target": f"{stage.target:.0%}"}
        return {**fields, **scored, "interrupted": _interrupted(task)}
    learner = "becomes one choice of a learner, which learns when a call pays"
    use = "can be called by the controller, the routine that plays whole episodes" if task.mode == "code-only" else learner
    used = f"{use}, in any situation of an episode and also several times"
    return {**fields, "max_steps": steps, "interrupted": _called_again(task), "use": used}


def set_up_fields(state: RunState, plan: PlanState) -> dict[str, str]:
    task, card, stage = state.task, _card(state), state.stage_of(plan)
    bounds = "; ".join(f"`{name}` {getattr(task.trainer, name):g} ({low:g} to {high:g})" for name, (low, high) in PPO_BOUNDS.items())
    a_round = task.trainer.rollout * task.trainer.environments
    updates = f"with what is set, {a_round:,} decisions an update, so at most {-(-task.trainer.env_steps // a_round)} updates."
    return {
        "goal": stage.task.goal,
        "success": stage.task.success,
        "stage": stage_section(state, stage),
        "card": card.text,
        "plan": words.plan(plan),
        "sources": words.library(_settled(plan)),
        "env_steps": f"{task.trainer.env_steps:,}",
        "environments": str(task.trainer.environments),
        "episodes": str(task.evaluation.episodes),
        "target": f"{stage.target:.0%}",
        "skills": _names(plan.skills),
        "primitives": _listed(card.actions) or "not named one by one here, so leave the list empty",
        "shaped": f"the scenario adds `{task.shaping}` already. Yours is added to it: " if task.shaping else "",
        "ppo": f"what is set, and in brackets the bounds: {bounds}.",
        "updates": updates,
        "earlier": _earlier_plans(state, plan.number),
    }


def arena_fields(state: RunState, plan: PlanState, inner: Inner) -> dict[str, str]:
    task, card, stage = state.task, _card(state), state.stage_of(plan)
    return {
        "name": inner.spec.name,
        "purpose": inner.spec.purpose,
        "goal": stage.task.goal,
        "stage": stage_section(state, stage),
        "card": card.text,
        "plan": words.plan(plan),
        "env_steps": f"{task.loops.arena_steps:,}",
        "skill_steps": str(task.loops.skill_steps),
        "skills": _names(plan.skills),
        "primitives": _listed(card.actions) or "not named one by one here, so leave the list empty",
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
        "card": _card(state).text,
        "source": words.source(attempt.draft.skill) if attempt.draft else "(no source)",
        "episodes": str(task.loops.trial_episodes),
        "interrupted": "" if is_controller else _called_again(task),
        "bar": words.bar(task.loops),
        "test": inner.spec.success,
        "result": f"It {'PASSED' if trial.success else 'FAILED'} its success test.",
        "trial": words.trial(trial),
        "pictures": words.pictures(shown),
        "attempts": _section("Attempts before this one", words.attempts(earlier)),
        "given_up": best if is_controller else dropped,
    }


def plan_review_fields(state: RunState, result: TrainingFinished) -> dict[str, str]:
    plan = state.plans[result.plan]
    stage, set_up, whole, code = state.stage_of(plan), plan.training, plan.result or result, state.task.mode == "code-only"
    choices = "" if set_up is None or set_up.controller else f"Skills given to the learner: {_names(set_up.skills)}. "
    choices += f"Primitive actions left: {_listed(set_up.primitives)}. " if set_up and set_up.primitives else ""
    choices += f"Shaping: `{set_up.shaping}`. " if set_up and set_up.shaping else ""
    choices += f"Reason: {set_up.reason}" if set_up and set_up.reason and not code else ""
    reached = whole.score is not None and whole.score.rate >= stage.target
    last = plan.ordinal >= state.plan_limit
    return {
        **_which(state, stage, plan.ordinal),
        "again": ", who will not plan this again: it is the last word on it" if reached or last else ", who will plan again",
        "goal": stage.task.goal,
        "success": stage.task.success,
        "stage": stage_section(state, stage),
        "card": _card(state).text,
        "plan": words.plan(PlanState(plan.number, ordinal=plan.ordinal, proposal=plan.proposal, inner=plan.inner), code_only=code),
        "target": f"{stage.target:.0%}",
        "verdict": "It is reached." if reached else "It is NOT reached.",
        "learning": "\n".join(part for part in (choices, words.learning(plan)) if part),
        "uses": words.uses(whole),
        "samples": _section("Some evaluation episodes", words.samples(whole)),
        "entries": f", `{CONTROLLER}` among them" if code else "",
        "learned": "" if code else "; for mode `rl`: whether the learner learned it",
        "look": "at how the controller went about it" if code else "the curve, at how often each choice was made and what it paid",
        "instead": "" if code else ", leave to the learner or turn into code",
    }


def _which(state: RunState, stage: Stage, ordinal: int) -> dict[str, str]:
    """Which plan it is, counted within its stage."""
    return {
        "number": str(ordinal),
        "plans": str(state.plan_limit),
        "of_stage": f" for stage {stage.number}" if stage.number else "",
    }


def _settled(plan: PlanState) -> list[Inner]:
    """The sub-actions that became skills."""
    return [inner for inner in plan.inner.values() if inner.settled and inner.settled.skill]


def _accepted_before(state: RunState, number: int, wanted: Inner | None = None) -> str:
    """Skills that earlier plans of this stage came to, the latest of each name, those like the wanted one first; not what this plan has."""
    here = state.plans[number].inner if number in state.plans else {}
    found: dict[str, Inner] = {}
    for plan in state.siblings(number):
        written = (inner for inner in _settled(plan) if inner.settled and inner.settled.skill and not inner.settled.skill.policy)
        found |= {inner.spec.name: inner for inner in written}
    taken = {name for name, inner in here.items() if inner.settled and inner.settled.skill}
    others = [inner for name, inner in found.items() if name not in taken]
    if wanted is not None:
        others.sort(key=lambda inner: (inner.spec.name != wanted.spec.name, inner.spec.success != wanted.spec.success))
    if not others:
        return ""
    note = "They cannot be called here unless they are accepted in this plan again; take over what is of use."
    return _section("Skills that earlier plans came to", f"{note}\n\n{words.library(others[:SHOWN_BEFORE])}")


def _earlier_plans(state: RunState, number: int) -> str:
    """Those of the same stage before plan `number`."""
    where = "stage" if state.sub_tasks else "run"
    return _section(f"Earlier plans of this {where}", words.plans(state.siblings(number), code_only=state.task.mode == "code-only"))


def _earlier_skills(state: RunState, earlier: Sequence[Entry]) -> str:
    if not earlier:
        return ""
    version = _card(state).version
    return render("earlier_skills", number=str(len(earlier)), skills="\n\n".join(words.earlier_skill(entry, version) for entry in earlier))


def _called_again(task: Task) -> str:
    """What interrupts do to the call of a trial."""
    if not task.environment.interrupts:
        return ""
    memory = " Only `obs`, `info` and `memory` tell it then that it is not the first." if task.environment.memory else ""
    return (
        " A call that an interrupt ends is made again at once, as whoever calls the skill later would do it, until the test has held or "
        f"{task.loops.skill_steps} steps are taken in all.{memory}"
    )


def _arenas(task: Task) -> str:
    """What a planner is told of arenas; empty where there are none."""
    if task.mode != "rl-gpt" or not (task.arenas or task.loops.arenas):
        return ""
    made = "; ".join(f"`{name}`: {arena.purpose.strip().rstrip('.')}" for name, arena in task.arenas.items())
    parts = [f"These arenas are there; a sub-action of that name is learned in its own: {made}."] * bool(made)
    parts += ["The programmer may set one up for any other."] * (task.loops.arenas and bool(made))
    return render("plan_arenas", which=" ".join(parts))


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
