"""What workers answered to a batch of decisions: copied out of the shared memory first, then checked. A lie raises `Lied`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.handle import plain
from rlgpt.envs.layout import CALL, FAULT_BYTES, RESET, Answers, Views, answer_bytes
from rlgpt.envs.space import Leaf

FAR = 1e30  # farther than any reward: float32 ends a little beyond


class Lied(Exception):
    """A worker answered what no honest one answers: not finite, out of range, contradictory. The text says what."""


@dataclass(slots=True)
class Batch:
    """What workers answered, copied and checked; n environments, fields as in `transitions.Transitions`.

    actions  per environment the primitive actions of the decision, if they are logged
    """

    obs: list[npt.NDArray[Any]]
    final_obs: list[npt.NDArray[Any]]
    reward: npt.NDArray[np.float32]
    duration: npt.NDArray[np.int32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    success: npt.NDArray[np.bool_]
    episode_return: npt.NDArray[np.float64]
    runnable: npt.NDArray[np.bool_]
    faults: list[str]
    actions: list[npt.NDArray[Any]]


class BatchReader:
    """Copies and checks the answers of workers that hold `sizes` environments and `skills` skills, all of them at once.

    Numpy costs the same for a few numbers as for thousands, so that worker by worker and field by field would take several times as
    long. Who of them lied is found out by reading each alone.
    """

    def __init__(self, sizes: Sequence[int], skills: int, observed: Sequence[Leaf], acted: Leaf) -> None:
        self._count, self._observed, self._acted = sum(sizes), observed, acted
        starts = np.cumsum([0, *sizes]).tolist()
        self._rows = [slice(first, end) for first, end in itertools.pairwise(starts)]
        # Ours, out of the workers' reach: written here, then only read.
        self._copy = np.zeros((self._count, answer_bytes(skills)), np.uint8)
        self._answers, self._bits = Answers(self._copy, skills), (self._count, 3 + skills)
        self._extents = [(self._count, *leaf.shape) for leaf in observed]

    def read(self, views: Sequence[Views], kinds: Sequence[int], longest: Sequence[int]) -> Batch:
        """The answers of these workers.

        kinds    what was asked of each environment: PRIMITIVE, CALL or RESET
        longest  the most environment steps each decision may have taken (0 for RESET)
        Raises Lied.
        """
        for rows, view in zip(self._rows, views, strict=True):
            self._copy[rows] = view.answers
        answers = self._answers
        bits = self._truths()
        terminated, truncated = bits[:, 0], bits[:, 1]
        done = terminated | truncated
        numbers = answers.numbers.copy()
        if not _all(np.abs(numbers) < FAR):  # false for NaN too
            raise Lied("a reward or return is not finite")
        duration = answers.duration.copy()
        durations = duration.tolist()
        if durations != longest:
            _durations(durations, kinds, longest)
        obs = self._observations(views)
        final = self._final(views, obs, done) if _any(done) else obs
        faults = self._faults(views)
        if faults or RESET in kinds:
            _contradictions(kinds, done, faults)
        return Batch(
            obs,
            final,
            numbers[:, 0].astype(np.float32),
            duration,
            terminated,
            truncated,
            bits[:, 2],
            numbers[:, 1],
            bits[:, 3:],
            faults or [""] * self._count,
            self._actions(views, durations) if views[0].log.shape[1] else [],
        )

    def _truths(self) -> npt.NDArray[np.bool_]:
        """The answers' bits, of which every byte is known to be 0 or 1."""
        bits = bytearray(self._answers.bits.tobytes())
        if bits.strip(b"\0\1"):
            name, wrong = next((name, bits) for name in ("flags", "runnable") if (bits := getattr(self._answers, name)).max(initial=0) > 1)
            raise Lied(f"{name} holds {int(wrong.max())}, which is neither 0 nor 1")
        return np.frombuffer(bits, np.bool_).reshape(self._bits)

    def _observations(self, views: Sequence[Views]) -> list[npt.NDArray[Any]]:
        copies = []
        for i, (leaf, extent) in enumerate(zip(self._observed, self._extents, strict=True)):
            copy = np.empty(extent, leaf.dtype)
            for rows, view in zip(self._rows, views, strict=True):
                copy[rows] = view.obs[i]
            _check_leaf("obs", copy, leaf)
            copies.append(copy)
        return copies

    def _final(self, views: Sequence[Views], obs: Sequence[npt.NDArray[Any]], done: npt.NDArray[np.bool_]) -> list[npt.NDArray[Any]]:
        """The last observations where episodes ended, `obs` elsewhere."""
        final = [now.copy() for now in obs]
        for i, leaf in enumerate(self._observed):
            for rows, view in zip(self._rows, views, strict=True):
                mine = done[rows]
                final[i][rows][mine] = view.final_obs[i][mine]
            _check_leaf("final_obs", final[i][done], leaf)
        return final

    def _faults(self, views: Sequence[Views]) -> list[str]:
        """Per environment why it failed, or ""; [] if none did."""
        sizes = self._answers.fault_size
        if not sizes.tobytes().strip(b"\0"):
            return []
        if (sizes < 0).any() or (sizes > FAULT_BYTES).any():
            raise Lied("a fault's text is longer than its place")
        texts = []
        for rows, view in zip(self._rows, views, strict=True):
            for slot, size in enumerate(sizes[rows].tolist()):
                texts.append(plain(view.fault[slot, :size].tobytes().decode("utf-8", "replace"), FAULT_BYTES))
        return texts

    def _actions(self, views: Sequence[Views], durations: Sequence[int]) -> list[npt.NDArray[Any]]:
        actions = []
        for rows, view in zip(self._rows, views, strict=True):
            for slot, steps in enumerate(durations[rows]):
                copy = view.log[slot, :steps].copy()
                _check_leaf("action", copy, self._acted)
                actions.append(copy)
        return actions


