"""Surviving zombies at dusk, learned in an arena of its own: short episodes from saved states in which a zombie is near.

    python tests/benchmarks/bench_crafter_arena.py [--folder arena] [--steps 300000] [--states 400] [--held-out 200] [--seed 0]

The states are snapshots of the hand-written controller's own episodes (`crafter_by_hand.py`): dusk or night, in the open, a zombie within
five cells. A network of primitive actions learns there by rlgpt's learner for `--steps` environment steps; its reward is the health it
gains or loses, nothing else. Then it, the controller and standing still begin in the same held-out states, of other worlds. The table has
what each loses of health in an episode, with 95 % intervals of the paired differences to the controller (normal approximation).
`--folder` keeps the states, the policy and, as `fight.py`, the policy as a skill's source: plain numbers, which a locked worker can run.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rlgpt.agents.learning.learner import learn
from rlgpt.agents.learning.policy import read_policy
from rlgpt.agents.learning.start_states import collect, skill_play
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.parts import Artifact, Skill
from rlgpt.bus.task import Environment, Evaluation, Learner
from rlgpt.envs import starts
from rlgpt.envs.crafter import rules
from rlgpt.envs.crafter.environment import CrafterSymbolic

LENGTH = 40
EVERY = tuple(rules.ACTIONS)
IMPORTS = ("math", "numpy", "rlgpt.envs.crafter.toolkit")
CRAFTER = Environment(id="rlgpt/CrafterSymbolic-v0", imports=IMPORTS, actions=EVERY)
ZOMBIE_NEAR = "(np.argwhere(info['seen'].view_creatures == 2) - np.array([4, 3]))"
DUSK = (
    f"info['step'] % 300 > 115 and not info['sleeping'] and min(info['food'], info['drink']) > 2 and info['health'] > 4 and "
    f"2 <= min(np.abs({ZOMBIE_NEAR}).sum(1), default=99) <= 5"
)
# The environment's own reward is health / 10 and 1 for whatever is new; here only health counts, in whole points, and death is no relief.
HEALTH_ALONE = "(-reward) + (obs[0] - previous[0]) * 9 - 2.0 * terminated"
ACTIONS = ("noop", "move_left", "move_right", "move_up", "move_down", "do", "place_stone")
WAIT = "def wait(obs, info):\n    while True:\n        obs, info = yield 0\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("arena"))
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--states", type=int, default=400, help="worlds played for the states that are learned in")
    parser.add_argument("--held-out", type=int, default=200, help="worlds played for the states that are compared in")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    by_hand = Skill(name="by_hand", source=(Path(__file__).parent / "crafter_by_hand.py").read_text(), max_steps=10_000)
    learned_in = states(args.folder / "learned_in.starts", by_hand, range(5_000, 5_000 + args.states))
    held_out = states(args.folder / "held_out.starts", by_hand, range(1_500_000, 1_500_000 + args.held_out))
    fight = Skill(name="fight", source=learned(args.folder, learned_in, args.steps, args.seed), max_steps=LENGTH)
    (args.folder / "fight.py").write_text(fight.source)
    lost = {skill.name: health_lost(held_out, skill) for skill in (by_hand, fight, Skill(name="wait", source=WAIT, max_steps=LENGTH))}
    compare(lost)


def states(path: Path, by_hand: Skill, seeds: range) -> Artifact:
    """The states of these worlds' episodes, as a file; made once."""
    if not path.exists():
        found = collect(CRAFTER, DUSK, skill_play(by_hand), seeds, snapshots=True)
        starts.write(path, found.states)
        print(f"{path.name}: {len(found.states)} states of {found.episodes} worlds, {found.steps} steps", file=sys.stderr, flush=True)
    return starts.artifact(path)


def learned(folder: Path, begun: Artifact, steps: int, seed: int) -> str:
    """Learn in these states; the policy as a skill."""
    settings = {"environments": 16, "rollout": 128, "batch_size": 512, "epochs": 6, "gamma": 0.97, "entropy": 0.01, "hidden": (64, 64)}
    request = TrainingRequested(
        plan=1,
        environment=CRAFTER.model_copy(update={"starts": begun, "max_episode_steps": LENGTH}),
        success="False",
        primitives=ACTIONS,
        shaping=HEALTH_ALONE,
        learner=Learner.model_validate({"env_steps": steps, "device": "cpu", "anneal": True, **settings}),
        evaluation=Evaluation(episodes=1),
        seed=seed,
    )

    def told(point: Any) -> None:
        print(point, file=sys.stderr, flush=True)

    finished = learn(request, folder / f"seed-{seed}", told, lambda: None, lambda: False)
    if finished.failure or finished.policy is None:
        raise SystemExit(f"learning failed: {finished.failure}")
    return as_skill((folder / f"seed-{seed}" / "policy.pt").read_bytes())


def as_skill(policy: bytes) -> str:
    """A policy file's network as the source of a skill that takes its likeliest action: weights as hexadecimal 16-bit numbers."""
    _, weights = read_policy(policy)
    names = ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"]
    rows = []
    for name in names:
        for part in ("weight", "bias"):
            values = weights[f"{name}.{part}"].to(torch.float16).numpy()
            rows.append(
                f"    np.frombuffer(bytes.fromhex({values.tobytes().hex()!r}), np.float16).reshape{values.shape}.astype(np.float32),"
            )
    order = [EVERY.index(name) for name in ACTIONS]
    return (
        '"""What to do with a zombie near: a network learned in an arena (bench_crafter_arena.py)."""\nimport numpy as np\n\n'
        "NETWORK = [\n" + "\n".join(rows) + f"\n]\nACTIONS = {order}\n\n\n"
        "def likeliest(obs):\n    a, b, c, d, e, f = NETWORK\n"
        "    return ACTIONS[int((e @ np.tanh(c @ np.tanh(a @ obs + b) + d) + f).argmax())]\n\n\n"
        "def fight(obs, info):\n    while True:\n        obs, info = yield likeliest(obs)\n"
    )


def health_lost(begun: Artifact, skill: Skill) -> npt.NDArray[np.float64]:
    """[states] of health lost (less what is gained) by this skill in an episode from each state; a death costs 2 more."""
    env, lost = CrafterSymbolic(), []
    own: dict[str, Any] = {"__name__": "skill"}
    exec(compile(skill.source, skill.name, "exec"), own)  # our own code, no model's
    for state in starts.read(begun.uri, begun.sha256):
        assert state.snapshot is not None, "these states are snapshots"
        env.reset(seed=state.seed)
        obs, info = env.restore(state.snapshot)
        before, playing = info["health"], own[skill.name](obs, info)
        action, terminated = next(playing), False
        for _ in range(LENGTH):
            obs, _, terminated, _, info = env.step(action)
            if terminated:
                break
            action = playing.send((obs, info))
        lost.append(before - info["health"] + 2 * terminated)
    return np.array(lost, float)


def compare(lost: dict[str, npt.NDArray[np.float64]]) -> None:
    base = lost["by_hand"]
    print(f"health lost in {LENGTH} steps from {len(base)} held-out states")
    for name, values in lost.items():
        away = (values - base).tolist()
        mean, half = statistics.mean(away), 1.96 * statistics.stdev(away) / math.sqrt(len(away))
        print(f"{name:8} {values.mean():6.2f}   against by_hand {mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})")


if __name__ == "__main__":
    main()
