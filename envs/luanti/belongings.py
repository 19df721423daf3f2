"""What the agent holds and can do with it, as the mod tells it when it changes."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import numpy.typing as npt

from rlgpt.envs.luanti.actions import FULL
from rlgpt.envs.luanti.names import plain

SLOTS = 36
# Whose numbers a learner sees, those of rlgpt's MineDojo; skills see everything, in info["inventory"].
ITEMS = (
    *(
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
    ),
    *(
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
    ),
    *("beef", "mutton", "porkchop", "leather", "diamond", "diamond_sword", "diamond_pickaxe", "dirt", "sapling", "apple"),
)
_PLACE = {name: i for i, name in enumerate(ITEMS)}
REFUSED = {
    -1: "nothing is in reach",
    -2: "that slot is empty",
    -3: "that item cannot be used or placed so",
    -4: "what it needs is not held",
    -5: "no crafting table is near",
    -6: "no furnace is near",
    -7: "there is no fuel",
    -8: "there is no room for it",
    -9: "the tool in hand cannot dig that",
    -10: "the agent stands there",
}
_WEAR = 65536


class Belongings:
    """slots      names of what is in the 36 slots, the first in the hand, "air" if empty
    inventory     how many of each item
    craftable     MineDojo's numbers of what can be crafted or smelted here and now
    counts        [32] int32, of ITEMS
    functions     [8] int8, whether each function could do something
    durability    of the tool in the hand, 1 when it is new; 1 for what does not wear
    """

    def __init__(self, text: bytes) -> None:
        """From the mod's lines: slot, item, count and wear of each slot that is not empty; then `craftable` and its numbers."""
        *lines, craftable = text.decode().split("\n")
        self.slots = ["air"] * SLOTS
        self.inventory: dict[str, int] = {}
        self.durability = 1.0
        for line in lines:
            number, item, held, wear = line.split(" ")
            name = plain(item)
            self.slots[int(number)] = name
            self.inventory[name] = self.inventory.get(name, 0) + int(held)
            if number == "0":
                self.durability = 1.0 - int(wear) / _WEAR
        self.craftable = [int(number) for number in craftable.split(" ")[1:] if number]
        self.counts = np.zeros(len(ITEMS), np.int32)
        for name, count in self.inventory.items():
            if name in _PLACE:
                self.counts[_PLACE[name]] = count
        something, hand = bool(self.inventory), self.slots[0] != "air"
        self.functions = np.array([1, hand, hand, 1, bool(self.craftable), something, something, something], np.int8)
        self.have = ", ".join(f"{count} {name}" for name, count in self.inventory.items()) or "nothing"

    def masks(self, blocks: Container[str]) -> dict[str, npt.NDArray[np.int8]]:
        """Which crafts and slots would work, under the names of rlgpt's MineDojo; `blocks` are the names of what can be placed."""
        crafts = np.zeros(FULL[6], np.int8)
        crafts[self.craftable] = 1
        full = np.array([name != "air" for name in self.slots], np.int8)
        placed = np.array([name != "air" and name in blocks for name in self.slots], np.int8)
        return {"can_craft": crafts, "can_equip": full, "can_place": placed, "can_destroy": full.copy()}