def _all(truths: npt.NDArray[np.bool_]) -> bool:
    """`truths.all()`, in a third of the time for the few there are."""
    return b"\0" not in truths.tobytes()


def _any(truths: npt.NDArray[np.bool_]) -> bool:
    """`truths.any()`, likewise."""
    return b"\1" in truths.tobytes()


def _durations(durations: Sequence[int], kinds: Sequence[int], longest: Sequence[int]) -> None:
    for slot, (steps, kind, most) in enumerate(zip(durations, kinds, longest, strict=True)):
        least = 0 if kind == RESET else 1
        if not least <= steps <= most:
            what = "call" if kind == CALL else "reset" if kind == RESET else "action"
            raise Lied(f"environment {slot} says its {what} took {steps} steps, where {least} to {most} are possible")


def _contradictions(kinds: Sequence[int], done: npt.NDArray[np.bool_], faults: Sequence[str]) -> None:
    for slot, (kind, over, fault) in enumerate(zip(kinds, done.tolist(), faults or [""] * len(kinds), strict=True)):
        if kind == RESET and over:
            raise Lied(f"environment {slot} was over right after its reset")
        if fault and not over:
            raise Lied(f"environment {slot} failed, yet its episode goes on")


def _check_leaf(name: str, copy: npt.NDArray[Any], leaf: Leaf) -> None:
    if leaf.dtype.kind == "f":
        if not _all(np.isfinite(copy)):
            raise Lied(f"{name} is not finite")
    elif leaf.low is not None and ((copy < leaf.low).any() or (copy > leaf.high).any()):
        raise Lied(f"{name}{list(leaf.path) or ''} holds a value outside {leaf.low} to {leaf.high}")


def join(batches: Sequence[Batch]) -> Batch:
    """One batch of the environments of several, in order."""
    if len(batches) == 1:
        return batches[0]
    count = range(len(batches[0].obs))
    arrays = {
        name: np.concatenate([getattr(batch, name) for batch in batches])
        for name in ("reward", "duration", "terminated", "truncated", "success", "episode_return", "runnable")
    }
    return Batch(
        obs=[np.concatenate([batch.obs[i] for batch in batches]) for i in count],
        final_obs=[np.concatenate([batch.final_obs[i] for batch in batches]) for i in count],
        faults=[fault for batch in batches for fault in batch.faults],
        actions=[actions for batch in batches for actions in batch.actions],
        **arrays,
    )
