"""Interpreters of hosts: a path, or the name of a venv that rlgpt makes itself."""

from __future__ import annotations

import os
from pathlib import Path

from rlgpt.envs.errors import HostLost

MADE = {"minedojo": "RLGPT_MINEDOJO"}
"""Names that `environment.host.python` may have beside paths, and the variable that puts the venv elsewhere."""


def folder(name: str) -> Path:
    """Where a venv of ours lies: the variable's value, else under the user's own data."""
    return Path(os.environ.get(MADE[name]) or f"~/.local/share/rlgpt/{name}-venv").expanduser()


def interpreter(python: str) -> str:
    """The path that a host's `python` means. Raises HostLost where a venv of ours was not made yet."""
    if python not in MADE:
        return str(Path(python).expanduser())
    path = folder(python) / "bin" / "python"
    if not path.exists():
        raise HostLost(
            f"environment.host.python is {python!r}, and its venv {path.parent.parent} is not there; make it: rlgpt host {python} --setup"
        )
    return str(path)
