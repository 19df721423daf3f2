"""Minecraft's names, as MineDojo has them, for the things of minetest_game, so that a skill written for one world reads the other."""

from __future__ import annotations

from functools import cache
from typing import Any

from rlgpt.envs.minedojo_toolkit import CRAFT

_WOODS = ("", "jungle", "pine_", "acacia_", "aspen_")
_PLAIN = {
    "default:stick": "stick",
    "rlgpt:crafting_table": "crafting_table",
    "default:furnace": "furnace",
    "default:furnace_active": "furnace",
    "default:cobble": "cobblestone",
    "default:mossycobble": "mossy_cobblestone",
    "default:stone": "stone",
    "default:desert_stone": "stone",
    "default:desert_cobble": "cobblestone",
    "default:desert_sand": "sand",
    "default:silver_sand": "sand",
    "default:coal_lump": "coal",
    "default:iron_lump": "iron_ore",
    "default:gold_lump": "gold_ore",
    "default:copper_lump": "copper_ore",
    "default:tin_lump": "tin_ore",
    "default:steel_ingot": "iron_ingot",
    "default:stone_with_coal": "coal_ore",
    "default:stone_with_iron": "iron_ore",
    "default:stone_with_gold": "gold_ore",
    "default:stone_with_copper": "copper_ore",
    "default:stone_with_tin": "tin_ore",
    "default:stone_with_diamond": "diamond_ore",
    "default:stone_with_mese": "mese_ore",
    "default:coalblock": "coal_block",
    "default:steelblock": "iron_block",
    "default:goldblock": "gold_block",
    "default:diamondblock": "diamond_block",
    "default:brick": "brick_block",
    "default:clay_brick": "brick",
    "default:clay": "clay",
    "default:clay_lump": "clay_ball",
    "default:stonebrick": "stonebrick",
    "default:dirt_with_grass": "grass_block",
    "default:water_source": "water",
    "default:water_flowing": "flowing_water",
    "default:river_water_source": "water",
    "default:river_water_flowing": "flowing_water",
    "default:lava_source": "lava",
    "default:lava_flowing": "flowing_lava",
    "default:ladder_wood": "ladder",
    "default:torch_wall": "torch",
    "default:torch_ceiling": "torch",
    "default:snowblock": "snow",
    "default:snow": "snow_layer",
    "bucket:bucket_empty": "bucket",
    "bucket:bucket_water": "water_bucket",
    "bucket:bucket_river_water": "water_bucket",
    "bucket:bucket_lava": "lava_bucket",
    "ignore": "unseen",
    "air": "air",
    "": "air",
} | {
    f"default:{tool}_{stuff}": f"{name}_{tools}"
    for tool, tools in (("pick", "pickaxe"), ("axe", "axe"), ("shovel", "shovel"), ("sword", "sword"))
    for stuff, name in (("wood", "wooden"), ("stone", "stone"), ("steel", "iron"), ("diamond", "diamond"), ("bronze", "bronze"))
}

# MineDojo's number of a craft: what comes of it here, the first of it that can be made.
CRAFTS: dict[str, tuple[str, ...]] = {
    "planks": ("default:wood", "default:junglewood", "default:pine_wood", "default:acacia_wood", "default:aspen_wood"),
    "stick": ("default:stick",),
    "crafting_table": ("rlgpt:crafting_table",),
    "torch": ("default:torch",),
    "furnace": ("default:furnace",),
    "chest": ("default:chest",),
    "ladder": ("default:ladder_wood",),
    "bucket": ("bucket:bucket_empty",),
    "paper": ("default:paper",),
    "book": ("default:book",),
    "bookshelf": ("default:bookshelf",),
    "sandstone": ("default:sandstone",),
    "stonebrick": ("default:stonebrick",),
    "brick": ("default:clay_brick",),
    "brick_block": ("default:brick",),
    "coal_block": ("default:coalblock",),
    "iron_block": ("default:steelblock",),
    "gold_block": ("default:goldblock",),
    "diamond_block": ("default:diamondblock",),
    "diamond": ("default:diamond",),
    "coal": ("default:coal_lump",),
    "iron_ingot": ("default:steel_ingot",),
    "gold_ingot": ("default:gold_ingot",),
    "glass": ("default:glass",),
    "stone": ("default:stone",),
    "bread": ("farming:bread",),
} | {
    f"{name}_{tools}": (f"default:{tool}_{stuff}",)
    for tool, tools in (("pick", "pickaxe"), ("axe", "axe"), ("shovel", "shovel"), ("sword", "sword"))
    for stuff, name in (("wood", "wooden"), ("stone", "stone"), ("steel", "iron"), ("diamond", "diamond"))
}

