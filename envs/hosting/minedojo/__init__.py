"""MineDojo 0.1 (Minecraft 1.11.2) for hosts: environment id `hosted.minedojo:MineDojo`. Runs in its own venv: numpy, gym 0.21, minedojo.

environment.py   starting, resetting, stepping, and everything that goes wrong with Java
observations.py  typed arrays for a learner, facts for skills
actions.py       the eight-part action and the reduced one
tasks.py         the paper's tasks
resets.py        fast resets, also MCEnv's, and the commands given at them
clip.py          MineCLIP's reward
"""

from typing import Any

import yaml

# MineDojo reads the YAML of 3,131 tasks when it is imported, which takes seconds; libyaml's parser, where there is one, halves them.
_yaml: Any = yaml
_safe, _yaml.SafeLoader = _yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)
try:
    from .environment import MineDojo
finally:
    _yaml.SafeLoader = _safe

__all__ = ["MineDojo"]
