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
from rlgpt.envs.options import ActionsUnsupported, SkillActions
from rlgpt.envs.pool import describe, replay
from rlgpt.envs.space import restore


def _try_out(task: Task, actions: spaces.Space[Any]) -> None:
    """The names of the actions fit, and the success test can be evaluated after a step. Raises SkillInvalid."""
    SkillActions.of(actions, (), (), task.environment.actions)
    actions.seed(0)
    try:
        replay(task.environment, task.success, 0, np.asarray([actions.sample()]))
    except WorkerDied as error:
        raise SkillInvalid(f"success: {task.success!r} cannot be evaluated after a step: {error}") from None
    except SkillInvalid as error:
        raise SkillInvalid(f"success: {task.success!r}: {error}") from None


def main() -> int:
    sys.path.append(str(Path.cwd()))  # as in runtime/process.py
    task = Task.model_validate_json(sys.stdin.read())
    try:
        description = describe(task.environment)
        card = make_card(task, description)
        _try_out(task, restore(description.action_space))
    except (EnvironmentUnavailable, EnvironmentUnsupported, SandboxUnavailable, SkillInvalid, WorkerDied, ActionsUnsupported) as error:
        json.dump({"error": str(error)}, sys.stdout)
        return 1
    json.dump({"card": card.model_dump(mode="json"), "warnings": list(description.warnings)}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
