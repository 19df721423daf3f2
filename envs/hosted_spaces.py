"""Spaces a host told of, checked before they are believed, and the observations that lie in them."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rlgpt.envs.errors import EnvironmentUnsupported
from rlgpt.envs.handle import plain
from rlgpt.envs.space import MAX_LEAF_BYTES, Array, SpaceData, restore

MAX_PARTS, MAX_DEPTH, MAX_AXES = 1000, 8, 8
_DTYPES = frozenset(["bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float16", "float32", "float64"])


class OpaqueSpace(gymnasium.Space[Any]):
    """Values that are no arrays: text, sequences, graphs. They travel, and skills read them; nothing checks or draws them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.opaque_name = name

    def contains(self, _: Any) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpaqueSpace) and other.opaque_name == self.opaque_name

    __hash__ = None  # type: ignore[assignment]


def checked(data: Any, depth: int = 0) -> SpaceData:
    """The same description with nothing in it but what `envs/space.py` knows. Raises EnvironmentUnsupported."""
    if not isinstance(data, dict) or depth > MAX_DEPTH:
        raise _wrong(data)
    match data:
        case {"type": "Box", "shape": shape, "dtype": str(dtype), "low": low, "high": high} if dtype in _DTYPES:
            size = math.prod(_shape(shape))
            return {"type": "Box", "shape": shape, "dtype": dtype, "low": _bound(low, size), "high": _bound(high, size)}
        case {"type": "Discrete", "n": int(n), "start": int(start)} if 1 <= n < 2**62 and abs(start) < 2**62:
            return {"type": "Discrete", "n": n, "start": start}
        case {"type": "MultiDiscrete", "shape": shape, "nvec": list(nvec), "start": list(start), "dtype": str(dtype)} if dtype in _DTYPES:
            if (
                not len(nvec) == len(start) == math.prod(_shape(shape))
                or not all(_whole(n, 1) for n in nvec)
                or not all(map(_whole, start))
            ):
                raise _wrong(data)
            return {"type": "MultiDiscrete", "shape": shape, "nvec": nvec, "start": start, "dtype": dtype}
        case {"type": "MultiBinary", "shape": shape}:
            return {"type": "MultiBinary", "shape": list(_shape(shape))}
        case {"type": "Dict", "spaces": list(parts)} if len(parts) <= MAX_PARTS:
            return {"type": "Dict", "spaces": [_member(part, depth) for part in parts]}
        case {"type": "Tuple", "spaces": list(parts)} if len(parts) <= MAX_PARTS:
            return {"type": "Tuple", "spaces": [checked(part, depth + 1) for part in parts]}
        case {"type": "Opaque", "name": str(name)}:
            return {"type": "Opaque", "name": plain(name, 100)}
    raise _wrong(data)


def whole_space(data: SpaceData) -> gymnasium.Space[Any]:
    """The space of what the environment gives, its opaque members included."""
    match data["type"]:
        case "Dict":
            return spaces.Dict({key: whole_space(part) for key, part in data["spaces"]})
        case "Tuple":
            return spaces.Tuple([whole_space(part) for part in data["spaces"]])
        case "Opaque":
            return OpaqueSpace(data["name"])
    return restore(data)


def whole_observation(data: SpaceData, arrays: list[Array], rest: list[Any]) -> Any:
    """Arrays and opaque values, each in the space's order, put back into its structure."""
    if data["type"] not in ("Dict", "Tuple", "Opaque"):
        return _value(data, arrays[0])
    arrays_left, rest_left = iter(arrays), iter(rest)

    def build(part: SpaceData) -> Any:
        match part["type"]:
            case "Dict":
                return {key: build(member) for key, member in part["spaces"]}
            case "Tuple":
                return tuple(build(member) for member in part["spaces"])
            case "Opaque":
                return next(rest_left)
        return _value(part, next(arrays_left))

    return build(data)


def _value(data: SpaceData, array: Array) -> Any:
    return np.int64(array) if data["type"] == "Discrete" else array


def _member(part: Any, depth: int) -> list[Any]:
    if not isinstance(part, list) or len(part) != 2 or not isinstance(part[0], str) or not part[0].isprintable():
        raise _wrong(part)
    return [part[0], checked(part[1], depth + 1)]


def _shape(shape: Any) -> list[int]:
    if not isinstance(shape, list) or len(shape) > MAX_AXES or not all(_whole(n, 0) for n in shape) or math.prod(shape) > MAX_LEAF_BYTES:
        raise _wrong(shape)
    return shape


def _bound(value: Any, size: int) -> Any:
    if isinstance(value, bytes) and len(value) == 8 * size:
        return value
    if isinstance(value, (int, float)) and not (isinstance(value, float) and math.isnan(value)):
        return value
    raise _wrong(value)


def _whole(value: Any, least: int = -(2**62)) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**62


def _wrong(data: Any) -> EnvironmentUnsupported:
    return EnvironmentUnsupported(f"the host describes a space in a way that cannot be: {plain(repr(data), 300)}")
