"""Crafter (Hafner 2021) for agents that write skills: importing this registers `rlgpt/CrafterSymbolic-v0` and `rlgpt/CrafterPixels-v0`."""

import gymnasium

from rlgpt.envs.crafter.rules import LENGTH

gymnasium.register("rlgpt/CrafterSymbolic-v0", "rlgpt.envs.crafter.environment:CrafterSymbolic", max_episode_steps=LENGTH)
gymnasium.register("rlgpt/CrafterPixels-v0", "rlgpt.envs.crafter.environment:CrafterPixels", max_episode_steps=LENGTH)
