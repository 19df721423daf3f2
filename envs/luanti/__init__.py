"""Luanti (Minetest) as a 3D world like MineDojo's, without Java, window or GPU: importing this registers `rlgpt/Luanti-v0`.

environment.py  Gymnasium                          server.py      the stock server, started, watched and ended
actions.py      eight parts, or two                wire.py        what travels to it and back
names.py        Minecraft's names for its things   belongings.py  what is held, and what can be done with it
sight.py        what was seen, for skills          pictures.py    textured pictures
toolkit.py      functions for skills               knowing.py, acting.py, digging.py: of which it is made
arguments.py    what may be asked for              mod/           the mod in the server: the agent itself
"""

import gymnasium

LENGTH = 12_000  # ticks of 1/20 s: ten minutes

gymnasium.register("rlgpt/Luanti-v0", "rlgpt.envs.luanti.environment:Luanti", max_episode_steps=LENGTH)
