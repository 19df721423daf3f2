"""Gymnasium spaces as plain data, and observations as a flat list of arrays. No pickle.

A *leaf* is one array of an observation: the whole of it for Box, Discrete, MultiDiscrete and MultiBinary, one per member for Dict
and Tuple. Members of a Dict that are no arrays (Text, Sequence, Graph, ...) are `Opaque`: skills see them, a learner does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.errors import EnvironmentUnsupported

if TYPE_CHECKING:
    import gymnasium

SpaceData = dict[str, Any]
Array = npt.NDArray[Any]

MAX_LEAF_BYTES = 64 << 20


@dataclass(frozen=True)
class Leaf:
    """One array of an observation.

    path       keys and positions that lead to it from the whole observation
    low, high  bounds of integer values, None where any finite value may occur
    """

    path: tuple[str | int, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    low: Array | int | None = None
    high: Array | int | None = None


def describe(space: gymnasium.Space[Any]) -> SpaceData:
    """The space as a msgpack-able dict; what has no such form becomes {"type": "Opaque", "name": ...}."""
    from gymnasium import spaces

    match space:
        case spaces.Box():
            return {
                "type": "Box",
                "shape": list(space.shape),
                "dtype": str(space.dtype),
                "low": _bound(space.low),
                "high": _bound(space.high),
            }
        case spaces.Discrete():
            return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            start = np.asarray(space.start).ravel().tolist()
            nvec = np.asarray(space.nvec)
            return {
                "type": "MultiDiscrete",
                "shape": list(nvec.shape),
                "nvec": nvec.ravel().tolist(),
                "start": start,
                "dtype": str(space.dtype),
            }
        case spaces.MultiBinary():
            return {"type": "MultiBinary", "shape": list(space.shape)}
        case spaces.Dict():
            return {"type": "Dict", "spaces": [[str(key), describe(part)] for key, part in space.spaces.items()]}
        case spaces.Tuple():
            return {"type": "Tuple", "spaces": [describe(part) for part in space.spaces]}
    return {"type": "Opaque", "name": getattr(space, "opaque_name", type(space).__name__)}


def restore(data: SpaceData) -> gymnasium.Space[Any]:
    """The space a learner sees: `describe` undone, without the opaque members of Dicts.

    Raises EnvironmentUnsupported where nothing but an opaque space is left.
    """
    from gymnasium import spaces

    match data["type"]:
        case "Box":
            dtype: Any = np.dtype(data["dtype"])
            return spaces.Box(bound(data, "low"), bound(data, "high"), tuple(data["shape"]), dtype.type)
        case "Discrete":
            return spaces.Discrete(data["n"], start=data["start"])
        case "MultiDiscrete":
            shape = tuple(data["shape"])
            nvec, start = np.reshape(data["nvec"], shape), np.reshape(data["start"], shape)
            return spaces.MultiDiscrete(nvec, dtype=np.dtype(data["dtype"]).type, start=start)
        case "MultiBinary":
            shape = tuple(data["shape"])
            return spaces.MultiBinary(shape[0] if len(shape) == 1 else shape)
        case "Dict":
            return spaces.Dict({key: restore(part) for key, part in data["spaces"] if _carried(part)})
        case "Tuple":
            return spaces.Tuple([restore(part) for part in data["spaces"]])
    raise EnvironmentUnsupported(
        f"a {data['name']} space is no array, so that no learner here can take it; wrap the environment to encode it"
    )


def leaves(data: SpaceData, path: tuple[str | int, ...] = ()) -> list[Leaf]:
    """The arrays an observation of this space consists of, in order. Raises EnvironmentUnsupported as `restore` does."""
    match data["type"]:
        case "Box":
            dtype = np.dtype(data["dtype"])
            bounded = dtype.kind in "iu" and dtype != np.uint8
            low, high = (bound(data, "low"), bound(data, "high")) if bounded else (None, None)
            return [_leaf(path, dtype, tuple(data["shape"]), low, high)]
        case "Discrete":
            return [_leaf(path, np.dtype(np.int64), (), data["start"], data["start"] + data["n"] - 1)]
        case "MultiDiscrete":
            shape = tuple(data["shape"])
            low = np.reshape(data["start"], shape)
            return [_leaf(path, np.dtype(data["dtype"]), shape, low, low + np.reshape(data["nvec"], shape) - 1)]
        case "MultiBinary":
            return [_leaf(path, np.dtype(np.int8), tuple(data["shape"]), 0, 1)]
        case "Dict":
            return [leaf for key, part in data["spaces"] if _carried(part) for leaf in leaves(part, (*path, key))]
        case "Tuple":
            return [leaf for i, part in enumerate(data["spaces"]) for leaf in leaves(part, (*path, i))]
    where = "".join(f"[{key!r}]" for key in path)
    raise EnvironmentUnsupported(f"observation{where} is a {data['name']} space, which is no array; wrap the environment to encode it")


def fold(data: SpaceData, arrays: list[Array]) -> Any:
    """Arrays in the order of `leaves` put back into the structure of the space; consumes none of its arguments."""
    # Not a function inside this one: that would refer to itself, and keep the arrays until the next garbage collection.
    return arrays[0] if len(arrays) == 1 and data["type"] not in ("Dict", "Tuple") else _fold(data, iter(arrays))


def _fold(data: SpaceData, rest: Iterator[Array]) -> Any:
    match data["type"]:
        case "Dict":
            return {key: _fold(member, rest) for key, member in data["spaces"] if _carried(member)}
        case "Tuple":
            return tuple(_fold(member, rest) for member in data["spaces"])
    return next(rest)


def bound(data: SpaceData, side: str) -> Any:
    """Lower or upper bound of a Box: a scalar if all components share it, else an array of the Box's shape."""
    value = data[side]
    if isinstance(value, bytes):
        return np.frombuffer(value, np.float64).reshape(data["shape"]).astype(np.dtype(data["dtype"]))
    dtype = np.dtype(data["dtype"])
    return value if dtype.kind == "f" else dtype.type(value)


def _bound(values: Array) -> float | int | bytes:
    # float64 holds the bounds of every usual dtype; int64's extremes lose a few units, as gymnasium's own do.
    flat = values.ravel()
    if flat.size == 0 or (flat == flat[0]).all():
        first = flat[0] if flat.size else 0
        return float(first) if values.dtype.kind == "f" else int(first)
    return values.astype(np.float64).tobytes()


def _carried(data: SpaceData) -> bool:
    match data["type"]:
        case "Opaque":
            return False
        case "Dict":
            return any(_carried(part) for _, part in data["spaces"])
    return True


def _leaf(path: tuple[str | int, ...], dtype: np.dtype[Any], shape: tuple[int, ...], low: Any, high: Any) -> Leaf:
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_LEAF_BYTES:
        raise EnvironmentUnsupported(f"an observation of {size} bytes (at most {MAX_LEAF_BYTES}); wrap the environment to make it smaller")
    return Leaf(path, dtype, shape, low, high)
