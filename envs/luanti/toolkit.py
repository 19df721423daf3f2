"""Functions for skills in Luanti: the card's toolkit (`envs/cards/luanti.yaml`), for the eight-part action.

Those that return an action are used as `obs, info = yield craft("planks")`; those that take `obs, info` first are generators, used as
`obs, info = yield from dig_block(obs, info, block)`, and give back the last `obs, info`. They know only what the agent has seen. A place is
a block's corner (x, y, z) of whole numbers: x east, y up, z south; the agent stands in `here(info)`.
"""

from __future__ import annotations

from typing import Any

from rlgpt.envs.luanti.acting import action, centre, craft, equip, look_around, look_at, noop, place, step_into, turn_to, walk_to
from rlgpt.envs.luanti.digging import descend, dig_block, dig_down, dig_towards, gather, set_down, tunnel
from rlgpt.envs.luanti.glimpse import glimpse
from rlgpt.envs.luanti.knowing import (
    Info,
    best_pickaxe,
    block_at,
    can_craft,
    count,
    distance,
    here,
    in_reach,
    is_free,
    near,
    nearest,
    places,
    slot_of,
)


def words(_obs: Any, info: Info) -> str:
    """The observation in words, for critics."""
    said = (
        f"life {info['life']:g}, at ({info['x']:.1f}, {info['y']:.1f}, {info['z']:.1f}), yaw {info['yaw']:.0f}, pitch {info['pitch']:.0f}; "
    )
    said += f"holds {info['have']}; in hand {info['holding']}; looks at {info['pointed'] or 'nothing in reach'}"
    near = [name for name in ("table", "furnace") if info[name]]
    said += f"; near a {' and a '.join(near)}" if near else ""
    known = [f"{name} {distance(info, tuple(found[0])):.0f} away" for name, found in info["found"].items() if found]
    said += f"; knows of {', '.join(known)}" if known else ""
    said += f"; new: {info['new']}" if info["new"] else ""
    return said + (f"; refused: {info['refused']}" if info["refused"] else "") + ("; died" if info["died"] else "")


# What skills may call, in the order in which the card tells of it.
TOOLKIT = (
    action,
    noop,
    craft,
    can_craft,
    equip,
    place,
    slot_of,
    count,
    here,
    block_at,
    is_free,
    nearest,
    places,
    near,
    distance,
    in_reach,
    turn_to,
    look_at,
    look_around,
    walk_to,
    centre,
    step_into,
    best_pickaxe,
    dig_block,
    dig_down,
    dig_towards,
    descend,
    tunnel,
    gather,
    set_down,
    words,
    glimpse,
)
