"""What MineDojo shows, as typed arrays for a learner and as facts for skills and critics.

Item names have underscores throughout (MineDojo's observations have spaces, its info underscores); block names are Minecraft's display
names with underscores, where `wood` is a log and `grass_block` grass.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from gym import spaces

# Whose numbers a learner sees; skills see everything, in info["inventory"].
ITEMS = (
    "log",
    "planks",
    "stick",
    "crafting_table",
    "wooden_pickaxe",
    "wooden_axe",
    "wooden_sword",
    "cobblestone",
    "furnace",
    "stone_pickaxe",
    "stone_axe",
    "stone_sword",
    "coal",
    "torch",
    "iron_ore",
    "iron_ingot",
    "iron_pickaxe",
    "bucket",
    "milk_bucket",
    "shears",
    "wool",
    "bed",
    "beef",
    "mutton",
    "porkchop",
    "leather",
    "diamond",
    "diamond_sword",
    "diamond_pickaxe",
    "dirt",
    "sapling",
    "apple",
)
_PLACE = {name: i for i, name in enumerate(ITEMS)}
BODY = ("life", "food", "oxygen", "armor", "saturation", "xp")
SELF = (*BODY, "x", "y", "z", "pitch", "yaw", "light_level", "nearby_table", "nearby_furnace", "raining", "can_see_sky")
RAY_REACH = 50.0
MASKS = {"craft": ("craft_smelt", 244), "equip": ("equip", 36), "place": ("place", 36), "destroy": ("destroy", 36)}
"""Ours: MineDojo's name of the mask, and its size."""


class Observer:
    """Turns MineDojo's observations into ours.

    pictures  include `rgb`, [3, height, width] uint8
    voxels    radius of the cube of blocks around the agent, 0 for none: info["blocks"], and `solid` [n, n, n] int8, indexed x, y, z
    rays      whether there is lidar: info["seen"]
    masks     include which crafts and slots would work: `can_craft` [244], `can_equip`, `can_place`, `can_destroy` [36] int8
    """

    def __init__(self, size: tuple[int, int], pictures: bool, voxels: int, rays: bool, masks: bool = False) -> None:
        self._pictures, self._voxels, self._rays, self._masks = pictures, voxels, rays, masks
        parts: dict[str, Any] = {
            "self": spaces.Box(-np.inf, np.inf, (len(SELF),), np.float32),
            "inventory": spaces.Box(0, 36 * 64, (len(ITEMS),), np.int32),
            "functions": spaces.Box(0, 1, (8,), np.int8),
        }
        if pictures:
            parts["rgb"] = spaces.Box(0, 255, (3, *size), np.uint8)
        if voxels:
            parts["solid"] = spaces.Box(0, 1, (2 * voxels + 1,) * 3, np.int8)
        if rays:
            parts["entities"] = spaces.Box(0.0, 1.0, (2,), np.float32)
        if masks:
            parts.update({f"can_{name}": spaces.Box(0, 1, (size,), np.int8) for name, (_, size) in MASKS.items()})
        self.space = spaces.Dict(parts)

    def arrays(self, obs: Any) -> dict[str, Any]:
        """The observation a learner sees."""
        life, place, near = obs["life_stats"], obs["location_stats"], obs["nearby_tools"]
        values = [*(life[name] for name in BODY), *np.ravel(place["pos"]), place["pitch"], place["yaw"], place["light_level"]]
        values += [near["table"], near["furnace"], place["is_raining"], place["can_see_sky"]]
        counts = np.zeros(len(ITEMS), np.int32)
        for name, quantity in inventory(obs).items():
            if name in _PLACE:
                counts[_PLACE[name]] = quantity
        seen: dict[str, Any] = {
            "self": np.array([float(np.ravel(value)[0]) for value in values], np.float32),
            "inventory": counts,
            "functions": np.asarray(obs["masks"]["action_type"], np.int8),
        }
        if self._pictures:
            seen["rgb"] = np.ascontiguousarray(obs["rgb"], np.uint8)  # MineDojo's has a negative stride
        if self._voxels:
            seen["solid"] = np.asarray(obs["voxels"]["is_solid"], np.int8)
        if self._masks:
            seen.update({f"can_{name}": np.asarray(obs["masks"][key], np.int8) for name, (key, _) in MASKS.items()})
        if self._rays:
            distances = [entity["distance"] for entity in _entities(obs["rays"])]
            nearest = min(distances, default=RAY_REACH)
            seen["entities"] = np.array([bool(distances), min(1.0, nearest / RAY_REACH)], np.float32)
        return seen

    def facts(self, obs: Any) -> dict[str, Any]:
        """What skills read beside the arrays; plain data."""
        place, names = obs["location_stats"], _names(obs["inventory"]["name"])
        x, y, z = (float(value) for value in np.ravel(place["pos"]))
        facts: dict[str, Any] = {
            "life": _number(obs["life_stats"]["life"]),
            "food": _number(obs["life_stats"]["food"]),
            "x": x,
            "y": y,
            "z": z,
            "pitch": _number(place["pitch"]),
            "yaw": _number(place["yaw"]),
            "holding": names[0],
            "table": bool(np.ravel(obs["nearby_tools"]["table"])[0]),
            "furnace": bool(np.ravel(obs["nearby_tools"]["furnace"])[0]),
            "inventory": inventory(obs),
            "slots": names,
            "craftable": np.flatnonzero(obs["masks"]["craft_smelt"]).tolist(),
            "equippable": np.flatnonzero(obs["masks"]["equip"]).tolist(),
            "placeable": np.flatnonzero(obs["masks"]["place"]).tolist(),
        }
        if self._voxels:
            facts["blocks"] = self._blocks(obs["voxels"]["block_name"])
        if self._rays:
            facts["seen"] = _seen(obs["rays"])
        return facts

    def _blocks(self, names: Any) -> list[list[Any]]:
        """[name, dx, dy, dz] of every block that is not air; dx towards +x (east), dy up, dz towards +z (south)."""
        found = []
        for (i, j, k), name in np.ndenumerate(names):
            if name != "air":
                found.append([str(name).replace(" ", "_"), i - self._voxels, j - self._voxels, k - self._voxels])
        return found


