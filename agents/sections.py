"""Parts of questions that several templates share: where a stage stands, what came before, what interrupts and arenas do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rlgpt.agents import words
from rlgpt.agents.library import Entry
from rlgpt.agents.loops import RunState
from rlgpt.agents.progress import Inner, PlanState, Stage
from rlgpt.agents.prompts import render
from rlgpt.bus.parts import Card, Skill
from rlgpt.bus.task import Task

NOTHING = "none"
SHOWN_BEFORE = 3
"""Accepted skills of earlier plans whose sources are shown."""


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
        begins += f", for example: {example}. (The example" if (example := begins_at(state, stage)) else " (the example"
        begins += ' under "Observations" is from the beginning of the whole task.)'
        if not state.task.environment.deterministic:
            begins += " Nothing can be repeated here, so that the policies of the stages before are played anew each time."
    return render(
        "stage",
        number=str(stage.number),
        count=str(len(state.sub_tasks)),
        whole=state.task.goal,
        others="\n".join(lines),
        begins=begins,
        success=stage.task.success,
    )


def begins_at(state: RunState, stage: Stage) -> str:
    """What is observed where a later stage begins: the end of an episode in which the stage before succeeded."""
    before = next(other for other in state.stages if other.number == stage.number - 1)
    chosen = state.plans[before.best].best_training if before.best is not None else None
    samples = chosen.result.samples if chosen and chosen.result else ()
    return next((sample.last for sample in samples if sample.success), "")


def which(state: RunState, stage: Stage, ordinal: int) -> dict[str, str]:
    """Which plan it is, counted within its stage."""
    return {
        "number": str(ordinal),
        "plans": str(state.plan_limit),
        "of_stage": f" for stage {stage.number}" if stage.number else "",
    }


def settled(plan: PlanState) -> list[Inner]:
    """The sub-actions that became skills."""
    return [inner for inner in plan.inner.values() if inner.settled and inner.settled.skill]


def accepted_before(state: RunState, number: int, wanted: Inner | None = None) -> str:
    """Skills that earlier plans of this stage came to, the latest of each name, those like the wanted one first; not what this plan has."""
    here = state.plans[number].inner if number in state.plans else {}
    found: dict[str, Inner] = {}
    for plan in state.siblings(number):
        written = (inner for inner in settled(plan) if inner.settled and inner.settled.skill and not inner.settled.skill.policy)
        found |= {inner.spec.name: inner for inner in written}
    taken = {name for name, inner in here.items() if inner.settled and inner.settled.skill}
    others = [inner for name, inner in found.items() if name not in taken]
    if wanted is not None:
        others.sort(key=lambda inner: (inner.spec.name != wanted.spec.name, inner.spec.success != wanted.spec.success))
    if not others:
        return ""
    note = "They cannot be called here unless they are accepted in this plan again; take over what is of use."
    return section("Skills that earlier plans came to", f"{note}\n\n{words.library(others[:SHOWN_BEFORE])}")


def earlier_plans(state: RunState, number: int) -> str:
    """Those of the same stage before plan `number`."""
    where = "stage" if state.sub_tasks else "run"
    return section(f"Earlier plans of this {where}", words.plans(state.siblings(number), code_only=state.task.mode == "code-only"))


def earlier_skills(state: RunState, earlier: Sequence[Entry]) -> str:
    if not earlier:
        return ""
    version = card_of(state).version
    return render("earlier_skills", number=str(len(earlier)), skills="\n\n".join(words.earlier_skill(entry, version) for entry in earlier))


def called_again(task: Task) -> str:
    """What interrupts do to the call of a trial."""
    if not task.environment.interrupts:
        return ""
    memory = " Only `obs`, `info` and `memory` tell it then that it is not the first." if task.environment.memory else ""
    return (
        " A call that an interrupt ends is made again at once, as whoever calls the skill later would do it, until the test has held or "
        f"{task.loops.skill_steps} steps are taken in all.{memory}"
    )


def arenas(task: Task) -> str:
    """What a planner is told of arenas; empty where there are none."""
    if task.mode != "rl-gpt" or not (task.arenas or task.loops.arenas):
        return ""
    made = "; ".join(f"`{name}`: {arena.purpose.strip().rstrip('.')}" for name, arena in task.arenas.items())
    parts = [f"These arenas are there; a sub-action of that name is learned in its own: {made}."] * bool(made)
    parts += ["The programmer may set one up for any other."] * (task.loops.arenas and bool(made))
    return render("plan_arenas", which=" ".join(parts))


def interrupted(task: Task) -> str:
    """What the environment's interrupts do to a controller."""
    if not task.environment.interrupts:
        return ""
    return (
        " Nor do the interrupts end it: where one holds, the call it has made of a skill returns, with the present `obs` and `info`, "
        "and the controller goes on and decides anew."
    )


def remembered(task: Task) -> str:
    if not task.environment.memory:
        return "nothing is remembered between two calls"
    return "between two calls only `memory` is remembered, a dict that all skills share and that is empty when an episode begins"


def card_of(state: RunState) -> Card:
    if state.submitted is None:
        raise ValueError("no task yet, so there is no card")
    return state.submitted.card


def section(title: str, text: str) -> str:
    return f"# {title}\n\n{text}" if text.strip() else ""


def names(skills: Iterable[Skill]) -> str:
    return listed(skill.name for skill in skills) or NOTHING


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def strings(values: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
