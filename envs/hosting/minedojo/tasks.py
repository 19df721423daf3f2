"""The paper's tasks (RL-GPT, arXiv 2402.19299), in terms of MineDojo's own `harvest` and `open-ended` tasks.

A `harvest` task is made from its parts, not by its id: the ids of techtree tasks count a tool as got only when it was used, and PyPI's
0.1 spoils its table of ids when the same is made twice in one process. Biomes, beginnings and horizons follow Plan4MC's
`hard_task_conf.yaml` and, for milk and wool, the RL-GPT repository, as noted from their sources; the paper's own could not be checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PLAINS, FOREST, HILLS, FOREST_HILLS = "plains", "forest", "extreme_hills", "forest_hills"


@dataclass(frozen=True)
class Task:
    """One task.

    item       inventory item that ends it, "" for none
    count      how many of it
    near       `table` or `furnace`: to be placed, in reach and in view
    biome      where it begins
    inventory  what it begins with, item: quantity; the first goes into the hand
    mobs       animals that are there at the beginning
    """

    item: str = ""
    count: int = 1
    near: str = ""
    biome: str = PLAINS
    inventory: dict[str, int] = field(default_factory=dict)
    mobs: tuple[str, ...] = ()


TASKS: dict[str, Task] = {
    "log": Task("log", biome=FOREST),
    "stick": Task("stick"),
    "crafting_table_nearby": Task(near="table"),
    "wooden_pickaxe": Task("wooden_pickaxe", biome=FOREST),
    "furnace_nearby": Task(near="furnace", biome=HILLS, inventory={"log": 10}),
    "stone_pickaxe": Task("stone_pickaxe", biome=FOREST_HILLS, inventory={"wooden_pickaxe": 1}),
    "milk": Task("milk_bucket", inventory={"bucket": 1}, mobs=("cow",)),
    "wool": Task("wool", inventory={"shears": 1}, mobs=("sheep",)),
    "beef": Task("beef", inventory={"diamond_sword": 1}, mobs=("cow",)),
    "mutton": Task("mutton", inventory={"diamond_sword": 1}, mobs=("sheep",)),
    "bed": Task("bed", inventory={"crafting_table": 1, "shears": 1}, mobs=("sheep", "sheep", "sheep")),
    "diamond": Task("diamond", biome=FOREST_HILLS),
}


def arguments(task: Task, stack: Any) -> tuple[str, dict[str, Any]]:
    """(MineDojo's meta task, its arguments). `stack` makes MineDojo's InventoryItem."""
    given: dict[str, Any] = {"generate_world_type": "specified_biome"} if task.near else {}
    given["specified_biome"] = task.biome
    if task.inventory:
        given["initial_inventory"] = [
            stack(slot="mainhand" if slot == 0 else slot, name=name, variant=None, quantity=count)
            for slot, (name, count) in enumerate(task.inventory.items())
        ]
    if task.near:
        return "open-ended", given
    given.update(target_names=task.item, target_quantities=task.count)
    if task.mobs:
        reach = {"initial_mobs": list(task.mobs), "initial_mob_spawn_range_low": (-7, 1, -7), "initial_mob_spawn_range_high": (7, 1, 7)}
        given.update(reach)
    return "harvest", given
