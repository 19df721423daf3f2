"""Checkpoints of a learning: whole files or none, and nothing in them that can run code.

A file is a magic line, the SHA-256 of the rest, and a `torch.save` of tensors and plain values, which is read with `weights_only=True`.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import structlog
import torch

from rlgpt.envs.files import write_whole

log = structlog.get_logger()

MAGIC = b"rlgpt-checkpoint-1\n"
KEEP = 2
"""Newest checkpoints kept in a folder: one to continue from, one in case that is damaged."""


class CheckpointInvalid(Exception):
    """A file that is no whole checkpoint."""


def save(folder: Path, env_steps: int, state: dict[str, Any]) -> Path:
    """Write the checkpoint at `env_steps` environment steps and drop all but the newest `KEEP`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    path = folder / f"checkpoint-{env_steps:012d}.pt"
    write_whole(path, MAGIC + hashlib.sha256(payload).digest() + payload)
    for old in sorted(folder.glob("checkpoint-*.pt"))[:-KEEP]:
        old.unlink()
    return path


def load(path: Path) -> dict[str, Any]:
    """Tensors on the CPU and plain values. Raises CheckpointInvalid."""
    data = path.read_bytes()
    digest, payload = data[len(MAGIC) : len(MAGIC) + 32], data[len(MAGIC) + 32 :]
    if not data.startswith(MAGIC) or hashlib.sha256(payload).digest() != digest:
        raise CheckpointInvalid(f"{path}: {len(data)} bytes that are no whole checkpoint (cut short, or changed)")
    state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise CheckpointInvalid(f"{path}: holds a {type(state).__name__}, not a learner's state")
    return state


def newest(folder: Path, request: str) -> dict[str, Any] | None:
    """State of the newest valid checkpoint of this `request` (its digest), or None. Damaged ones and strangers are named in the log."""
    for path in sorted(folder.glob("checkpoint-*.pt"), reverse=True):
        try:
            state = load(path)
        except (CheckpointInvalid, OSError) as error:
            log.warning("checkpoint_damaged", path=str(path), why=str(error))
            continue
        if state.get("request") != request:
            log.warning("checkpoint_of_other_request", path=str(path), why="settings, skills or seed differ: learning begins anew")
            continue
        return state
    return None
