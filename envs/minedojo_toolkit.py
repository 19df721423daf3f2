"""Functions for skills in MineDojo: the card's toolkit (`envs/cards/minedojo.yaml`), for the eight-part action.

Those that return an action are used as `obs, info = yield craft("planks")`; those that take `obs, info` first are generators, used as
`obs, info = yield from walk_to(obs, info, "cow")`, and give back the last `obs, info`. They know only what the agent sees: `info["seen"]`
is the nearest hit of the lidar's rays for every kind of entity and block, so that `rays` has to be on for those that look for something.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt

Info = dict[str, Any]
Action = npt.NDArray[np.int64]
Play = Generator[Action, tuple[Any, Info], tuple[Any, Info]]

DEGREES = 15  # of one step of the view
EYE = 1.62  # blocks above the feet
# As MineDojo numbers them (its ALL_CRAFT_SMELT_ITEMS).
CRAFTS = """
blaze_powder book brick_block carpet carrot_on_a_stick chest_minecart clay crafting_table dye end_bricks end_rod ender_eye
flint_and_steel furnace_minecart glowstone gold_nugget heavy_weighted_pressure_plate hopper_minecart iron_nugget iron_trapdoor leather
lever light_weighted_pressure_plate lit_pumpkin magma magma_cream melon_seeds mossy_cobblestone nether_brick planks pumpkin_seeds
purpur_block purpur_pillar quartz_block red_nether_brick red_sandstone redstone_torch sandstone shears slime_ball snow stick
sticky_piston stone_button stone_pressure_plate stonebrick sugar tnt_minecart torch trapped_chest wheat wooden_button
wooden_pressure_plate wool acacia_boat acacia_door acacia_fence acacia_fence_gate acacia_stairs activator_rail anvil armor_stand arrow
banner beacon bed beetroot_soup birch_boat birch_door birch_fence birch_fence_gate birch_stairs boat bone_block bookshelf bow bowl bread
brewing_stand brick_stairs bucket cake cauldron chest clock coal_block cobblestone_wall comparator compass cookie dark_oak_boat
dark_oak_door dark_oak_fence dark_oak_fence_gate dark_oak_stairs daylight_detector detector_rail diamond_axe diamond_block diamond_boots
diamond_chestplate diamond_helmet diamond_hoe diamond_leggings diamond_pickaxe diamond_shovel diamond_sword dispenser dropper
emerald_block enchanting_table end_crystal ender_chest fence fence_gate fermented_spider_eye fire_charge fishing_rod flower_pot furnace
glass_bottle glass_pane gold_block golden_apple golden_axe golden_boots golden_carrot golden_chestplate golden_helmet golden_hoe
golden_leggings golden_pickaxe golden_rail golden_shovel golden_sword hay_block hopper iron_axe iron_bars iron_block iron_boots
iron_chestplate iron_door iron_helmet iron_hoe iron_leggings iron_pickaxe iron_shovel iron_sword item_frame jukebox jungle_boat
jungle_door jungle_fence jungle_fence_gate jungle_stairs ladder lapis_block lead leather_boots leather_chestplate leather_helmet
leather_leggings map melon_block minecart mushroom_stew nether_brick_fence nether_brick_stairs nether_wart_block noteblock oak_stairs
observer painting paper piston prismarine pumpkin_pie purple_shulker_box purpur_slab purpur_stairs quartz_stairs rabbit_stew rail
red_sandstone_stairs redstone_block redstone_lamp repeater sandstone_stairs sea_lantern shield sign slime snow_layer speckled_melon
spectral_arrow spruce_boat spruce_door spruce_fence spruce_fence_gate spruce_stairs stained_glass stained_glass_pane
stained_hardened_clay stone_axe stone_brick_stairs stone_hoe stone_pickaxe stone_shovel stone_slab stone_slab2 stone_stairs stone_sword
tnt trapdoor tripwire_hook wooden_axe wooden_door wooden_hoe wooden_pickaxe wooden_shovel wooden_slab wooden_sword writable_book
baked_potato brick chorus_fruit_popped coal cooked_beef cooked_chicken cooked_fish cooked_mutton cooked_porkchop cooked_rabbit diamond
emerald glass gold_ingot hardened_clay iron_ingot netherbrick quartz redstone stone
""".split()  # noqa: SIM905  244 lines otherwise
CRAFT = {name: index for index, name in enumerate(CRAFTS)}
SMELTS = CRAFTS[CRAFTS.index("baked_potato") :]
FUNCTIONS = ("none", "use", "drop", "attack", "craft", "equip", "place", "destroy")


def action(
    ahead: int = 0, left: int = 0, jump: int = 0, down: float = 0, right: float = 0, do: str = "none", craft: int = 0, slot: int = 0
) -> Action:
    """Any action: ahead 1 or -1, left 1 or -1, jump 1 (2 sneak, 3 sprint), degrees to look down and to turn right, and one function."""
    turned = [12 + max(-12, min(12, round(degrees / DEGREES))) for degrees in (down, right)]
    return np.array([ahead % 3, left % 3, jump, *turned, FUNCTIONS.index(do), craft, slot])


def craft(item: str) -> Action:
    """Craft or smelt an item, such as "planks" or "iron_ingot"; a table or furnace has to be placed nearby where one is needed."""
    if item not in CRAFT:
        raise ValueError(f"{item!r} can be neither crafted nor smelted")
    return action(do="craft", craft=CRAFT[item])


def smelt(item: str) -> Action:
    """Smelt into an item, such as "iron_ingot" or "cooked_beef": a furnace has to be placed nearby, and fuel (coal, planks, logs) held."""
    if item not in SMELTS:
        raise ValueError(f"{item!r} cannot be smelted; there are: {', '.join(SMELTS)}")
    return craft(item)


def equip(info: Info, item: str) -> Action:
    """Take an item that is held into the hand."""
    return action(do="equip", slot=slot_of(info, item))


def place(info: Info, item: str) -> Action:
    """Place a block that is held onto the block in view; look down at the ground first."""
    return action(do="place", slot=slot_of(info, item))


def slot_of(info: Info, item: str) -> int:
    """The slot that holds an item; an error if none does."""
    if item not in info["slots"]:
        raise ValueError(f"no {item} is held, only {', '.join(info['inventory']) or 'nothing'}")
    return int(info["slots"].index(item))


def count(info: Info, item: str) -> int:
    """How many of an item are held."""
    return int(info["inventory"].get(item, 0))


def nearest(info: Info, name: str) -> dict[str, Any] | None:
    """The nearest hit of that name ("cow", "wood" is a log, "stone"): its distance in blocks, degrees down and to the right; or None."""
    return next((hit for hit in info.get("seen", ()) if hit["name"] == name), None)


def turn_to(hit: dict[str, Any]) -> Action:
    """Turn the view towards a hit, in steps of 15 degrees."""
    return action(down=hit["down"], right=hit["right"])


def look_at(info: Info, x: float, y: float, z: float) -> Action:
    """Turn the view towards a place, such as the middle of a block; info["blocks"] counts from the block one stands in."""
    dx, dy, dz = x - info["x"], y - (info["y"] + EYE), z - info["z"]
    yaw, pitch = np.degrees(np.arctan2(-dx, dz)), np.degrees(np.arctan2(-dy, np.hypot(dx, dz)))
    right = (yaw - info["yaw"] + 180.0) % 360.0 - 180.0
    return action(down=float(pitch - info["pitch"]), right=float(right))


def face(info: Info, name: str) -> Action:
    """Turn the view towards the nearest hit of that name; no turn where none is seen."""
    hit = nearest(info, name)
    return action() if hit is None else turn_to(hit)


def look_for(obs: Any, info: Info, name: str, turns: int = 24) -> Play:
    """Turn on the spot until something of that name is seen, and towards it."""
    for _ in range(turns):
        hit = nearest(info, name)
        if hit is not None:
            obs, info = yield turn_to(hit)
            break
        obs, info = yield action(right=30)
    return obs, info


def walk_to(obs: Any, info: Info, name: str, within: float = 3.0, steps: int = 100) -> Play:
    """Walk towards the nearest of that name until it is within so many blocks; jumps where it does not get on, turns where it sees none."""
    for _ in range(steps):
        hit = nearest(info, name)
        if hit is not None and hit["distance"] <= within:
            break
        before = info["x"], info["z"]
        if hit is None:
            obs, info = yield action(right=30)
            continue
        obs, info = yield action(ahead=1, right=hit["right"], down=hit["down"])
        if np.hypot(info["x"] - before[0], info["z"] - before[1]) < 0.05:
            obs, info = yield action(ahead=1, jump=1)
    return obs, info


def attack_for(obs: Any, info: Info, steps: int) -> Play:
    """Hold the attack on what is in view: a block takes many steps (a log about 60 by hand), an animal several strikes."""
    for _ in range(steps):
        obs, info = yield action(do="attack")
    return obs, info


def words(_obs: Any, info: Info) -> str:
    """The observation in words, for critics."""
    held = ", ".join(f"{quantity} {item}" for item, quantity in info["inventory"].items()) or "nothing"
    near = [name for name in ("table", "furnace") if info[name]]
    seen = ", ".join(f"{hit['name']} {hit['distance']:.1f} away, {hit['right']:+.0f} deg" for hit in info.get("seen", ())[:5])
    said = f"life {info['life']:g}, food {info['food']:g}, at ({info['x']:.1f}, {info['y']:.1f}, {info['z']:.1f}), yaw {info['yaw']:.0f}, "
    said += f"pitch {info['pitch']:.0f}; holds {held}; in hand {info['holding']}"
    said += f"; near a {' and a '.join(near)}" if near else ""
    said += f"; sees {seen}" if seen else ""
    return said + (f"; refused: {info['refused']}" if info["refused"] else "") + ("; died" if info["died"] else "")
