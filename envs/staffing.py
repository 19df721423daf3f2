"""How many workers a pool has, how many environments each holds, and whether they look or sleep while they wait.

The costs below were measured on two cores of a virtual machine (Linux 6.18); only their order of magnitude matters.
"""

from __future__ import annotations

from dataclasses import dataclass

WAKE_S = 60e-6  # from a worker's bell to the first instruction it executes, and back, when both sleep
LOOK_S = 8e-6  # the same when both look
SHARE_S = 25e-6  # what each further worker costs the parent in a batch


@dataclass(frozen=True)
class Staffing:
    """How a pool is staffed.

    workers  processes
    each     environments of one, the last may hold fewer
    look     so many of them, the first, look while they wait, and are looked for (`envs/patience.py`)
    """

    workers: int
    each: int
    look: int


def staff(environments: int, decision_s: float, cores: int, workers: int | None = None) -> Staffing:
    """The quickest staffing for a batch of one decision in each environment.

    decision_s  seconds one decision takes in one environment
    cores       that this process may use
    workers     as many are wanted; None: as many as pay, at most one per core
    """
    if workers is not None:
        return _staffing(environments, min(workers, environments), cores)
    choices = [_staffing(environments, count, cores) for count in range(1, min(cores, environments) + 1)]
    return min(choices, key=lambda choice: (batch_s(choice, decision_s), choice.workers))


def batch_s(staffing: Staffing, decision_s: float) -> float:
    """Seconds a batch takes, roughly; the learner's own time is not in it."""
    waiting = LOOK_S if staffing.look == staffing.workers else WAKE_S
    return waiting + SHARE_S * (staffing.workers - 1) + staffing.each * decision_s


def _staffing(environments: int, count: int, cores: int) -> Staffing:
    each = -(-environments // count)
    workers = -(-environments // each)
    # The parent needs a core too: a process that looks while another one could work would only hinder it. It is woken for the last
    # worker's answer, whose core it can have then, and looks for those of the others.
    return Staffing(workers, each, min(workers, cores - 1))
