"""The hand-written controller `crafter_by_hand.py` on worlds nobody practised on: the bar "code alone" of Crafter's diamond.

    python tests/benchmarks/bench_crafter_by_hand.py [--worlds 100] [--first 1000000] [--workers 2]

It runs as a skill does: in locked workers, one call an episode, unmodified rules, 10,000 steps. Every success is replayed from its seed and
actions in a clean worker, and counts only if it holds there. Prints the rate with its 95 % interval (Wilson), and the achievements' rates.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rlgpt.agents.scoring import wilson
from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.pool import Call, Replayer, WorkerPool

SUCCESS = "info['achievements']['collect_diamond'] > 0"
CRAFTER = Environment(id="rlgpt/CrafterSymbolic-v0", imports=("math", "numpy", "rlgpt.envs.crafter.toolkit"), until_success=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    source = (Path(__file__).parent / "crafter_by_hand.py").read_text()
    skill = Skill(name="by_hand", source=source, max_steps=10_000)
    found, steps, faults, unconfirmed = 0, 0, [], 0
    side = min(args.workers, args.worlds)
    with (
        Replayer(CRAFTER, SUCCESS) as replayer,
        WorkerPool(CRAFTER, success=SUCCESS, environments=side, workers=args.workers, skills=[skill], deadline_s=600, record=True) as pool,
    ):
        for first in range(args.first, args.first + args.worlds, side):
            seeds = range(first, first + side)
            pool.reset(list(seeds))
            transitions = pool.step([Call(0)] * side, [seed + side for seed in seeds])
            faults += [fault for fault in transitions.faults if fault]
            for end in transitions.ended[: args.first + args.worlds - first]:
                assert end is not None, "a call that is not as long as its episode"
                steps += end.steps
                if end.success and end.actions is not None:
                    confirmed = replayer.replay(end.seed, end.actions).success
                    found, unconfirmed = found + confirmed, unconfirmed + (not confirmed)
            print(f"{first + side - args.first} worlds: {found} diamonds", file=sys.stderr, end="\r", flush=True)
    low, high = wilson(found, args.worlds)
    print(f"\ndiamond in {found} of {args.worlds} worlds: {100 * found / args.worlds:.1f} % ({100 * low:.1f} to {100 * high:.1f})")
    print(f"{steps} environment steps; {len(faults)} calls failed, {unconfirmed} successes did not hold in the replay")
    print("\n".join(faults[:3]))


if __name__ == "__main__":
    main()