def inventory(obs: Any) -> dict[str, int]:
    """How many of each item are held."""
    counts: Counter[str] = Counter()
    for name, quantity in zip(_names(obs["inventory"]["name"]), np.ravel(obs["inventory"]["quantity"])):
        if name != "air":
            counts[name] += int(quantity)
    return dict(counts)


def lidar(rays: int, reach: float = RAY_REACH) -> list[tuple[float, float, float]]:
    """(pitch, yaw, distance) of `rays` rays to each side over the field of view, in radians, as MineDojo wants them."""
    pitches, yaws = np.radians(np.linspace(-30, 30, 7)), np.radians(np.linspace(-60, 60, rays))
    return [(float(pitch), float(yaw), reach) for pitch in pitches for yaw in yaws]


def _seen(rays: Any) -> list[dict[str, Any]]:
    """The nearest hit of every kind of entity and block: name, kind, distance in blocks, degrees down and to the right of the view."""
    nearest: dict[tuple[str, str], dict[str, Any]] = {}
    blocks = zip(rays["block_name"], rays["block_distance"], rays["ray_pitch"], rays["ray_yaw"])
    hits = [_hit("block", str(name).replace(" ", "_"), *rest) for name, *rest in blocks if name != "air"]
    for hit in (*_entities(rays), *hits):
        key = (hit["kind"], hit["name"])
        if key not in nearest or hit["distance"] < nearest[key]["distance"]:
            nearest[key] = hit
    return sorted(nearest.values(), key=lambda hit: hit["distance"])


def _entities(rays: Any) -> list[dict[str, Any]]:
    hits = zip(rays["entity_name"], rays["entity_distance"], rays["ray_pitch"], rays["ray_yaw"])
    named = [(str(name).lower().replace("entity", ""), *rest) for name, *rest in hits]
    return [_hit("entity", *hit) for hit in named if hit[0] not in ("", "null", "none")]


def _hit(kind: str, name: str, distance: Any, pitch: Any, yaw: Any) -> dict[str, Any]:
    # A ray's yaw is mirrored: positive is to the left.
    down, right = float(np.degrees(pitch)), -float(np.degrees(yaw))
    return {"kind": kind, "name": name, "distance": round(float(distance), 2), "down": round(down, 1), "right": round(right, 1)}


def _names(names: Any) -> list[str]:
    return [str(name).replace(" ", "_") for name in np.ravel(names)]


def _number(value: Any) -> float:
    return round(float(np.ravel(value)[0]), 3)
