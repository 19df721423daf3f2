"""What lies where in the memory a worker shares with its parent: both sides compute it from the same few numbers.

The worker may write anything anywhere in it at any time. The parent therefore copies before it validates (`envs/batch.py`), and never
reads back what it wrote itself.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.glimpse import GLIMPSE_BYTES
from rlgpt.envs.space import SpaceData, leaves

FAULT_BYTES = 2048
PRIMITIVE, CALL, RESET = 0, 1, 2

# of an answer, in one go: reward, return, duration, size of the fault's text, terminated, truncated, success
TOLD = struct.Struct("=ddii3B")

# header, int64: what the parent asked last, what the worker answered last, and what it is busy with (-1: nothing);
# how often it began or ended to wait for a host (odd: it waits), and to play the stages before an episode (odd: it plays them);
# environment steps these took in all
REQUEST, ANSWER, BUSY_SLOT, BUSY_SKILL, BUSY_STEPS, HOST_WAITS, LEADS, LEAD_STEPS = range(8)


@dataclass(frozen=True)
class Shape:
    """What a worker holds: its observations and actions, `slots` environments, `skills` skills, `log` actions logged per decision."""

    observation: SpaceData
    action: SpaceData
    slots: int
    skills: int
    log: int


@dataclass(frozen=True)
class Views:
    """Arrays over the shared memory; n is the number of slots, S of skills.

    header [8]; asked of each slot: `asked` (see `Asked`) and action [n, ...]
    answered: obs and final_obs (lists of leaves, [n, ...]), fault [n, FAULT_BYTES] UTF-8, log [n, log, ...] actions of this decision, and
    answers [n, answer_bytes(S)], where everything small lies together, so that one copy takes it along (see `Answers`);
    glimpse [GLIMPSE_BYTES] what slot 0 looked like lately
    """

    header: npt.NDArray[np.int64]
    asked: Asked
    action: npt.NDArray[Any]
    obs: list[npt.NDArray[Any]]
    final_obs: list[npt.NDArray[Any]]
    answers: npt.NDArray[np.uint8]
    fault: npt.NDArray[np.uint8]
    log: npt.NDArray[Any]
    glimpse: npt.NDArray[np.uint8]


class Asked:
    """What is asked of n environments, in `place`: kind (PRIMITIVE, CALL, RESET), skill, and the seed of the next episode."""

    def __init__(self, place: memoryview, n: int) -> None:
        # In one go: a numpy array for each of the three would cost several times as long.
        self._place, self._n, self._all = place, n, _asked(n)

    def write(self, kinds: Sequence[int], skills: Sequence[int], seeds: Sequence[int]) -> None:
        self._all.pack_into(self._place, 0, *kinds, *skills, *seeds)

    def read(self) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        n, told = self._n, self._all.unpack_from(self._place)
        return told[:n], told[n : 2 * n], told[2 * n :]


def _asked(n: int) -> struct.Struct:
    return struct.Struct(f"={2 * n}i{n}q")


class Answers:
    """The parts of `rows` [n, answer_bytes(S)], as arrays over it; a row begins with what TOLD packs.

    numbers [n, 2] (reward of the decision, return of the episode so far), duration [n], fault_size [n],
    flags [n, 3] (terminated, truncated, success), runnable [n, S]; bits [n, 3 + S] are flags and runnable together
    """

    def __init__(self, rows: npt.NDArray[np.uint8], skills: int) -> None:
        self.numbers: npt.NDArray[np.float64] = rows[:, :16].view(np.float64)
        self.duration: npt.NDArray[np.int32] = rows[:, 16:20].view(np.int32)[:, 0]
        self.fault_size: npt.NDArray[np.int32] = rows[:, 20:24].view(np.int32)[:, 0]
        self.bits = rows[:, 24 : 27 + skills]
        self.flags, self.runnable = self.bits[:, :3], self.bits[:, 3:]


def answer_bytes(skills: int) -> int:
    """Bytes of one environment's row of `Views.answers`."""
    return -(-(TOLD.size + skills) // 8) * 8


def size_of(shape: Shape) -> int:
    """Bytes the shared memory needs."""
    return _place(shape)[1]


def views(shape: Shape, memory: Any) -> Views:
    """Arrays over `memory`, a writable buffer of `size_of(shape)` bytes."""
    places, _ = _place(shape)
    arrays: dict[str, Any] = {name: np.ndarray(extent, dtype, memory, offset) for name, (dtype, extent, offset) in places.items()}
    count = len(leaves(shape.observation))
    obs, final = ([arrays.pop(f"{kind}{i}") for i in range(count)] for kind in ("obs", "final"))
    asked = Asked(arrays.pop("asked").data, shape.slots)
    return Views(obs=obs, final_obs=final, asked=asked, **arrays)


def _place(shape: Shape) -> tuple[dict[str, tuple[np.dtype[Any], tuple[int, ...], int]], int]:
    n, observed, (acted,) = shape.slots, leaves(shape.observation), leaves(shape.action)
    fields: list[tuple[str, Any, tuple[int, ...]]] = [
        ("header", np.int64, (8,)),
        ("asked", np.uint8, (_asked(n).size,)),
        ("action", acted.dtype, (n, *acted.shape)),
        *((f"obs{i}", leaf.dtype, (n, *leaf.shape)) for i, leaf in enumerate(observed)),
        *((f"final{i}", leaf.dtype, (n, *leaf.shape)) for i, leaf in enumerate(observed)),
        ("answers", np.uint8, (n, answer_bytes(shape.skills))),
        ("fault", np.uint8, (n, FAULT_BYTES)),
        ("log", acted.dtype, (n, shape.log, *acted.shape)),
        ("glimpse", np.uint8, (GLIMPSE_BYTES,)),
    ]
    places, offset = {}, 0
    for name, kind, extent in fields:
        dtype = np.dtype(kind)
        places[name] = (dtype, extent, offset)
        offset += -(-dtype.itemsize * math.prod(extent) // 64) * 64  # each field on cache lines of its own
    return places, offset
