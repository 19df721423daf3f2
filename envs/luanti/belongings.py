"""What the agent holds and can do with it, as the mod tells it when it changes."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np

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
        """From the mod's JSON."""
        told = json.loads(text)
        self.slots = [plain(name) for name, _, _ in told["slots"]]
        held: Counter[str] = Counter()
        for name, (_, count, _) in zip(self.slots, told["slots"], strict=True):
            if count:
                held[name] += int(count)
        self.inventory = dict(held)
        self.craftable = [int(number) for number in told.get("craftable") or ()]
        self.durability = 1.0 - float(told["slots"][0][2]) / _WEAR
        self.counts = np.zeros(len(ITEMS), np.int32)
        for name, count in self.inventory.items():
            if name in _PLACE:
                self.counts[_PLACE[name]] = count
        something, hand = bool(held), self.slots[0] != "air"
        self.functions = np.array([1, hand, hand, 1, bool(self.craftable), something, something, something], np.int8)
        self.have = ", ".join(f"{count} {name}" for name, count in self.inventory.items()) or "nothing"

    def masks(self, crafts: int) -> dict[str, list[int]]:
        """MineDojo's masks, as lists of 0 and 1: `action_type` [8], `craft_smelt` [crafts], `equip`, `place`, `destroy` [36]."""
        craft = [0] * crafts
        for number in self.craftable:
            craft[number] = 1
        full = [int(name != "air") for name in self.slots]
        return {"action_type": self.functions.tolist(), "craft_smelt": craft, "equip": full, "place": full, "destroy": full}
