"""`rlgpt attach`: one more process for a run that is running, of a built-in role or of a class in the user's own file."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from rlgpt.bus.errors import Explained
from rlgpt.runtime.process import ROLES, run_process
from rlgpt.runtime.run import RunFolder, RunFolderError

SHARED = ("rollout", "trainer")
"""Built-in roles of which a run can use more than one: they share a queue of work."""


GUESTS = ("critic",)
"""What a plain AutoGen agent can be."""


class CannotAttach(Explained):
    """The target or the name will not do; the message says what would."""


def attach(run: RunFolder, target: str, name: str | None, role: str | None = None) -> int:
    """Be an agent of `run` until Ctrl-C or until the bus is gone; returns the exit status. Raises CannotAttach or RunFolderError.

    role  what the plain AutoGen agent that `target` names is to be; None: `target` is a built-in role, or a class that knows its own
    """
    if role is not None and (role not in GUESTS or target in ROLES):
        raise CannotAttach(f"--as {role}: a plain AutoGen agent, named as file.py:agent, can be attached as {' or '.join(GUESTS)}")
    if target in ROLES and target not in SHARED:
        raise CannotAttach(
            f"a run has one {target}; attach {' or '.join(SHARED)} for more hands, or file.py:Class for an agent of your own"
        )
    if target not in ROLES and ":" not in target:
        raise CannotAttach(f"{target!r} is no agent: expected {', '.join(SHARED)}, or file.py:Class")
    if run.scenario.is_file() and not run.running:
        raise RunFolderError(f"{run.name} is not running; start it again with: rlgpt resume {run.name}")
    chosen = name or (_next_name(run, target) if target in ROLES else _snake(target.rpartition(":")[2]))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", chosen):
        raise CannotAttach(f"--name {chosen!r}: expected letters, digits, _ and -, beginning with a letter, at most 64")
    # The console script's own folder stands first on the path of an installed program; the user's folder belongs there instead.
    sys.path[0] = str(Path.cwd())
    guest, role = role is not None, target if target in ROLES else chosen
    agent = None if target in ROLES else target
    return run_process(role, run, chosen, agent=agent, plain=guest, attached=True, echo=sys.stderr)


def _next_name(run: RunFolder, role: str) -> str:
    """`trainer-2` beside the launcher's `trainer-1`. Making the log file takes the name, also against another attach at this moment."""
    number = 1
    while True:
        path = run.logs / f"{role}-{number}.jsonl"
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            number += 1
            continue
        return f"{role}-{number}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
