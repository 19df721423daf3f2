"""`python -m rlgpt.runtime.describe`: a task as JSON on standard input; its environment's card, or an error, as JSON on standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from rlgpt.bus.task import Task
from rlgpt.envs.card import make_card
from rlgpt.envs.errors import EnvironmentUnavailable, EnvironmentUnsupported, SandboxUnavailable, SkillInvalid, WorkerDied
from rlgpt.envs.expression import NAMES, Expression
from rlgpt.envs.learned import TOLD
from rlgpt.envs.options import ActionsUnsupported, SkillActions
from rlgpt.envs.pool import Replayer, describe
from rlgpt.envs.space import restore

TRIED_SEEDS, TRIED_STEPS = (123_456, 123_457, 123_458), 60


def _try_out(task: Task, actions: spaces.Space[Any]) -> None:
    """The names of the actions fit, and the success test can be evaluated after a step. Raises SkillInvalid."""
    SkillActions.of(actions, (), (), task.environment.actions)
    actions.seed(0)
    sampled = np.asarray([actions.sample() for _ in range(TRIED_STEPS)])
    try:
        with Replayer(task.environment, task.success) as worker:
            for seed in TRIED_SEEDS:  # others than those that were played before the lock
                fault = worker.fault(seed, sampled)
                if fault.startswith("the success expression"):
                    raise SkillInvalid(f"success: {task.success!r} cannot be evaluated after a step: {fault}")
                if fault:
                    raise WorkerDied(fault)
    except WorkerDied as error:
        raise SkillInvalid(f"environment {task.environment.id!r} plays, but not behind the lock: {error}") from None
    except SkillInvalid as error:
        if str(error).startswith("success: "):
            raise
        raise SkillInvalid(f"success: {task.success!r}: {error}") from None


def _read_expressions(task: Task) -> None:
    """Those that are evaluated only when something is learned can at least be read. Raises SkillInvalid with the setting's name."""
    texts = {"shaping": task.shaping}
    for name, arena in task.arenas.items():
        texts |= {f"arenas.{name}.{field}": getattr(arena, field) for field in ("where", "success", "shaping", "can_run")}
    for place, text in texts.items():
        if text:
            found = Expression(text, place)
            known = {"success": TOLD, "can_run": ("obs", "info")}.get(place.rpartition(".")[2], NAMES) if "." in place else NAMES
            if unknown := sorted(found.names - set(known)):
                raise SkillInvalid(
                    f"{place}: {text!r} uses {', '.join(unknown)}, which a call of the skill does not know: {', '.join(known)}"
                )


def main() -> int:
    sys.path.append(str(Path.cwd()))  # as in runtime/process.py
    task = Task.model_validate_json(sys.stdin.read())
    try:
        description = describe(task.environment)
        card = make_card(task, description)
        _read_expressions(task)
        _try_out(task, restore(description.action_space))
    except (EnvironmentUnavailable, EnvironmentUnsupported, SandboxUnavailable, SkillInvalid, WorkerDied, ActionsUnsupported) as error:
        json.dump({"error": str(error)}, sys.stdout)
        return 1
    json.dump({"card": card.model_dump(mode="json"), "warnings": list(description.warnings)}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
