"""What the environment's arguments may be. Raises ValueError, which names the argument, its value and what is expected."""

from __future__ import annotations

from collections.abc import Mapping

from rlgpt.envs.luanti import names, wire

CHOICES = {
    "action": ("full", "reduced"),
    "reward": ("milestones", "sparse"),
    "ores": ("shallow", "stock"),
    "daylight": ("day", "night", "cycle"),
}


def check_choices(chosen: Mapping[str, str], voxels: int) -> None:
    """Of each argument in CHOICES one of its words; of `voxels` a radius that the cube has."""
    for name, value in chosen.items():
        if value not in CHOICES[name]:
            *others, last = CHOICES[name]
            raise ValueError(f"{name} {value!r}: expected {', '.join(others)} or {last}")
    if not 0 <= voxels <= wire.HEIGHT:
        raise ValueError(f"voxels {voxels}: a radius from 0 to {wire.HEIGHT}")


def given(inventory: Mapping[str, int]) -> list[tuple[str, int]]:
    """The game's names of what an episode begins with, and how many of each."""
    unknown = [name for name in inventory if name not in names.GIVEN]
    if unknown:
        raise ValueError(f"inventory: nobody knows {', '.join(unknown)}; there are {', '.join(names.GIVEN)}")
    return [(names.GIVEN[name], number) for name, number in inventory.items()]
