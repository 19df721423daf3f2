"""A place of our own in the air: a floor of stone at y = 0 of the arena, air above it, and the agent on its middle, looking south."""

from __future__ import annotations

NOOP = [0, 0, 0, 12, 12, 0, 0, 0]
AHEAD, JUMP, SNEAK, SPRINT = [1, *NOOP[1:]], [0, 0, 1, *NOOP[3:]], [1, 0, 2, *NOOP[3:]], [1, 0, 3, *NOOP[3:]]
ATTACK, USE = [*NOOP[:5], 3, 0, 0], [*NOOP[:5], 1, 0, 0]
DOWN = [0, 0, 0, 18, 12, 0, 0, 0]  # 90 degrees


class Arena:
    """Blocks are (east, up, south) of the block under the agent's feet at the beginning; the agent stands in (0, 1, 0)."""

    def __init__(self, env, seed: int = 3) -> None:
        self.env = env
        self.obs, self.info = env.reset(seed=seed)
        env.probe("""
            rl.arena = {x = math.floor(agent.x + 0.5), y = math.floor(agent.y + 0.5) + 14, z = math.floor(agent.z + 0.5)}
            for x = -9, 9 do for z = -9, 9 do for y = -12, 9 do
                local at = {x = rl.arena.x + x, y = rl.arena.y + y, z = rl.arena.z + z}
                local node = y == 0 and "default:stone" or "air"
                if minetest.get_node(at).name ~= node then minetest.set_node(at, {name = node}) end
            end end end
            agent.x, agent.y, agent.z, agent.vy = rl.arena.x, rl.arena.y + 0.5, rl.arena.z, 0
        """)
        self.step(NOOP)

    def step(self, action, times: int = 1):
        """The last info."""
        for _ in range(times):
            self.obs, self.reward, self.ended, _, self.info = self.env.step(action)
            if self.ended:
                break
        return self.info

    def put(self, name: str, *places) -> None:
        for east, up, south in places:
            self.env.probe(
                f"minetest.set_node({{x = rl.arena.x + {east}, y = rl.arena.y + {up}, z = rl.arena.z - {south}}}, {{name = '{name}'}})"
            )

    def name_at(self, east: int, up: int, south: int) -> str:
        return self.env.probe(
            f"return minetest.get_node({{x = rl.arena.x + {east}, y = rl.arena.y + {up}, z = rl.arena.z - {south}}}).name"
        )

    def stand(self, east: float, up: float, south: float) -> None:
        """The agent's feet on the top of (east, up - 1, south)."""
        self.env.probe(f"agent.x, agent.y, agent.z = rl.arena.x + {east}, rl.arena.y + {up - 0.5}, rl.arena.z - {south}; agent.vy = 0")

    def give(self, item: str, count: int = 1, slot: int = 0) -> None:
        """`item` of the game into a slot."""
        self.env.probe(f"agent.bag:set_stack('main', {slot + 1}, ItemStack('{item} {count}')); agent.bag_changed = true")
        self.step(NOOP)

    @property
    def at(self) -> tuple[float, float, float]:
        """Where the agent is, from the middle of the block under it at the beginning."""
        return tuple(
            float(part)
            for part in self.env.probe(
                "return (agent.x - rl.arena.x) .. ' ' .. (agent.y - rl.arena.y + 0.5) .. ' ' .. (rl.arena.z - agent.z)"
            ).split()
        )
