"""The world of the stand-in for Minecraft: a flat meadow with one tree, and enough rules to finish MineDojo's short tasks.

Written from the protocol in Malmo's Java sources and never compared with the real game: it tests the Python side, not the game's physics.
Standard library only.
"""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

MALMO = "{http://ProjectMalmo.microsoft.com}"
EMPTY_MISSION = "<MissionInit xmlns='http://ProjectMalmo.microsoft.com'/>"
GROUND = 63
# Block names as the game displays them, where they differ from the item's.
DISPLAYED = {"grass": "grass block", "log": "wood", "planks": "wooden planks"}
DROPS = {"grass": "dirt", "stone": "cobblestone", "diamond_ore": "diamond", "coal_ore": "coal"}
# block: (ticks by hand, the tool whose name has to contain this for the block to drop anything)
HARDNESS = {
    "log": (60, ""),
    "dirt": (15, ""),
    "grass": (18, ""),
    "stone": (150, "pickaxe"),
    "iron_ore": (300, "stone_pickaxe"),
    "diamond_ore": (300, "iron_pickaxe"),
    "crafting_table": (75, ""),
    "furnace": (350, "pickaxe"),
}
MOB_DROPS = {"cow": ("beef", "leather"), "sheep": ("mutton", "wool"), "pig": ("porkchop",)}
SWORDS = {"diamond_sword": 7, "iron_sword": 6}
REACH, PLACE_REACH, USE_REACH, RAY_REACH = 4.5, 4.5, 4.0, 40.0
FUELS = ("coal", "planks", "log")
SLOT_NAMES = {"mainhand": 0, "offhand": 40, "feet": 36, "legs": 37, "chest": 38, "head": 39}


