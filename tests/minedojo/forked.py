"""For hosts in tests: MineDojo with what MCEnv adds to its resets, after MCEnv's own signatures. `forked:make`.

It tells what it was given; the game itself is not moved otherwise than by MineDojo.
"""

from __future__ import annotations

from typing import Any

import gym


def make(**kwargs: Any) -> Any:
    import minedojo
    import minedojo.tasks as tasks
    from rlgpt_hosting.minedojo import MineDojo

    inner = tasks.MetaTaskName2Class["harvest"]
    given: list[Any] = []

    class Harvest(inner):  # type: ignore[misc,valid-type]
        def __init__(
            self,
            *,
            fast_reset_random_teleport_range_high: int | None = None,
            fast_reset_random_teleport_range_low: int | None = None,
            target_names: Any,
            target_quantities: Any,
            specified_biome: Any = None,
            initial_inventory: Any = None,
            initial_mobs: Any = None,
            initial_mob_spawn_range_low: Any = None,
            initial_mob_spawn_range_high: Any = None,
            image_size: Any,
            fast_reset: bool = True,
            world_seed: str | None = None,
            use_voxel: bool = False,
            voxel_size: Any = None,
        ) -> None:
            given[:] = [fast_reset_random_teleport_range_low, fast_reset_random_teleport_range_high]
            taken = {key: value for key, value in locals().items() if key not in ("self", "__class__") and "teleport" not in key}
            super().__init__(**{key: value for key, value in taken.items() if key not in ("inner", "given")})

    class Moved(gym.Wrapper):  # type: ignore[misc]
        """MCEnv's reset takes `move_flag`."""

        def reset(self, move_flag: bool = True) -> Any:
            given[2:] = [move_flag]
            return self.env.reset()

    tasks.MetaTaskName2Class["harvest"] = Harvest
    real = minedojo.make
    minedojo.make = lambda *args, **more: Moved(real(*args, **more))

    class Told(MineDojo):
        def reset(self, *, seed: int | None = None) -> Any:
            obs, info = super().reset(seed=seed)
            return obs, {**info, "fork": list(given)}

    return Told(**kwargs)
