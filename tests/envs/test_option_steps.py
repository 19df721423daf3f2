"""What a pool says of options, recomputed from single steps of the bare environment: nested calls, masks, interrupts, time limits.

The recomputation knows the actions that were taken and the environment, and nothing of the pool's code.
"""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import worlds  # noqa: F401  registers the environments

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.pool import Call, Primitive, WorkerPool

GAMMA, LIMIT, SLOTS = 0.9, 23, 3
NAMES = ("left", "right", "stay")


def skill(name: str, body: str, can_run: str = "", max_steps: int = 6) -> Skill:
    mask = f"def can_run(obs, info):\n    return {can_run}\n" if can_run else ""
    return Skill(
        name=name, source=f"{mask}def {name}(obs, info):\n" + "".join(f"    {line}\n" for line in body.splitlines()), max_steps=max_steps
    )


WANDER = skill("wander", "while True:\n    obs, info = yield (RIGHT, LEFT, STAY)[int(3 * abs(np.sin(1 + obs[0] + 7 * obs[1]))) % 3]")
BACK = skill("back", "for _ in range(2):\n    obs, info = yield LEFT", can_run="obs[0] > 0")
BOTH = skill("both", "obs, info = yield from wander(obs, info)\nobs, info = yield from back(obs, info)\nyield RIGHT", max_steps=7)
DEEP = skill("deep", "yield STAY\nfor _ in range(3):\n    obs, info = yield from both(obs, info)", max_steps=15)
SKILLS = (WANDER, BACK, BOTH, DEEP)
MOST = {"wander": 6, "back": 2, "both": 7, "deep": 15}


def played(environment: Environment, seed: int, success: str = "obs[0] == 4", decisions: int = 250):
    """Random decisions: of each slot the rows (skill or < 0, reward, duration, terminated, truncated, runnable before), and the ends."""
    rng = np.random.default_rng(seed)
    rows: list[list[tuple]] = [[] for _ in range(SLOTS)]
    ends: list[list] = [[] for _ in range(SLOTS)]
    shaping = "0.1 * (obs[0] - previous[0])"
    with WorkerPool(
        environment, success=success, environments=SLOTS, workers=1, skills=SKILLS, gamma=GAMMA, shaping=shaping, record=True
    ) as pool:
        now = pool.reset(list(range(SLOTS)))
        for i in range(decisions):
            chosen = [int(rng.integers(-3, len(SKILLS))) for _ in range(SLOTS)]
            chosen = [-1 if choice >= 0 and not now.runnable[slot, choice] else choice for slot, choice in enumerate(chosen)]
            choices = [Call(choice) if choice >= 0 else Primitive(choice + 3) for choice in chosen]
            before = now.runnable
            now = pool.step(choices, [1000 + SLOTS * i + slot for slot in range(SLOTS)])
            assert now.faults == ("",) * SLOTS
            for slot in range(SLOTS):
                rows[slot].append(
                    (chosen[slot], *(getattr(now, f)[slot].item() for f in ("reward", "duration", "terminated", "truncated")), before[slot])
                )
                if now.ended[slot]:
                    ends[slot].append(now.ended[slot])
    return rows, ends


def recomputed(end, durations: list[int], limit: int, until_success: bool):
    """(reward, terminated, truncated) of every decision of an episode, by stepping the bare environment through its actions."""
    env = gymnasium.make("worlds:Corridor-v0", max_episode_steps=limit)
    obs, _ = env.reset(seed=end.seed)
    at, told = 0, []
    for duration in durations:
        reward = 0.0
        for i in range(duration):
            previous = obs
            obs, r, terminated, truncated, _ = env.step(int(end.actions[at]))
            reward += GAMMA**i * (r + 0.1 * (obs[0] - previous[0]))
            at += 1
            if until_success and obs[0] == 4:
                terminated = True
            assert (terminated or truncated) == (at == len(end.actions))
        told.append((reward, terminated, truncated))
    assert at == len(end.actions) == end.steps
    return told