class World:
    """The state; `load` begins a mission, `client` and `server` are the two halves of a tick.

    Slots are [item, variant, quantity]; mobs are [kind, x, z, health]. Commands that the game's server carries out (chat, craft, place,
    equip, use, attack) show one step later, as in Malmo, which answers a step before its server has run the tick.
    """

    def __init__(self, constants: Path | None = None) -> None:
        """`constants` is MineDojo's mc_constants.json: recipes and the names of statistics."""
        self.crafts: dict[str, list[dict]] = {}
        self.smelts: dict[str, dict] = {}
        self._fresh_statistics: dict = {}
        if constants is not None:
            self._read(json.loads(constants.read_text()))
        self.load(EMPTY_MISSION)

    def load(self, mission: str) -> None:
        """Begin the mission of Malmo's XML."""
        xml = ET.fromstring(mission)

        def first(tag: str):
            return next(xml.iter(MALMO + tag), None)

        def number(tag: str, key: str, default: float) -> float:
            element = first(tag)
            return float(element.get(key, default)) if element is not None else default

        video = first("VideoProducer")
        self.width, self.height = (int(video.find(MALMO + side).text) for side in ("Width", "Height")) if video is not None else (64, 64)
        self.spawn = tuple(
            number("Placement", key, default) for key, default in (("x", 0.5), ("y", GROUND + 1.0), ("z", 0.5), ("yaw", 0), ("pitch", 0))
        )
        self.life, self.food = number("StartingHealth", "health", 20.0), number("StartingFood", "food", 20)
        speed = first("BreakSpeedMultiplier")
        self.speed = float(speed.text) if speed is not None else 1.0
        self.biome = int(number("BiomeGenerator", "biome", 1))
        grid = first("Grid")
        self.grid = [[int(grid.find(MALMO + end).get(axis)) for axis in "xyz"] for end in ("min", "max")] if grid is not None else None
        self.rays = [tuple(float(ray.get(key)) for key in ("pitch", "yaw", "distance")) for ray in xml.iter(MALMO + "RayOffset")]
        self.slots = empty_slots()
        for item in xml.iter(MALMO + "InventoryObject"):
            self.slots[int(item.get("slot"))] = [item.get("type"), int(item.get("metadata") or 0), int(item.get("quantity"))]
        self.x, self.y, self.z, self.yaw, self.pitch = self.spawn
        self.blocks = {(0, GROUND + 1 + i, 6): "log" for i in range(4)}
        self.tables: set[tuple] = set()
        self.furnaces: set[tuple] = set()
        self.mobs: list[list] = []
        self.statistics = json.loads(json.dumps(self._fresh_statistics))
        self.digging, self.cooling, self.ticks, self.since_death = (None, 0), 0, 0, 0
        self.died, self.queue = False, []

    # ------------------------------------------------------------ the bag

    def count(self, item: str) -> int:
        return sum(slot[2] for slot in self.slots[:36] if slot[0] == item)

    def give(self, item: str, quantity: int = 1) -> None:
        for slot in self.slots[:36]:
            if quantity and slot[0] in ("air", item) and slot[2] < 64:
                taken = min(64 - slot[2], quantity)
                slot[0], slot[2], quantity = item, slot[2] + taken, quantity - taken

    def take(self, item: str, quantity: int = 1) -> None:
        for index, slot in enumerate(self.slots[:36]):
            if slot[0] == item and quantity:
                taken = min(quantity, slot[2])
                slot[2], quantity = slot[2] - taken, quantity - taken
                if not slot[2]:
                    self.slots[index] = ["air", 0, 0]

    @property
    def held(self) -> str:
        return self.slots[0][0]

    # ------------------------------------------------------------ the meadow

    def block(self, x: int, y: int, z: int) -> str:
        return self.blocks.get((x, y, z)) or (
            "air" if y > GROUND else "grass" if y == GROUND else "dirt" if y > 59 else "stone" if y else "bedrock"
        )

    def direction(self, pitch: float = 0.0, yaw: float = 0.0) -> tuple[float, float, float]:
        """The view, turned by so many radians; a positive yaw turns left, as MineDojo's lidar has it."""
        down, around = math.radians(self.pitch) + pitch, math.radians(self.yaw) - yaw
        return -math.sin(around) * math.cos(down), -math.sin(down), math.cos(around) * math.cos(down)

    def hit_block(self, direction: tuple, reach: float) -> tuple[str, tuple, tuple | None, float] | None:
        """(block, its cell, the free cell before it, distance) along a direction from the eyes."""
        step, before, distance = (0.1 if reach <= 5 else 0.5), None, 0.0
        if reach > 5 and self._open(direction):  # nothing but the ground can be hit: begin two steps before it
            drop = self.y + 1.62 - (GROUND + 1)
            if direction[1] * reach > -drop:
                return None
            distance = max(0.0, math.floor(drop / -direction[1] / step) * step - 2 * step)
        while distance < reach:
            cell = tuple(math.floor(eye + part * distance) for eye, part in zip((self.x, self.y + 1.62, self.z), direction, strict=True))
            if cell != before and self.block(*cell) != "air":
                return self.block(*cell), cell, before, distance
            before, distance = cell, distance + step
        return None

    def _open(self, direction: tuple) -> bool:
        """Whether no block above the ground is within 1.5 blocks of a ray from the eyes, seen from above."""
        flat = math.hypot(direction[0], direction[2]) or 1e-9
        for (x, y, z), block in self.blocks.items():
            dx, dz = x + 0.5 - self.x, z + 0.5 - self.z
            aside, along = abs(dx * direction[2] - dz * direction[0]) / flat, dx * direction[0] + dz * direction[2]
            if y > GROUND and block != "air" and aside < 1.5 and along > -1.5 * flat:
                return False
        return self.y >= GROUND + 1

    def hit_mob(self, direction: tuple, reach: float) -> tuple[list, float] | None:
        """(mob, distance) along a direction; a mob is a cylinder of radius 0.6 and height 1.4, and blocks hide it."""
        wall = self.hit_block(direction, reach)
        best, flat = None, direction[0] ** 2 + direction[2] ** 2
        for mob in self.mobs:
            along = (mob[1] - self.x) * direction[0] + (mob[2] - self.z) * direction[2]
            if along <= 0 or flat < 1e-6:
                continue
            distance = along / flat
            aside = math.hypot(self.x + direction[0] * distance - mob[1], self.z + direction[2] * distance - mob[2])
            height = self.y + 1.62 + direction[1] * distance
            limit = min(reach, wall[3] if wall else reach, best[1] if best else reach)
            if aside < 0.6 and GROUND < height < GROUND + 2.6 and distance < limit:
                best = mob, distance
        return best

    def near(self, cells: set[tuple]) -> bool:
        """Whether one of them is within 5 blocks and in view."""
        view = self.direction()
        for cell in cells:
            offset = tuple(part + 0.5 - eye for part, eye in zip(cell, (self.x, self.y + 1.6, self.z), strict=True))
            far, along = math.hypot(*offset), sum(a * b for a, b in zip(offset, view, strict=True))
            if far <= 5 and along > 0 and math.degrees(math.acos(min(1.0, along / far))) <= 35:
                return True
        return False

    # ------------------------------------------------------------ a tick

    def client(self, commands: list[str]) -> None:
        """What the game's client does at once: look and walk. The rest waits for the server."""
        asked = dict(line.partition(" ")[::2] for line in commands)
        if "camera" in asked:
            down, right = (float(word) for word in asked["camera"].split())
            self.pitch = max(-90.0, min(90.0, self.pitch + down))
            self.yaw = (self.yaw + right + 180) % 360 - 180
        ahead, left = (_on(asked, one) - _on(asked, other) for one, other in (("forward", "back"), ("left", "right")))
        if ahead or left:
            speed, around = (0.28 if _on(asked, "sprint") else 0.066 if _on(asked, "sneak") else 0.216), math.radians(self.yaw)
            x = self.x + speed * (-math.sin(around) * ahead + math.cos(around) * left)
            z = self.z + speed * (math.cos(around) * ahead + math.sin(around) * left)
            if self.block(math.floor(x), GROUND + 1, math.floor(z)) == "air":
                self.x, self.z = x, z
        self.queue.append(asked)

    def server(self) -> None:
        """What the game's server does after the client has answered."""
        self.died = False
        for asked in self.queue:
            if "chat" in asked:
                self.chat(asked["chat"].split())
            self._craft(asked.get("craft", "none"), by_hand=True)
            self._craft(asked.get("craftNearby", "none"), by_hand=False)
            self._smelt(asked.get("smeltNearby", "none"))
            self._equip(asked.get("equip", "none").split("#")[0])
            self._place(asked.get("place", "none"))
            if _on(asked, "drop") and self.slots[0][2]:
                self.take(self.held)
            if _on(asked, "use"):
                self._use()
            if _on(asked, "attack"):
                self._attack()
            else:
                self.digging = (None, 0)
        self.queue = []
        self.ticks, self.since_death, self.cooling = self.ticks + 1, self.since_death + 1, self.cooling - 1

    def die(self) -> None:
        """Malmo's client respawns the player by itself."""
        self.slots = empty_slots()
        self.x, self.y, self.z, self.yaw, self.pitch = self.spawn
        self.life, self.food, self.since_death, self.died = 20.0, 20, 0, True
        self.record("deaths")

    def record(self, *keys: str) -> None:
        """Count a statistic."""
        node = self.statistics.setdefault("stat", {})
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        node[keys[-1]] = node.get(keys[-1], 0) + 1

    def chat(self, words: list[str]) -> None:
        """The commands that MineDojo sends."""
        command, *rest = words
        here = (self.x, self.y, self.z)
        match command:
            case "/kill" if not rest:
                self.die()
            case "/kill" if "!player" in rest[0]:
                self.mobs = []
            case "/clear":
                self.slots = empty_slots()
            case "/summon":
                self.mobs.append([rest[0].rpartition(":")[2], _relative(rest[1], self.x), _relative(rest[3], self.z), 8])
            case "/setblock":
                cell = tuple(math.floor(_relative(word, base)) for word, base in zip(rest[:3], here, strict=True))
                self.blocks[cell] = rest[3].rpartition(":")[2]
            case "/spreadplayers":
                reach, angle = float(rest[3]), (self.ticks * 0.7) % 6.28
                self.x, self.z = _relative(rest[0], self.x) + reach * math.cos(angle), _relative(rest[1], self.z) + reach * math.sin(angle)
            case "/tp":
                rest = rest[1:] if rest[0].startswith("@") else rest
                self.x, self.y, self.z = (_relative(word, base) for word, base in zip(rest[:3], here, strict=True))
                if len(rest) > 4:
                    self.yaw, self.pitch = _relative(rest[3], self.yaw), _relative(rest[4], self.pitch)
            case "/replaceitem":
                kind, name = re.match(r"slot\.(\w+)\.(\w+)", rest[2]).groups()
                slot = SLOT_NAMES[name] if name in SLOT_NAMES else int(name) + (9 if kind == "inventory" else 0)
                item = rest[3].rpartition(":")[2]
                self.slots[slot] = ["air", 0, 0] if item == "air" else [item, int(rest[5]), int(rest[4])]

    def _craft(self, item: str, *, by_hand: bool) -> None:
        if item == "none" or not (by_hand or self.near(self.tables)):
            return
        for recipe in self.crafts.get(item, []):
            needs = recipe["ingredients"]
            if all(self.count(name) >= quantity for name, quantity in needs.items()) and (recipe["recipeSize"] <= 4 or not by_hand):
                for name, quantity in needs.items():
                    self.take(name, quantity)
                self.give(item, recipe["outputCount"])
                self.record("craft_item", "minecraft", item)
                return

    def _smelt(self, item: str) -> None:
        fuel = next((name for name in FUELS if self.count(name)), None)
        if item in self.smelts and fuel and self.near(self.furnaces):
            needs = self.smelts[item]["ingredients"]
            if all(self.count(name) >= quantity for name, quantity in needs.items()):
                for name, quantity in (*needs.items(), (fuel, 1)):
                    self.take(name, quantity)
                self.give(item)

    def _equip(self, item: str) -> None:
        index = next((index for index, slot in enumerate(self.slots[:36]) if item != "none" and slot[0] == item), None)
        if index is not None:
            self.slots[0], self.slots[index] = self.slots[index], self.slots[0]

    def _place(self, item: str) -> None:
        hit = self.hit_block(self.direction(), PLACE_REACH) if item != "none" and self.count(item) else None
        if hit and hit[2]:
            self.take(item)
            self.blocks[hit[2]] = item
            {"crafting_table": self.tables, "furnace": self.furnaces}.get(item, set()).add(hit[2])

    def _use(self) -> None:
        hit = self.hit_mob(self.direction(), USE_REACH)
        if hit and hit[0][0] == "cow" and self.held == "bucket":
            self.slots[0] = ["milk_bucket", 0, 1]
            self.record("use_item", "minecraft", "bucket")
        elif hit and hit[0][0] == "sheep" and self.held == "shears":
            self.give("wool")
            self.record("use_item", "minecraft", "shears")

    def _attack(self) -> None:
        mob, block = self.hit_mob(self.direction(), REACH), self.hit_block(self.direction(), REACH)
        if mob:
            self._strike(mob[0])
        elif block and block[0] != "bedrock":
            ticks, tool = HARDNESS.get(block[0], (20, ""))
            done = self.digging[1] + 1 if self.digging[0] == block[1] else 1
            self.digging = (block[1], done)
            faster = 6 if ("pickaxe" in self.held and tool) or ("axe" in self.held and block[0] == "log") else 1
            if done * faster * self.speed >= ticks:
                self._break(block[0], block[1], tool)

    def _strike(self, mob: list) -> None:
        if self.cooling > 0:
            return
        mob[3], self.cooling = mob[3] - SWORDS.get(self.held, 1), 10
        if mob[3] <= 0:
            self.mobs.remove(mob)
            self.record("kill_entity", mob[0])
            for item in MOB_DROPS.get(mob[0], ()):
                self.give(item)

    def _break(self, block: str, cell: tuple, tool: str) -> None:
        self.blocks[cell] = "air"
        self.tables.discard(cell)
        self.furnaces.discard(cell)
        self.digging = (None, 0)
        self.record("mine_block", "minecraft", block)
        better = tool == "stone_pickaxe" and self.held in ("iron_pickaxe", "diamond_pickaxe")
        if not tool or tool in self.held or better:
            self.give(DROPS.get(block, block))

    def _read(self, constants: dict) -> None:
        for recipe in constants["craftingRecipes"]:
            if recipe["ingredients"]:
                self.crafts.setdefault(recipe["outputItemName"], []).append(recipe)
        for recipe in constants["smeltingRecipes"]:
            self.smelts.setdefault(recipe["outputItemName"], recipe)
        for statistic in constants["stats"]:
            node, keys = self._fresh_statistics, statistic["minerl_keys"]
            for key in keys[:-1]:
                if not isinstance(node.get(key), dict):
                    node[key] = {}
                node = node[key]
            node.setdefault(keys[-1], 0)


def empty_slots() -> list[list]:
    return [["air", 0, 0] for _ in range(41)]


def _on(asked: dict[str, str], key: str) -> bool:
    return asked.get(key, "0") not in ("0", "none", "")


def _relative(word: str, base: float) -> float:
    return base + float(word[1:] or 0) if word.startswith("~") else float(word)
