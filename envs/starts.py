"""Start states: saved states in which episodes begin, instead of at a reset. Read by the zygote, before any worker is locked in.

The file is one msgpack map {"version": 1, "states": [...]}; a state is a map of
    seed      int, what the environment is reset with
    snapshot  bytes, optional: given to `env.unwrapped.restore(snapshot) -> (obs, info)` after the reset
    actions   bytes, optional: then repeated, [steps, ...] in the action space's dtype and shape
The episode of seed s begins in state s % n. Repeated actions count for the environment's time limit, and for nothing else: steps, start,
return and success are counted from the state on. A snapshot is what the environment's own `snapshot() -> bytes` gave.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import numpy.typing as npt

from rlgpt.envs.actions import ActionInvalid, ActionReader
from rlgpt.envs.errors import StartsInvalid
from rlgpt.envs.files import fetch, write_whole
from rlgpt.envs.space import leaves

if TYPE_CHECKING:
    from rlgpt.bus.parts import Artifact

MEDIA_TYPE = "application/vnd.rlgpt.starts+msgpack"
VERSION = 1
MAX_BYTES, MAX_STATES, MAX_ACTIONS = 256 << 20, 100_000, 1_000_000
_FIELDS = {"seed": int, "snapshot": bytes, "actions": bytes}


@dataclass(frozen=True)
class StartState:
    """Reset with `seed`, restore `snapshot` (if not None), repeat `actions` (bytes as in the file)."""

    seed: int
    actions: bytes = b""
    snapshot: bytes | None = None

    @classmethod
    def of(cls, seed: int, actions: npt.NDArray[Any] | None = None, snapshot: bytes | None = None) -> StartState:
        """From actions [steps, ...] as `EpisodeEnd.actions` holds them."""
        return cls(int(seed), b"" if actions is None else np.ascontiguousarray(actions).tobytes(), snapshot)

    def after(self, actions: npt.NDArray[Any]) -> StartState:
        """The state that these further actions lead to from this one."""
        return StartState(self.seed, self.actions + np.ascontiguousarray(actions).tobytes(), self.snapshot)


def write(path: Path, states: Sequence[StartState]) -> Artifact:
    """Write the file whole or not at all. Raises StartsInvalid where there are no states, or too many."""
    rows = [
        {"seed": state.seed, **({} if state.snapshot is None else {"snapshot": state.snapshot}), "actions": state.actions}
        for state in states
    ]
    data = msgpack.packb({"version": VERSION, "states": rows})
    parse(data, str(path))
    write_whole(path, data)
    return _artifact(path, data)


def artifact(path: Path) -> Artifact:
    """An existing file, read and looked at, as a task names it. Raises StartsInvalid."""
    data = _bytes(path.resolve().as_uri())
    parse(data, str(path))
    return _artifact(path, data)


def read(uri: str, sha256: str) -> list[StartState]:
    """The states of a file, as an Artifact names it. Raises StartsInvalid: not there, other bytes, or no start-state file."""
    data = _bytes(uri)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise StartsInvalid(f"start states {uri}: its bytes have sha256 {found}, not {sha256}: the file was changed, or cut short")
    return parse(data, uri)


def parse(data: bytes, name: str) -> list[StartState]:
    """The states in a file's bytes; `name` is what errors call it. Raises StartsInvalid."""
    try:
        content = msgpack.unpackb(data, raw=False, strict_map_key=True, max_ext_len=0)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise StartsInvalid(f"start states {name}: no start-state file ({type(error).__name__}: {error})") from None
    if not isinstance(content, dict) or not isinstance(content.get("states"), list):
        raise StartsInvalid(f"start states {name}: no start-state file (it has to be a msgpack map with `version` and `states`)")
    if content.get("version") != VERSION:
        raise StartsInvalid(f"start states {name}: version {content.get('version')!r}, where {VERSION} is known; make the file again")
    if not 1 <= len(content["states"]) <= MAX_STATES:
        raise StartsInvalid(f"start states {name}: {len(content['states'])} states, where 1 to {MAX_STATES} are possible")
    return [_state(row, f"start states {name}: state {i}") for i, row in enumerate(content["states"])]


