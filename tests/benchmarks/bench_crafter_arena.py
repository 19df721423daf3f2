"""Crafter's dangers learned in arenas, as rlgpt learns any sub-action there, and compared with the hand-written controller.

    python tests/benchmarks/bench_crafter_arena.py [--arena dusk|arrows|hunger] [--steps 300000] [--states 400] [--held-out 200] [--seed 0]
                                                   [--folder arena] [--planes] [--greedy] [--clone]

The states are snapshots of the controller's own episodes (`crafter_by_hand.py`), the first of each in which a zombie is within five cells
at dusk or at night, a skeleton is in view, or hunger or thirst is great. PPO learns on primitive actions for `--steps` environment steps
(`agents/learning/arena.py`). Then the learned skill and the controller play the same held-out states, of other worlds; what counts is the
mean return of an episode, which is health gained or lost (dusk, arrows), or food and drink and health (hunger), less 2 for a death.
`--clone` lets the network begin from the controller's own episodes there. Also told: CPU time of a learning step, which a busy machine
changes less than its speed.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from rlgpt.agents.arenas import outcome
from rlgpt.agents.learning.arena import learn_arena
from rlgpt.agents.learning.start_states import collect, skill_play
from rlgpt.bus.arena import Arena
from rlgpt.bus.messages import ArenaRequested
from rlgpt.bus.parts import Artifact, Point, Skill
from rlgpt.bus.task import Environment, Evaluation, Learner
from rlgpt.envs import starts
from rlgpt.envs.crafter import rules

LENGTH = 40
IMPORTS = ("math", "numpy", "rlgpt.envs.crafter.toolkit")
CRAFTER = Environment(id="rlgpt/CrafterSymbolic-v0", imports=IMPORTS, actions=tuple(rules.ACTIONS))
AWAKE = "not info['sleeping'] and info['health'] > 4"


def near(creature: str, low: int, high: int) -> str:
    """An expression: the nearest such creature in view is so many cells away."""
    cells = f"(np.argwhere(info['seen'].view_creatures == {rules.CREATURE[creature]}) - np.array([4, 3]))"
    return f"{low} <= min(np.abs({cells}).sum(1), default=99) <= {high}"


WHERE = {
    "dusk": f"info['step'] % 300 > 115 and {AWAKE} and min(info['food'], info['drink']) > 2 and {near('zombie', 2, 5)}",
    "arrows": f"{AWAKE} and min(info['food'], info['drink']) > 2 and {near('skeleton', 2, 5)}",
    "hunger": f"{AWAKE} and min(info['food'], info['drink']) <= 3",
}
# The environment's own reward is health / 10 and 1 for whatever is new; here whole points of the body alone count, and death is no relief.
HEALTH = "(-reward) + (obs[0] - previous[0]) * 9 - 2.0 * terminated"
SHAPING = {"dusk": HEALTH, "arrows": HEALTH, "hunger": f"{HEALTH} + (obs[1] - previous[1] + obs[2] - previous[2]) * 9"}
FIGHT = ("noop", "move_left", "move_right", "move_up", "move_down", "do", "place_stone")
SETTINGS: dict[str, Any] = {
    "environments": 16, "rollout": 128, "batch_size": 512, "epochs": 4, "gamma": 0.97, "entropy": 0.01, "hidden": (64, 64),
    "learning_rate": 4e-4, "anneal": True, "device": "cpu", "checkpoint_every": 100_000,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("arena"))
    parser.add_argument("--arena", choices=sorted(WHERE), default="dusk")
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--states", type=int, default=400, help="worlds played for the states that are learned in")
    parser.add_argument("--held-out", type=int, default=200, help="worlds played for the states that are compared in")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--planes", action="store_true", help="the observation has what is where in the view, too")
    parser.add_argument("--greedy", action="store_true", help="the learned skill takes its likeliest action")
    parser.add_argument("--clone", action="store_true", help="begin from the controller's episodes that lose no health")
    args = parser.parse_args()
    place = args.folder / args.arena
    place.mkdir(parents=True, exist_ok=True)
    by_hand = Skill(name="by_hand", source=(Path(__file__).parent / "crafter_by_hand.py").read_text(), max_steps=LENGTH)
    learned_in = states(place / "learned_in.starts", args.arena, by_hand, range(5_000, 5_000 + args.states))
    held_out = states(place / "held_out.starts", args.arena, by_hand, range(1_500_000, 1_500_000 + args.held_out))
    asked = request(args, by_hand, learned_in, held_out)
    told = Told()
    finished = learn_arena(asked, place / f"seed-{args.seed}", told.point, lambda: None, lambda: False)
    if finished.failure or finished.contest is None:
        raise SystemExit(f"learning failed: {finished.failure}")
    print(
        f"{args.arena}, {finished.states} states, {finished.env_steps:,} environment steps, seed {args.seed}: {outcome(finished.contest)}"
    )
    print(told.cost())


def states(path: Path, arena: str, by_hand: Skill, seeds: range) -> Artifact:
    """The states of these worlds' episodes, as a file; made once."""
    if not path.exists():
        whole = by_hand.model_copy(update={"max_steps": 10_000})
        found = collect(CRAFTER, WHERE[arena], skill_play(whole), seeds, snapshots=True)
        starts.write(path, found.states)
        print(f"{path}: {len(found.states)} states of {found.episodes} worlds, {found.steps} steps", file=sys.stderr, flush=True)
    return starts.artifact(path)


