"""Spaces of gymnasium or any gym as plain data (the form of `rlgpt/envs/space.py`), and observations as raw arrays of fixed layout.

Known by their class's name, so that neither library has to be installed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

SpaceData = dict[str, Any]
NUMBERS = "biuf"


class ObservationUnfit(Exception):
    """An observation that its space does not describe."""


def describe(space: Any) -> SpaceData:
    """The space as a msgpack-able dict; what has no such form becomes {"type": "Opaque", "name": ...}."""
    kinds = [kind.__name__ for kind in type(space).__mro__]
    dtype = np.dtype(getattr(space, "dtype", None) or np.float32) if "Box" in kinds else np.dtype(np.int64)
    if "Box" in kinds and dtype.kind in NUMBERS:
        return {
            "type": "Box",
            "shape": list(space.shape),
            "dtype": str(dtype),
            "low": _bound(np.asarray(space.low)),
            "high": _bound(np.asarray(space.high)),
        }
    if "MultiDiscrete" in kinds:
        nvec = np.asarray(space.nvec)
        start = np.broadcast_to(np.asarray(getattr(space, "start", 0)), nvec.shape)
        shape = list(nvec.shape)
        return {
            "type": "MultiDiscrete",
            "shape": shape,
            "nvec": nvec.ravel().tolist(),
            "start": start.ravel().tolist(),
            "dtype": str(np.dtype(space.dtype)),
        }
    if "Discrete" in kinds:
        return {"type": "Discrete", "n": int(space.n), "start": int(getattr(space, "start", 0))}
    if "MultiBinary" in kinds:
        return {"type": "MultiBinary", "shape": list(np.atleast_1d(space.shape if space.shape else space.n).tolist())}
    if "Dict" in kinds:
        return {"type": "Dict", "spaces": [[str(key), describe(part)] for key, part in space.spaces.items()]}
    if "Tuple" in kinds:
        return {"type": "Tuple", "spaces": [describe(part) for part in space.spaces]}
    return {"type": "Opaque", "name": type(space).__name__}


@dataclass(frozen=True)
class Part:
    """One array of an observation: where it is found, and where it lies in a message's body."""

    path: tuple[Any, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    size: int


class Layout:
    """Where the arrays of an observation lie in a message's body, each on a multiple of 8 bytes.

    parts   the arrays, in order
    opaque  paths of what is no array; their values travel in the head
    size    bytes of the body
    """

    def __init__(self, space: SpaceData) -> None:
        self.parts: list[Part] = []
        self.opaque: list[tuple[Any, ...]] = []
        self.size = 0
        self._walk(space, ())

    def flatten(self, obs: Any) -> tuple[list[Any], list[Any]]:
        """(the body's parts, the opaque values) of an observation. Raises ObservationUnfit."""
        body: list[Any] = []
        for part in self.parts:
            try:
                array = np.ascontiguousarray(_pick(obs, part.path), part.dtype)
            except (TypeError, ValueError, KeyError, IndexError) as error:
                raise ObservationUnfit(f"obs{_where(part.path)} cannot be had: {type(error).__name__}: {error}") from None
            if array.nbytes != part.size:
                raise ObservationUnfit(f"obs{_where(part.path)} has shape {array.shape}; its space says {part.shape}")
            body.append(array.reshape(-1).view(np.uint8))
            if part.size % 8:
                body.append(bytes(-part.size % 8))
        return body, [_pick(obs, path) for path in self.opaque]

    def oddities(self, obs: Any) -> list[str]:
        """Where an observation's arrays are of another type than their spaces say: they are converted, and a policy may wonder."""
        found = []
        for part in self.parts:
            value = np.asarray(_pick(obs, part.path))
            if value.dtype != part.dtype and not (value.dtype.kind in "iu" and part.dtype.kind in "iu"):
                found.append(f"obs{_where(part.path)} is {value.dtype}, where its space says {part.dtype}; it is converted")
        return found

    def _walk(self, space: SpaceData, path: tuple[Any, ...]) -> None:
        kind = space["type"]
        if kind == "Dict":
            for key, part in space["spaces"]:
                self._walk(part, (*path, key))
        elif kind == "Tuple":
            for i, part in enumerate(space["spaces"]):
                self._walk(part, (*path, i))
        elif kind == "Opaque":
            self.opaque.append(path)
        else:
            dtype = np.dtype({"Discrete": "int64", "MultiBinary": "int8"}.get(kind) or space["dtype"])
            shape = tuple(space.get("shape", ())) if kind != "Discrete" else ()
            size = math.prod(shape) * dtype.itemsize
            self.parts.append(Part(path, dtype, shape, self.size, size))
            self.size += -(-size // 8) * 8


def read_action(space: SpaceData, data: bytes | bytearray) -> Any:
    """An action that came as raw bytes, checked against its space: an int (Discrete) or an array. Raises ValueError."""
    kind = space["type"]
    if kind == "Discrete":
        if len(data) != 8:
            raise ValueError(f"an action of {len(data)} bytes, where 8 were due")
        value = int(np.frombuffer(data, np.int64)[0])
        if not space["start"] <= value < space["start"] + space["n"]:
            raise ValueError(f"action {value} is out of range")
        return value
    shape = tuple(space["shape"])
    array = np.frombuffer(data, np.dtype(space["dtype"])).reshape(shape).copy()
    if kind == "Box":
        low, high = (_bound_array(space, side) for side in ("low", "high"))
    else:
        low = np.reshape(space["start"], shape)
        high = low + np.reshape(space["nvec"], shape) - 1
    if not ((array >= low) & (array <= high)).all():
        raise ValueError(f"action {array.ravel()[:16].tolist()} is out of range")
    return array


def _bound(values: Any) -> Any:
    flat = values.ravel()
    if flat.size == 0 or (flat == flat[0]).all():
        first = flat[0] if flat.size else 0
        return float(first) if values.dtype.kind == "f" else int(first)
    return values.astype(np.float64).tobytes()


def _bound_array(space: SpaceData, side: str) -> Any:
    value = space[side]
    if isinstance(value, bytes):
        return np.frombuffer(value, np.float64).reshape(space["shape"]).astype(np.dtype(space["dtype"]))
    return value


def _pick(obs: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        obs = obs[key]
    return obs


def _where(path: tuple[Any, ...]) -> str:
    return "".join(f"[{key!r}]" for key in path)
