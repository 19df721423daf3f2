"""What a worker may take, and how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of workers.

    memory_mb  megabytes a worker may allocate beyond what its environment needs
    start_s    seconds until an environment must have been imported, made and reset
    unsafe     run model-written code unlocked where it cannot be locked in; never without being asked for
    """

    memory_mb: int = 512
    start_s: float = 300.0
    unsafe: bool = False
