"""Crafter itself, made reproducible, for comparison: chunks are sets ordered by memory address there, and sorted here."""

from __future__ import annotations

import crafter
import numpy as np
from crafter import objects

KINDS = {objects.Player: 1, objects.Cow: 2, objects.Zombie: 3, objects.Skeleton: 4, objects.Arrow: 5, objects.Plant: 6}


class Original(crafter.Env):
    """`crafter.Env` with one world a seed; pictures only when asked for, because they draw from the world's random numbers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.quiet = True

    def begin(self, seed: int):
        self._seed, self._episode = seed, 0
        return self.reset()

    def _balance_chunk(self, chunk, objs):
        known = self._world._obj_map
        super()._balance_chunk(chunk, sorted(objs, key=lambda obj: known[tuple(obj.pos)]))

    def _obs(self):
        return None if self.quiet else self.render()


def state_of(env: Original) -> dict:
    """Everything there is to a world, in the form `state_of_record` gives."""
    world, player = env._world, env._player
    key, drawn = world.random.get_state()[1:3]
    found = []
    for obj in world.objects:
        extra = (getattr(obj, "cooldown", 0), getattr(obj, "reload", 0), getattr(obj, "grown", 0))
        facing = tuple(int(v) for v in obj.facing) if hasattr(obj, "facing") else (0, 0)
        health = 0 if obj is player else int(obj.health)
        found.append((KINDS[type(obj)], int(obj.pos[0]), int(obj.pos[1]), health, max(extra), *facing))
    size = world._chunk_size[0]
    return {
        "random": (key.tolist(), int(drawn)),
        "material": world._mat_map.tolist(),
        "occupied": (world._obj_map > 0).tolist(),
        "objects": found,
        "chunks": [(xmin // size, ymin // size) for xmin, _, ymin, _ in world._chunks],
        "inventory": [int(v) for v in player.inventory.values()],
        "achievements": [int(v) for v in player.achievements.values()],
        "body": [float(v) for v in (player.sleeping, player._hunger, player._thirst, player._fatigue, player._recover)],
        "before": (int(player._last_health), int(env._last_health)),
        "daylight": float(world.daylight),
    }


def state_of_record(world: np.ndarray) -> dict:
    """The same of a WORLD record."""
    w = world[0]
    n = int(w["objects"])
    columns = [w[name][:n].tolist() for name in ("kind", "x", "y", "health", "timer", "dx", "dy")]
    return {
        "random": (w["key"].tolist(), int(w["drawn"])),
        "material": w["material"].tolist(),
        "occupied": (w["object"] > 0).tolist(),
        "objects": list(zip(*columns, strict=True)),
        "chunks": [divmod(int(chunk), 6) for chunk in w["chunks"][: int(w["known_chunks"])]],
        "inventory": w["inventory"].tolist(),
        "achievements": w["achievements"].tolist(),
        "body": [float(w[name]) for name in ("sleeping", "hunger", "thirst", "fatigue", "recover")],
        "before": (int(w["health_before"]), int(w["health_rewarded"])),
        "daylight": float(w["daylight"]),
    }