# What a begun episode may be given, by these names.
GIVEN = {name: outputs[0] for name, outputs in CRAFTS.items()} | {
    "log": "default:tree",
    "cobblestone": "default:cobble",
    "iron_ore": "default:iron_lump",
    "gold_ore": "default:gold_lump",
    "dirt": "default:dirt",
    "sand": "default:sand",
    "apple": "default:apple",
    "sapling": "default:sapling",
    "water_bucket": "bucket:bucket_water",
    "lava_bucket": "bucket:bucket_lava",
}

# Kinds of blocks whose places are remembered once they were seen, with what belongs to them.
KINDS: dict[str, tuple[str, ...]] = {
    "log": ("group:tree",),
    "coal_ore": ("default:stone_with_coal",),
    "iron_ore": ("default:stone_with_iron",),
    "copper_ore": ("default:stone_with_copper",),
    "gold_ore": ("default:stone_with_gold",),
    "diamond_ore": ("default:stone_with_diamond",),
    "water": ("default:water_source", "default:river_water_source"),
    "lava": ("default:lava_source", "default:lava_flowing"),
    "sand": ("default:sand", "default:desert_sand", "default:silver_sand"),
    "gravel": ("default:gravel",),
    "crafting_table": ("rlgpt:crafting_table",),
    "furnace": ("default:furnace", "default:furnace_active"),
}
FUELS = ("default:coal_lump", *(f"default:{wood}wood" for wood in _WOODS), *(f"default:{wood}tree" for wood in _WOODS), "default:stick")

# Where ores lie with `ores: shallow`: one cluster in scarcity ** 3 nodes of stone, of so many within size ** 3, between two heights.
SHALLOW = (
    {"node": "default:stone_with_coal", "scarcity": 8, "count": 8, "size": 3, "top": 64, "bottom": -200},
    {"node": "default:stone_with_iron", "scarcity": 9, "count": 6, "size": 3, "top": 0, "bottom": -200},
    {"node": "default:stone_with_gold", "scarcity": 13, "count": 4, "size": 3, "top": -32, "bottom": -200},
    {"node": "default:stone_with_diamond", "scarcity": 13, "count": 4, "size": 3, "top": -32, "bottom": -200},
)


@cache
def plain(name: str) -> str:
    """The name that skills know a node or item of the game by."""
    if name in _PLAIN:
        return _PLAIN[name]
    bare = name.rpartition(":")[2]
    if name.startswith("default:"):
        if bare.startswith("dirt_with_") or bare == "dry_dirt_with_dry_grass":
            return "grass_block"
        if bare.endswith("tree"):
            return "log"
        if bare.endswith("wood"):
            return "planks"
        for ending in ("leaves", "needles", "sapling"):
            if bare.endswith(ending) and "bush" not in bare:
                return "sapling" if ending == "sapling" else "leaves"
    return bare or name


def settings(ores: str, camera: float, table: bool, furnace: bool, xray: bool, probe: bool) -> dict[str, Any]:
    """What the mod is told when it starts."""
    kinds = list(KINDS)
    return {
        "kinds": [list(members) for members in KINDS.values()],
        "near": {"table": kinds.index("crafting_table") + 1, "furnace": kinds.index("furnace") + 1},
        "crafts": {str(CRAFT[name]): list(outputs) for name, outputs in CRAFTS.items() if name in CRAFT},
        "fuels": list(FUELS),
        "ores": ores,
        "shallow": list(SHALLOW),
        "camera": camera,
        "table": table,
        "furnace": furnace,
        "xray": xray,
        "probe": probe,
    }