class Starts:
    """The start states of one environment, in a worker."""

    def __init__(self, states: Sequence[StartState], reader: ActionReader, name: str) -> None:
        """`name` is what errors call the file. Raises StartsInvalid where a state's actions are none of this action space."""
        leaf = leaves(reader.space)[0]
        self._name, self._reader, self._leaf, self._states = name, reader, leaf, list(states)
        size = leaf.dtype.itemsize * int(np.prod(leaf.shape))
        for i, state in enumerate(self._states):
            if len(state.actions) % size:
                raise self._invalid(i, f"{len(state.actions)} bytes of actions, no multiple of {size}: made for other actions")
            if len(state.actions) > MAX_ACTIONS * size:
                raise self._invalid(i, f"{len(state.actions) // size} actions; at most {MAX_ACTIONS}")

    def __len__(self) -> int:
        return len(self._states)

    @property
    def repeats_actions(self) -> bool:
        """Whether some state is reached by actions, so that only a deterministic environment gets there again."""
        return any(state.actions for state in self._states)

    def begin(self, env: Any, seed: int) -> tuple[Any, dict[str, Any]]:
        """Bring the environment into the state of `seed`: its (obs, info). Raises StartsInvalid where that cannot be done."""
        i = seed % len(self._states)
        state = self._states[i]
        obs, info = env.reset(seed=state.seed)  # also where a snapshot follows: it is what sets the wrappers' own state
        if state.snapshot is not None:
            obs, info = self._restore(i, env, state.snapshot)
        for step, action in enumerate(self._actions(i, state)):
            obs, _, terminated, truncated, info = env.step(action)
            if terminated or truncated:
                how = "terminated" if terminated else "cut off by its time limit"
                raise self._invalid(i, f"the episode of seed {state.seed} is {how} after {step + 1} of its actions; make the file again")
        return obs, info

    def _actions(self, i: int, state: StartState) -> Iterator[Any]:
        for value in np.frombuffer(state.actions, self._leaf.dtype).reshape(-1, *self._leaf.shape):
            try:
                yield self._reader(value)
            except ActionInvalid as error:
                raise self._invalid(i, str(error)) from None

    def _restore(self, i: int, env: Any, snapshot: bytes) -> Any:
        inner = env.unwrapped
        if not hasattr(inner, "restore"):
            raise self._invalid(i, f"it holds a snapshot, but {type(inner).__name__} has no restore(snapshot) -> (obs, info)")
        if env.observation_space != inner.observation_space:
            raise self._invalid(i, f"wrappers change what {type(inner).__name__} observes, so that no snapshot can be taken up")
        try:
            obs, info = inner.restore(snapshot)
        except Exception as error:
            raise self._invalid(i, f"restore failed: {type(error).__name__}: {error}") from error
        return obs, info

    def _invalid(self, i: int, why: str) -> StartsInvalid:
        return StartsInvalid(f"start states {self._name}: state {i}: {why}"[:1000])


def snapshot_of(env: Any) -> bytes | str:
    """The environment's present state, for `StartState.snapshot`; or in words why it cannot be had."""
    inner = env.unwrapped
    if not hasattr(inner, "snapshot"):
        return f"{type(inner).__name__} has no snapshot() -> bytes"
    try:
        snapshot = inner.snapshot()
    except Exception as error:
        return f"{type(inner).__name__}.snapshot failed: {type(error).__name__}: {error}"[:1000]
    return bytes(snapshot) if isinstance(snapshot, (bytes, bytearray)) else f"{type(inner).__name__}.snapshot gave no bytes"


def _state(row: Any, where: str) -> StartState:
    if not isinstance(row, dict) or "seed" not in row or not set(row) <= set(_FIELDS):
        raise StartsInvalid(f"{where}: expected a map of seed, and actions or snapshot")
    for field, value in row.items():
        if type(value) is not _FIELDS[field]:
            raise StartsInvalid(f"{where}: {field} is {type(value).__name__}, expected {_FIELDS[field].__name__}")
    if not 0 <= row["seed"] < 2**63:
        raise StartsInvalid(f"{where}: seed {row['seed']}, expected 0 to 2**63 - 1")
    return StartState(row["seed"], row.get("actions", b""), row.get("snapshot"))


def _artifact(path: Path, data: bytes) -> Artifact:
    from rlgpt.bus.parts import Artifact  # workers read this module too, and have no use for pydantic

    return Artifact(uri=path.resolve().as_uri(), sha256=hashlib.sha256(data).hexdigest(), media_type=MEDIA_TYPE)


def _bytes(uri: str) -> bytes:
    """What lies there, at most MAX_BYTES."""
    try:
        return fetch(uri, MAX_BYTES)
    except (OSError, ValueError, ImportError) as error:
        raise StartsInvalid(f"start states {uri}: cannot be read: {type(error).__name__}: {error}") from None
