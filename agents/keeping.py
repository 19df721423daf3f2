"""What a run leaves in the skill library: its accepted skills, how those taken from there did, and policies that reached the target."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator

import structlog

from rlgpt.agents.library import About, Library, LibraryError, Trial, bare_environment, card_of, code_hash, skill_id
from rlgpt.agents.loops import RunState
from rlgpt.agents.progress import Attempt, PlanState
from rlgpt.agents.requests import CONTROLLER, Settle, question_prefix
from rlgpt.bus.messages import TrainingFinished
from rlgpt.bus.parts import Artifact, Skill
from rlgpt.bus.task import SubTask

log = structlog.get_logger()


def keep_skill(state: RunState, settle: Settle, role: str, date: str) -> None:
    """Keep what `settle` accepts, and note the trials of what came from the library. One that cannot be written does not stop the run."""
    plan, library = state.plans[settle.plan], Library.of(state.task)
    for attempt in plan.inner[settle.name].attempts:
        if attempt.draft is None or attempt.trial is None:
            continue
        skill, origin = attempt.draft.skill, attempt.draft.origin
        about = _about_skill(state, plan, attempt, skill, _trial(state, plan, attempt, role, date))
        try:
            if origin:
                library.keep(origin, library.find(origin).about.model_copy(update={"trials": about.trials}), b"")
            elif skill == settle.skill and attempt.trial.success:
                entry = library.keep(skill_id(skill.name, skill.source, about.success, about.environment), about, skill.source.encode())
                log.info("skill_kept", skill=skill.name, library=entry.id, folder=str(library.folder))
        except LibraryError as error:
            log.error("library_not_written", skill=skill.name, why=str(error))


def _about_skill(state: RunState, plan: PlanState, attempt: Attempt, skill: Skill, trial: Trial) -> About:
    if state.submitted is None:
        raise ValueError("no task yet, so there is nothing to keep")
    stage, spec = state.stage_of(plan), plan.inner[skill.name].spec
    others = {other.name: other.source for other in (attempt.draft.library if attempt.draft else ()) if other.name != skill.name}
    return About(
        name=skill.name,
        kind="skill",
        purpose=spec.purpose if skill.name != CONTROLLER else f"Play whole episodes of: {stage.task.goal}",
        goal=stage.task.goal,
        success=spec.success,
        environment=bare_environment(state.task.environment),
        card=card_of(state.submitted.card),
        max_steps=skill.max_steps,
        needs={name: code_hash(others[name]) for name in sorted(_names(skill.source) & others.keys())},
        trials=(trial,),
    )


def _trial(state: RunState, plan: PlanState, attempt: Attempt, role: str, date: str) -> Trial:
    draft, tried = attempt.draft, attempt.trial
    if draft is None or tried is None or state.submitted is None:
        raise ValueError(f"attempt {attempt.number} was not tried")
    keys = (f"plan-{plan.number}/{role}/{draft.skill.name}/attempt-{attempt.number}", f"plan-{plan.number}/{role}")
    asked = (state.spent.questions.get(f"{question_prefix(state.task)}/{key}") for key in keys)
    return Trial(
        run=state.submitted.run,
        scenario=state.task.name,
        plan=plan.number,
        attempt=attempt.number,
        successes=sum(episode.success for episode in tried.episodes),
        episodes=len(draft.seeds),
        model=next((question.model for question in asked if question), ""),
        date=date,
    )


def keep_policies(state: RunState, date: str) -> None:
    """Copies of the policies of a run that reached its target: one, or one a stage."""
    if state.submitted is None:
        return
    library = Library.of(state.task)
    for sub_task, result in _policies(state):
        if result.policy is None or result.score is None:
            continue
        trial = Trial(
            run=state.submitted.run,
            scenario=state.task.name,
            plan=result.plan,
            attempt=0,
            successes=result.score.successes,
            episodes=result.score.episodes,
            model="PPO",
            date=date,
        )
        about = About(
            name=sub_task.name,
            kind="policy",
            purpose=sub_task.goal,
            goal=state.task.goal,
            success=sub_task.success,
            environment=bare_environment(state.task.environment),
            card=card_of(state.submitted.card),
            trials=(trial,),
        )
        try:
            entry = library.keep(f"{sub_task.name}-{result.policy.sha256[:8]}", about, _content(result.policy))
            log.info("policy_kept", policy=sub_task.name, library=entry.id, folder=str(library.folder))
        except LibraryError as error:
            log.error("library_not_written", policy=sub_task.name, why=str(error))


def _policies(state: RunState) -> Iterator[tuple[SubTask, TrainingFinished]]:
    for stage in state.stages:
        training = state.plans[stage.best].best_training if stage.best is not None else None
        if training and training.result:
            yield stage.task, training.result


def _content(policy: Artifact) -> bytes:
    import fsspec

    try:
        with fsspec.open(policy.uri, "rb") as file:
            content: bytes = file.read()
    except (OSError, ValueError, ImportError) as error:
        raise LibraryError(f"the policy {policy.uri} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != policy.sha256:
        raise LibraryError(f"the policy {policy.uri} is not the file that was evaluated: its sha256 is another than {policy.sha256}")
    return content


def _names(source: str) -> set[str]:
    try:
        return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
