"""A scenario of our own with hand-written answers beside it: whole runs offline, of a small deterministic task with two stages."""

import json
from pathlib import Path
from typing import Any

import yaml

ENVIRONMENT = '''
import gymnasium
import numpy as np
from gymnasium import spaces


class KeyDoor(gymnasium.Env):
    """A corridor: the key lies 2 or 3 cells to the left, for one seed in four far away; the door is 3 cells to the right.

    Actions: 0 left, 1 right. Observation: [cell, holding the key, steps]. Through the door with the key the episode ends with +1.
    """

    observation_space = spaces.Box(-100.0, 100.0, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.has, self.t = 0, 0, 0
        self.key = -60 if self.np_random.integers(4) == 0 else -2 - int(self.np_random.integers(2))
        return self._obs(), {}

    def step(self, action):
        self.at += 1 if int(action) == 1 else -1
        self.t += 1
        self.has = int(self.has or self.at == self.key)
        out = bool(self.has and self.at >= 3)
        return self._obs(), float(out), out, False, {}

    def _obs(self):
        return np.array([self.at, self.has, self.t], np.float32)


gymnasium.register("KeyDoor-v0", KeyDoor, max_episode_steps=40)
'''

TASK: dict[str, Any] = {
    "name": "key_door",
    "goal": "Fetch the key and go out through the door.",
    "success": "terminated",
    "environment": {"id": "keydoor:KeyDoor-v0", "actions": ["left", "right"], "observations": ["cell", "key", "time"]},
    "critic": {"enabled": False},
    "loops": {"trial_episodes": 1, "skill_steps": 10, "practice": 8, "attempts": 2, "plans": 1},
    "trainer": {"env_steps": 512, "rollout": 16, "environments": 4, "device": "cpu", "batch_size": 32},
    "evaluation": {"episodes": 12, "target": 0.6},
    "processes": {"workers": 1},
}
STAGES = [
    {"name": "fetch_key", "goal": "Fetch the key.", "success": "obs[1] > 0"},
    {"name": "leave", "goal": "Go out through the door with the key.", "success": "terminated"},
]
GO_LEFT = "def go_left(obs, info):\n    for _ in range(8):\n        if obs[1] > 0:\n            return\n        obs, info = yield 0\n"
GO_RIGHT = "def go_right(obs, info):\n    while obs[0] < 3:\n        obs, info = yield 1\n"


def calling(name: str) -> str:
    """A controller that calls one skill once, and then stays where it is."""
    stays = "    while True:\n        obs, info = yield 0\n        obs, info = yield 1\n"
    return f"def controller(obs, info):\n    yield from {name}(obs, info)\n{stays}"


def sub_action(name: str, success: str, **more: str) -> dict[str, str]:
    return {"name": name, "purpose": f"{name} until it is done", "mode": "code", "success": success, "reason": "a fixed route", **more}


def plan(*sub_actions: dict[str, str]) -> dict[str, Any]:
    return {"rationale": "one routine", "sub_actions": list(sub_actions)}


def skill(source: str, **more: str | None) -> dict[str, Any]:
    return {"explanation": "as the purpose says", "source": source, **more}


def set_up(*skills: str, shaping: str = "") -> dict[str, Any]:
    return {"primitives": [], "skills": list(skills), "shaping": shaping, "ppo": None, "reason": "it helps"}


def write_scenario(folder: Path, answers: dict[str, Any], **changes: Any) -> Path:
    """A scenario folder `folder`/task with these answers by key; the environment's module lies in `folder`, where the run is launched."""
    (folder / "keydoor.py").write_text(ENVIRONMENT)
    place = folder / "task"
    place.mkdir(exist_ok=True)
    fields = dict(TASK)
    for name, value in changes.items():
        fields[name] = {**fields[name], **value} if isinstance(value, dict) and name in fields else value
    (place / "scenario.yaml").write_text(yaml.safe_dump(fields, sort_keys=False))
    said = {"model": "hand-written", "outcome": "answered", "question": "", "question_sha256": "", "system": ""}
    lines = [{"key": key, "role": key.split("/")[2], **said, "answer": answer} for key, answer in answers.items()]
    (place / "transcript.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return place