@pytest.mark.parametrize("until_success", [False, True])
@pytest.mark.parametrize("interrupts", [{}, {"three": "obs[1] % 5 == 3"}])
def test_options_are_the_sums_of_their_steps(until_success, interrupts):
    environment = Environment(
        id="worlds:Corridor-v0", actions=NAMES, max_episode_steps=LIMIT, until_success=until_success, interrupts=interrupts
    )
    rows, ends = played(environment, seed=3)
    counted, inside, nested = 0, 0, 0
    for slot in range(SLOTS):
        mine = iter(rows[slot])
        for end in ends[slot]:
            decisions = []
            while not (decisions and (decisions[-1][3] or decisions[-1][4])):
                decisions.append(next(mine))
            durations = [row[2] for row in decisions]
            for row, (reward, terminated, truncated) in zip(decisions, recomputed(end, durations, LIMIT, until_success), strict=True):
                assert row[1] == pytest.approx(reward, abs=1e-5)
                assert (row[3], row[4]) == (terminated, truncated)
                assert row[2] <= (1 if row[0] < 0 else MOST[SKILLS[row[0]].name])
            counted += 1
            inside += truncated and durations[-1] > 1
            nested += any(row[0] == 3 and row[2] > 6 for row in decisions)
            assert end.truncated == (not terminated)
            assert end.steps <= LIMIT
    assert counted > 10
    assert inside > 0 or until_success  # time limits have struck inside options
    assert nested > 0 or interrupts  # and calls inside calls have run for long


def test_interrupted_options_stop_exactly_where_the_condition_holds():
    environment = Environment(id="worlds:Corridor-v0", actions=NAMES, max_episode_steps=LIMIT, interrupts={"three": "obs[1] % 5 == 3"})
    rows, _ = played(environment, seed=5)
    for slot in range(SLOTS):
        clock = 0
        for choice, _, duration, terminated, truncated, _ in rows[slot]:
            if choice >= 0:
                passed = [t for t in range(clock + 1, clock + duration) if t % 5 == 3]
                assert passed == []  # it never goes on beyond one
            clock = 0 if terminated or truncated else clock + duration


def test_masks_are_those_of_can_run_in_the_present_observation():
    environment = Environment(id="worlds:Corridor-v0", actions=NAMES, max_episode_steps=LIMIT)
    with WorkerPool(environment, success="False", environments=SLOTS, workers=1, skills=SKILLS) as pool:
        now = pool.reset([0, 1, 2])
        rng = np.random.default_rng(0)
        for i in range(60):
            np.testing.assert_array_equal(now.runnable[:, 1], now.obs[:, 0] > 0)
            assert now.runnable[:, [0, 2, 3]].all()
            now = pool.step([Primitive(int(rng.integers(3))) for _ in range(SLOTS)], [9 + i] * SLOTS)


def test_skill_may_call_one_that_is_no_choice_of_the_learner():
    environment = Environment(id="worlds:Corridor-v0", actions=NAMES)
    with WorkerPool(environment, success="False", environments=1, skills=[BOTH], library=[WANDER, BACK]) as pool:
        first = pool.reset([0])
        assert first.runnable.shape == (1, 1)
        found = pool.step([Call(0)], [1])
    assert found.faults == ("",)
    assert found.duration.tolist() == [7]


def test_nested_skill_is_not_held_up_by_its_own_mask():
    """A mask is the learner's; whoever calls a skill from code has decided."""
    with WorkerPool(Environment(id="worlds:Corridor-v0", actions=NAMES), success="False", environments=1, skills=SKILLS) as pool:
        first = pool.reset([0])
        assert not first.runnable[0, 1]
        assert pool.step([Call(2)], [1]).duration.tolist() == [7]  # six steps of wander, one of back: `both` takes seven at most