def request(args: argparse.Namespace, by_hand: Skill, learned_in: Artifact, held_out: Artifact) -> ArenaRequested:
    """What the trainer would be asked for."""
    # Cloned is what succeeds: the controller's episodes that lost no health.
    clone = {"skills": ("by_hand",), "trainer": {**SETTINGS, "warm_start": "by_hand", "warm_episodes": 200}} if args.clone else {}
    arena = {
        "purpose": f"Come through {args.arena} unharmed.",
        "starts": learned_in,
        "held_out": held_out,
        "success": f"steps == {LENGTH} and obs[0] >= start[0]" if args.clone else "",
        "shaping": SHAPING[args.arena],
        "judged": "return",
        "steps": LENGTH,
        "env_steps": args.steps,
        "primitives": FIGHT if args.arena != "hunger" else (),
        "against": "by_hand",
        "episodes": args.held_out,
        "actions": "greedy" if args.greedy else "sampled",
        "trainer": SETTINGS,
        **clone,
    }
    environment = CRAFTER.model_copy(update={"kwargs": {"planes": True}}) if args.planes else CRAFTER
    return ArenaRequested(
        plan=1,
        name=args.arena,
        arena=Arena.model_validate(arena),
        environment=environment,
        skills=(by_hand,),
        against=by_hand,
        learner=Learner(),
        evaluation=Evaluation(),
        seed=args.seed,
        workers=1,
    )


class Told:
    """The curve as it grows, and what a step cost between its first point and its last: this process's CPU, and its workers'."""

    def __init__(self) -> None:
        self.marks: list[tuple[int, float, float, float]] = []

    def point(self, point: Point) -> None:
        own = resource.getrusage(resource.RUSAGE_SELF)
        self.marks.append((point.env_steps, own.ru_utime + own.ru_stime, _below(os.getpid()), time.monotonic()))
        print(point, file=sys.stderr, flush=True)

    def cost(self) -> str:
        (first, own, workers, began), (last, own_now, workers_now, ended) = self.marks[0], self.marks[-1]
        steps = max(1, last - first)
        return (
            f"a learning step took {1e6 * (own_now - own) / steps:.0f} us CPU of the trainer and "
            f"{1e6 * (workers_now - workers) / steps:.0f} us of the worker; {steps / (ended - began):.0f} steps/s, "
            f"load {os.getloadavg()[0]:.1f}"
        )


def _below(parent: int) -> float:
    """CPU seconds of all processes below this one that are alive."""
    tick, spent, family = os.sysconf("SC_CLK_TCK"), 0.0, {parent}
    for entry in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) in family:
            family.add(entry)
            spent += (int(fields[11]) + int(fields[12])) / tick
    return spent


if __name__ == "__main__":
    main()
