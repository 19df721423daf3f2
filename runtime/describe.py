"""`python -m rlgpt.runtime.describe`: a task as JSON on standard input; its environment's card, or an error, as JSON on standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rlgpt.bus.task import Task
from rlgpt.envs.card import make_card
from rlgpt.envs.errors import EnvironmentUnavailable, EnvironmentUnsupported, SandboxUnavailable, SkillInvalid, WorkerDied
from rlgpt.envs.pool import describe


def main() -> int:
    sys.path.append(str(Path.cwd()))  # as in runtime/process.py
    task = Task.model_validate_json(sys.stdin.read())
    try:
        description = describe(task.environment)
        card = make_card(task, description)
    except (EnvironmentUnavailable, EnvironmentUnsupported, SandboxUnavailable, SkillInvalid, WorkerDied) as error:
        json.dump({"error": str(error)}, sys.stdout)
        return 1
    json.dump({"card": card.model_dump(mode="json"), "warnings": list(description.warnings)}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
