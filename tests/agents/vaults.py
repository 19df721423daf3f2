"""A vault that chance does not open, registered when this module is imported: `vaults:Vault-v0`."""

import gymnasium
from gymnasium import spaces

CODE = (2, 0, 3, 1, 1, 0, 2, 3)


class Vault(gymnasium.Env):
    """Eight dials in a row, four actions: the right one goes on to the next dial, any other back to the first. Only the end is rewarded."""

    observation_space = spaces.Discrete(len(CODE) + 1)
    action_space = spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.dial = 0
        return self.dial, {}

    def step(self, action):
        self.dial = self.dial + 1 if action == CODE[self.dial] else 0
        opened = self.dial == len(CODE)
        return self.dial, float(opened), opened, False, {}


gymnasium.register("Vault-v0", entry_point=Vault, max_episode_steps=40)
