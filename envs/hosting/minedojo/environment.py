"""MineDojo behind one interface: `reset(seed=)` and a step of five values, with every surprise recovered from or reported.

- Java that crashed, dropped its socket or ended the mission makes MineDojo's `step` return (the last observation, 0, done) as if the
  episode had ended. Here that raises GameLost, and the next reset makes a new mission, or a new Java process if the old one is gone.
- A Java that hangs is the business of the process that holds this environment (slot.py): it has deadlines, MineDojo has none.
- Death does not end MineDojo's episodes: the player respawns elsewhere with nothing. Here it ends them.
- MineDojo raises errors for slots that are empty; here such an action does nothing, and info["refused"] says why.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from typing import Any

import minedojo
import numpy as np
from gym import spaces
from minedojo.sim import InventoryItem

from . import actions, resets
from .clip import ClipReward
from .observations import Observer, inventory, lidar
from .tasks import TASKS, Task, arguments

SETTLE = 4  # no-ops after a reset: what the game's server does shows a step or more later
LAUNCHES = 2  # Java processes tried at one reset


class GameLost(RuntimeError):
    """The game's side is gone; the episode cannot go on, the next one can."""


class MineDojo:
    """One task.

    task           a name of `tasks.TASKS`
    action         `full` (eight parts) or `reduced` ([12, 3])
    size           height and width of pictures
    pictures       whether observations hold them
    voxels         radius of the cube of blocks around the agent that is seen, 0 for none
    rays           lidar rays across the view, 0 for none
    masks          observations hold what can be crafted, equipped, placed and destroyed now
    fast_reset     go on in the same world, somewhere else, instead of making a new one (minutes)
    teleport       [nearest, farthest] blocks that a fast reset moves the player; None: as MineDojo does, 200 at most
    teleport_every a fast reset moves it only every so often; needs the fork MCEnv, and so does a nearest distance
    commands       given to the game at resets: a name of `resets.COMMANDS`, or lists of `before` and `after`
    clip           MineCLIP's reward beside the task's: `weights`, `prompt` and others of `clip.ClipReward`; None: not
    world_seed     of Minecraft's own generator
    port           of a Malmo client that runs already; None starts one at the first reset
    overrides      further arguments of MineDojo's task, such as break_speed_multiplier
    """

    def __init__(
        self,
        task: str = "milk",
        *,
        action: str = "full",
        size: tuple[int, int] = (160, 256),
        pictures: bool = True,
        voxels: int = 1,
        rays: int = 0,
        masks: bool = False,
        fast_reset: bool = True,
        teleport: Sequence[int] | None = None,
        teleport_every: int = 1,
        commands: str | dict[str, Any] = "rl-gpt",
        clip: dict[str, Any] | None = None,
        world_seed: str | None = None,
        port: int | None = None,
        overrides: dict[str, Any] | None = None,
    ) -> None:
        if task not in TASKS:
            raise ValueError(f"no task {task!r}; there are: {', '.join(TASKS)}")
        if action not in ("full", "reduced"):
            raise ValueError(f"action {action!r}: expected full or reduced")
        self.task: Task = TASKS[task]
        self._meta, self._arguments = arguments(self.task, InventoryItem)
        self._arguments.update(image_size=tuple(size), fast_reset=fast_reset, world_seed=world_seed, **(overrides or {}))
        if voxels:
            self._arguments.update(
                use_voxel=True, voxel_size={f"{axis}{end}": sign * voxels for axis in "xyz" for end, sign in (("min", -1), ("max", 1))}
            )
        if rays:
            self._arguments.update(use_lidar=True, lidar_rays=lidar(rays))
        self._port, self._fast_reset, self._teleport = port, fast_reset, teleport
        self._commands, self._moves = resets.commands(commands), resets.Moves(teleport_every)
        self._clip = ClipReward(**clip) if clip is not None else None
        self._observer = Observer((int(size[0]), int(size[1])), pictures, voxels, bool(rays), masks)
        self.observation_space = self._observer.space
        self.action_space = spaces.MultiDiscrete(actions.FULL if action == "full" else actions.REDUCED)
        self._env: Any = None
        self._lost = False
        self._deaths = 0
        self._masks: Any = None
        self._bag: dict[str, int] = {}

    def reset(self, *, seed: int | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode. `seed` seeds MineDojo's own draws; the game's world and its animals have no seed here."""
        problem: Exception | None = None
        for _ in range(LAUNCHES):
            try:
                return self._begin(seed)
            except Exception as error:  # MineDojo raises RuntimeError, EOFError, OSError, AssertionError and others for a game that is gone
                problem = error
                self.close()
        raise GameLost(f"Minecraft did not come up in {LAUNCHES} launches: {type(problem).__name__}: {str(problem)[-1500:]}") from problem

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Raises GameLost where MineDojo would pretend that the episode had ended."""
        if self._env is None or self._lost:
            raise GameLost("there is no game; reset comes first")
        parts = actions.full(action)
        refused = actions.possible(parts, self._masks)
        if refused:
            parts[5:] = 0
        crafts, before = int(parts[5]) == actions.CRAFT, self._bag
        obs, _, _, inner = self._env.step(parts)
        if self._env.unwrapped.is_terminated:
            self._lost = True
            raise GameLost("Minecraft ended the mission, crashed, or closed its connection; MineDojo does not say which")
        self._masks, self._bag = obs["masks"], inventory(obs)
        # Its mask may lag behind the game, so that a craft is tried in any case, and what came of it is told.
        if crafts and self._bag == before:
            refused = f"craft {int(parts[6])}: nothing came of it; what it needs is not held, or no table or furnace is near and in view"
        died = self._deaths_of(inner) > self._deaths or float(np.ravel(obs["life_stats"]["life"])[0]) <= 0 or bool(inner.get("is_dead"))
        success = not died and self._succeeded(obs)
        info = {**self._observer.facts(obs), "success": success, "died": died, "refused": refused}
        reward = float(success)
        if self._clip is not None:
            info["clip"] = self._clip(obs["rgb"])
            reward += info["clip"]
        return self._observer.arrays(obs), reward, success or died, False, info

    def render(self) -> Any:
        """The last picture, [height, width, 3] uint8; None before the first reset."""
        return None if self._env is None else np.ascontiguousarray(np.moveaxis(self._env.unwrapped.prev_obs["rgb"], 0, -1), np.uint8)

    def close(self) -> None:
        """End the game."""
        env, self._env = self._env, None
        if env is not None:
            with contextlib.suppress(Exception):  # what cannot be closed is killed with this process
                env.close()

    def _begin(self, seed: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
        if self._env is None:
            self._env = self._launch()
        elif self._lost:
            self._anew()
        elif self._fast_reset:
            self._tell(self._commands.before)
        self._lost = False
        if seed is not None:
            self._env.unwrapped.seed(seed)
        obs = self._env.reset(**self._moves.arguments(self._env.reset))
        self._tell(self._commands.after)
        noop = np.array(actions.NOOP)
        for _ in range(SETTLE):
            obs, _, _, inner = self._env.step(noop)
            if self._env.unwrapped.is_terminated:
                raise GameLost("Minecraft was gone right after the reset")
        if self._clip is not None:
            self._clip.reset()
        self._deaths, self._masks, self._bag = self._deaths_of(inner), obs["masks"], inventory(obs)
        return self._observer.arrays(obs), {**self._observer.facts(obs), "success": False, "died": False, "refused": ""}

    def _tell(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._env.unwrapped.execute_cmd(line)
            if self._env.unwrapped.is_terminated:
                raise GameLost(f"Minecraft was gone at the command {line}")

    def _launch(self) -> Any:
        if self._port is not None:
            from minedojo.sim.bridge.mc_instance import InstanceManager

            InstanceManager.add_existing_instance(self._port)
        known = _parameters(self._meta)
        self._arguments.update(resets.teleport(self._teleport, known or (resets.RANGE,)))
        unknown = [name for name in self._arguments if known and name not in known]
        if unknown:
            raise ValueError(f"this MineDojo's {self._meta} task does not take {', '.join(unknown)}; it takes {', '.join(sorted(known))}")
        return minedojo.make(self._meta, **self._arguments)

    def _anew(self) -> None:
        """Have the next reset make a new mission: a fast reset would talk to one that has ended."""
        layer = self._env
        while layer is not None:
            if "_server_start" in vars(layer):
                layer._server_start = False
            layer = vars(layer).get("env")

    def _succeeded(self, obs: Any) -> bool:
        if self.task.near:
            return bool(np.ravel(obs["nearby_tools"][self.task.near])[0])
        return self._bag.get(self.task.item, 0) >= self.task.count

    @staticmethod
    def _deaths_of(info: Any) -> int:
        return int(info.get("stat", {}).get("deaths", 0))


def _parameters(meta: str) -> list[str]:
    """What a meta task takes: forks take more than MineDojo's own. Empty where it takes anything."""
    from minedojo.tasks import MetaTaskName2Class

    found = inspect.signature(MetaTaskName2Class[meta].__init__).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in found):
        return []
    return [*(parameter.name for parameter in found if parameter.name != "self"), *(["fast_reset"] if meta == "open-ended" else [])]
