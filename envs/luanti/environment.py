"""Luanti as a Gymnasium environment, after rlgpt's MineDojo: the same actions, the same names in `obs` and `info`.

reward      with `reward: milestones` ObtainDiamond's: points for the first of each item on the way; with `sparse` 1 at success
terminated  the target is held, or the agent died
truncated   after 12,000 steps, by the time limit of the registration
seed        the same seed is the same world, and with the same actions the same episode, in any process
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlgpt.envs.luanti import actions, names, wire
from rlgpt.envs.luanti.arguments import check_choices, given
from rlgpt.envs.luanti.belongings import ITEMS, REFUSED, SLOTS, Belongings
from rlgpt.envs.luanti.blocks import SOLID, Blocks
from rlgpt.envs.luanti.server import LuantiLost, Server
from rlgpt.envs.luanti.sight import Sight, creatures

Obs = dict[str, npt.NDArray[Any]]
# Guss et al. 2019 (MineRL): points of ObtainDiamond, each once an episode.
MILESTONES = {
    "log": 1.0,
    "planks": 2.0,
    "stick": 4.0,
    "crafting_table": 4.0,
    "wooden_pickaxe": 8.0,
    "cobblestone": 16.0,
    "furnace": 32.0,
    "stone_pickaxe": 32.0,
    "iron_ore": 64.0,
    "iron_ingot": 128.0,
    "iron_pickaxe": 256.0,
    "diamond": 1024.0,
}
SELF = (
    *("life", "food", "oxygen", "armor", "saturation", "xp", "x", "y", "z", "pitch", "yaw", "light_level"),
    *("nearby_table", "nearby_furnace", "raining", "can_see_sky"),
)
_RAYS, _KINDS = wire.ROWS * wire.COLUMNS, len(names.KINDS)
AREAS = 360_000  # distinct worlds of one map
_SPREAD = 179_424_673  # a prime that shares no factor with AREAS: seeds beside each other are far apart
MEMORY = 95 << 20  # bytes of a server, beyond which the next episode has a fresh one


class Luanti(gymnasium.Env[Obs, Any]):
    """One agent in one server of its own.

    action     `full` (eight parts) or `reduced` ([12, 3])
    target     the item that ends an episode when `count` of it are held, "" for none
    inventory  what an episode begins with, item: how many; the first goes into the hand
    reward     `milestones` or `sparse`
    ticks      ticks of 1/20 s that a step takes
    camera     degrees of one step of pitch and yaw
    voxels     radius of the cube of `solid`, 0 for none; `info["voxels"]` is always there
    pictures   add `rgb`, [3, 64, 64] uint8
    masks      add `can_craft`, `can_equip`, `can_place`, `can_destroy`: which crafts and slots would work now
    ores       `shallow` (iron from y = 0, diamonds from -32 down) or `stock` (iron from -128, diamonds from -1024)
    table      whether recipes of more than 2 x 2 need a crafting table within 5 blocks
    furnace    whether smelting needs a furnace within 5 blocks
    monsters   zombies come up in the dark (mod/creatures.lua); `info["seen"]` tells of those in view
    hunger     food falls with work, health comes back with food (mod/hunger.lua); otherwise both stay
    daylight   `day` or `night` always, or a `cycle` of 24,000 ticks from sunrise on
    xray       everything around is known at once, seen or not: for debugging
    world      seed of the map, of which an episode's seed picks an area
    step_s     seconds until a server that does not answer is given up; `reset_s` likewise
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012  gymnasium's own form

    def __init__(
        self,
        *,
        action: str = "full",
        target: str = "diamond",
        count: int = 1,
        inventory: dict[str, int] | None = None,
        reward: str = "milestones",
        ticks: int = 1,
        camera: float = 15.0,
        voxels: int = 1,
        pictures: bool = False,
        masks: bool = False,
        ores: str = "shallow",
        table: bool = True,
        furnace: bool = True,
        monsters: bool = False,
        hunger: bool = False,
        daylight: str = "day",
        xray: bool = False,
        world: int = 42,
        step_s: float = 20.0,
        reset_s: float = 90.0,
        probe: bool = False,
        render_mode: str | None = None,
    ) -> None:
        """Raises EnvironmentUnavailable where no server is installed, ValueError for an argument that cannot be."""
        choices = {"action": action, "reward": reward, "ores": ores, "daylight": daylight}
        check_choices(choices, voxels)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}; Luanti here knows only 'rgb_array'")
        if ticks < 1:
            raise ValueError(f"ticks {ticks}: at least 1")
        self._given = given(inventory or {})
        self._target, self._count, self._sparse, self._ticks = target, count, reward == "sparse", ticks
        self._voxels, self._waits, self._world = voxels, (step_s, reset_s), world
        self._settings = names.settings(ores, camera, table, furnace, xray, probe)
        self._settings |= {"monsters": monsters, "hunger": hunger, "daylight": daylight}
        self.camera = camera
        self.render_mode = render_mode
        self._pictures, self._masks = pictures, masks
        self._draws = pictures or render_mode is not None
        self.action_space = spaces.MultiDiscrete(list(actions.FULL if action == "full" else actions.REDUCED))
        space: Any = self._space()
        self.observation_space = space
        self._server: Server | None = None
        self._maker = os.getpid()
        self._start()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:  # noqa: ARG002
        """The world of this seed; without one, the next of this environment's own random numbers. Raises LuantiLost."""
        super().reset(seed=seed)
        number = int(self.np_random.integers(2**31)) if seed is None else int(seed)
        if self._server is not None and self._server.memory() > MEMORY:
            self.close()
        server = self._start()
        with self._losing():
            server.reset(number * _SPREAD % AREAS, number % 2**31, self._given, self._draws, self._waits[1])
        self._had: set[str] = set()
        self._earned(server, first=True)
        self._success = self._held() >= self._count if self._target else False
        return self._observation(server), self._info(server.facts, "", [])

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Raises LuantiLost where the server is gone: the episode is void, the next has a fresh one."""
        server = self._server
        if server is None:
            raise LuantiLost("there is no server; reset comes first")
        try:
            server.step(actions.full(action), self._ticks, self._draws, self._waits[0])
        except LuantiLost:
            self._server = None
            raise
        facts, before = server.facts, self._success
        new = self._earned(server)
        self._success = not facts.died and bool(self._target) and self._held() >= self._count
        reward = float(self._success and not before) if self._sparse else sum(MILESTONES[name] for name in new)
        obs = self._observation(server)
        return obs, reward, self._success or bool(facts.died), False, self._info(facts, REFUSED.get(facts.done, ""), new)

    def render(self) -> npt.NDArray[np.uint8] | None:
        """The view, [64, 64, 3]."""
        return self._rgb() if self._draws and self._server is not None else None

    def probe(self, code: str) -> str:
        """What Lua code returns inside the server, made with `probe`: for tests. `agent` and `rl` are the mod's own."""
        if self._server is None:
            raise LuantiLost("there is no server")
        with self._losing():
            return self._server.probe(code, self._waits[0])

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        """A server that is lost is forgotten, so that the next reset starts another."""
        try:
            yield
        except LuantiLost:
            self._server = None
            raise

    def close(self) -> None:
        """End the server."""
        server, self._server = self._server, None
        # A copy of this object in a forked process is not to end the server of the original.
        if server is not None and self._maker == os.getpid():
            server.close()

    def _start(self) -> Server:
        if self._server is None:
            self._server = Server(self._settings, self._world, _codes, self._waits[1])
            self._blocks = Blocks(self._server.hello["nodes"])
            self._bag: Belongings | None = None
            self._placeable = frozenset(self._blocks.distinct)
            self._seen = Sight(self._blocks)
            self._told: dict[str, Any] = {}
            self._painter: Any = None
            if self._draws:
                from rlgpt.envs.luanti.pictures import Painter

                self._painter = Painter(self._server.hello["nodes"])
        return self._server

    def _space(self) -> spaces.Dict:
        parts: dict[str, spaces.Space[Any]] = {
            "self": spaces.Box(-np.inf, np.inf, (len(SELF),), np.float32),
            "inventory": spaces.Box(0, 36 * 99, (len(ITEMS),), np.int32),
            "functions": spaces.Box(0, 1, (8,), np.int8),
            "lidar": spaces.Box(0.0, 1.0, (wire.ROWS * wire.COLUMNS,), np.float32),
            "nearest": spaces.Box(-1.0, 1.0, (len(names.KINDS), 4), np.float32),
        }
        if self._pictures:
            parts["rgb"] = spaces.Box(0, 255, (3, wire.SIZE, wire.SIZE), np.uint8)
        if self._masks:
            sizes = {"can_craft": actions.FULL[6], "can_equip": SLOTS, "can_place": SLOTS, "can_destroy": SLOTS}
            parts |= {name: spaces.Box(0, 1, (size,), np.int8) for name, size in sizes.items()}
        if self._voxels:
            parts["solid"] = spaces.Box(-1, 1, (2 * self._voxels + 1,) * 3, np.int8)
        return spaces.Dict(parts)

    def _held(self) -> int:
        return self._bag.inventory.get(self._target, 0) if self._bag else 0

    def _earned(self, server: Server, *, first: bool = False) -> list[str]:
        """Items of ObtainDiamond that are held for the first time in this episode; what it began with counts for nothing."""
        told = server.tail()
        if told:
            self._bag = Belongings(told)
        if not (told or first) or self._bag is None:
            return []
        new = [name for name in MILESTONES if name in self._bag.inventory and name not in self._had]
        self._had.update(new)
        return [] if first else new

    def _holds(self) -> Belongings:
        if self._bag is None:
            raise LuantiLost("nothing was told of what is held")
        return self._bag

    def _observation(self, server: Server) -> Obs:
        if server.facts.fresh or not self._told:
            self._told = self._seen.told(server.sight())
        arrays, bag = server.arrays(), self._holds()
        seen: Obs = {
            "self": np.frombuffer(arrays, np.float32, 16),
            "inventory": bag.counts.copy(),
            "functions": bag.functions.copy(),
            "lidar": np.frombuffer(arrays, np.float32, _RAYS, 64),
            "nearest": np.frombuffer(arrays, np.float32, 4 * _KINDS, 64 + 4 * _RAYS).reshape(_KINDS, 4),
        }
        self._creatures = creatures(arrays, server.facts.creatures)
        if self._pictures:
            seen["rgb"] = np.ascontiguousarray(self._rgb().transpose(2, 0, 1))
        if self._masks:
            seen |= bag.masks(self._placeable)
        if self._voxels:
            r, y, x = self._voxels, wire.HEIGHT, wire.RADIUS
            seen["solid"] = SOLID[self._told["voxels"][x - r : x + r + 1, y - r : y + r + 1, x - r : x + r + 1]]
        return seen

    def _rgb(self) -> npt.NDArray[np.uint8]:
        if self._server is None:
            raise LuantiLost("there is no server; reset comes first")
        picture: npt.NDArray[np.uint8] = self._painter.paint(self._server.facts[-16:], self._server.picture())
        return picture

    def _info(self, facts: wire.Facts, refused: str, new: list[str]) -> dict[str, Any]:
        """Facts for skills, the most telling first, because only the first ten are told to language models."""
        bag, names_of = self._holds(), self._blocks.names
        return {
            "life": facts.life,
            "x": round(facts.x, 3),
            "y": round(facts.y, 3),
            "z": round(facts.z, 3),
            "yaw": facts.yaw,
            "pitch": facts.pitch,
            "have": bag.have,
            "holding": bag.slots[0],
            "pointed": names_of[facts.pointed] if facts.pointed >= 0 else "",
            "refused": refused,
            "success": self._success,
            "died": facts.died > 0,
            "new": " ".join(new),
            "food": facts.food,
            "oxygen": facts.oxygen,
            "damage": facts.damage,
            "light": facts.light,
            "table": facts.table > 0,
            "furnace": facts.furnace > 0,
            "on_ground": facts.on_ground > 0,
            "in_liquid": facts.in_liquid > 0,
            "step": facts.tick,
            "progress": facts.progress,
            "dug": names_of[facts.dug] if facts.dug >= 0 else "",
            "durability": bag.durability,
            "camera": self.camera,
            "aim": [facts.pointed_x, facts.pointed_y, facts.pointed_z] if facts.pointed >= 0 else None,
            "inventory": bag.inventory,
            "slots": bag.slots,
            "craftable": bag.craftable,
            **self._told,
            **({"seen": sorted([*self._told["seen"], *self._creatures], key=_distance)} if self._creatures else {}),
        }


def _distance(hit: dict[str, Any]) -> float:
    return float(hit["distance"])


def _codes(nodes: list[list[Any]]) -> bytes:
    """What the mod is told of its nodes: the numbers of BLOCKS, then those of their names."""
    blocks = Blocks(nodes)
    return blocks.code.tobytes() + blocks.shown.tobytes()
