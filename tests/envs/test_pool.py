"""The worker pool as a learner uses it: decisions in, semi-MDP transitions out, and what happens when skills go wrong."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

import gymnasium
import numpy as np
import pytest

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.errors import SkillInvalid, WorkerDied
from rlgpt.envs.pool import Call, Limits, Primitive, WorkerPool, replay

CORRIDOR = Environment(id="worlds:Corridor-v0", actions=("left", "right", "stay"))
RIGHT, STAY = Primitive(1), Primitive(2)


def skill(name: str, body: str, max_steps: int = 10, can_run: str = "") -> Skill:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    mask = f"def can_run(obs, info):\n    return {can_run}\n" if can_run else ""
    return Skill(name=name, source=f"{mask}def {name}(obs, info):\n{lines}\n", max_steps=max_steps)


STRIDE = skill("stride", "for _ in range(3):\n    obs, info = yield RIGHT")
HANG = skill("hang", "yield RIGHT\nmax(iter(int, 1))")


@contextlib.contextmanager
def pool_of(*skills: Skill, environments: int = 2, workers: int | None = 1, environment: Environment = CORRIDOR, **kwargs):
    with WorkerPool(environment, success="terminated", environments=environments, workers=workers, skills=skills, **kwargs) as pool:
        pool.first = pool.reset(list(range(1, environments + 1)))
        yield pool


def test_reset_begins_an_episode_of_each_seed_in_order():
    seeds = [11, 5, 7, 3, 2]
    with WorkerPool(Environment(id="CartPole-v1"), success="False", environments=5, workers=2) as pool:
        first = pool.reset(seeds)
    expected = [gymnasium.make("CartPole-v1").reset(seed=seed)[0] for seed in seeds]
    np.testing.assert_array_equal(first.obs, expected)
    assert first.duration.tolist() == [0] * 5
    assert not first.terminated.any()


def test_transitions_are_those_of_the_environment_itself():
    env, ours = gymnasium.make("CartPole-v1"), []
    actions = np.random.default_rng(0).integers(0, 2, 200).tolist()
    with WorkerPool(Environment(id="CartPole-v1"), success="False", environments=1) as pool:
        pool.reset([0])
        ours = [pool.step([Primitive(action)], [i + 1]) for i, action in enumerate(actions)]
    obs, steps = env.reset(seed=0)[0], 0
    for i, (action, found) in enumerate(zip(actions, ours, strict=True)):
        obs, reward, terminated, truncated, _ = env.step(action)
        steps += 1
        np.testing.assert_array_equal(found.final_obs[0], obs)
        assert (found.reward[0], found.terminated[0], found.truncated[0], found.duration[0]) == (reward, terminated, truncated, 1)
        if terminated or truncated:
            assert (found.ended[0].steps, found.ended[0].episode_return) == (steps, steps)
            obs, steps = env.reset(seed=i + 1)[0], 0
        np.testing.assert_array_equal(found.obs[0], obs)
        assert (found.ended[0] is not None) == (terminated or truncated)


def test_call_of_a_skill_is_one_decision_with_its_discounted_reward_and_duration():
    gamma = 0.5
    with pool_of(STRIDE, gamma=gamma) as pool:
        step = pool.step([Call(0), RIGHT], [100, 101])
        assert step.duration.tolist() == [3, 1]
        np.testing.assert_allclose(step.reward, [-1 - gamma - gamma**2, -1])
        assert step.obs.tolist() == [[3, 3], [1, 1]]
        assert step.ended == (None, None)
        last = pool.step([Call(0), Call(0)], [100, 101])
        assert last.duration.tolist() == [2, 3]  # the episode's end is the call's
        np.testing.assert_allclose(last.reward[0], -1 + gamma * 10)
        assert last.terminated.tolist() == [True, False]
        assert last.final_obs[0].tolist() == [5, 5]
        assert last.obs[0].tolist() == [0, 0]  # and already the next episode's first


def test_end_of_an_episode_is_counted_without_discount_or_shaping():
    with pool_of(STRIDE, gamma=0.5, shaping="100 * (obs[0] - previous[0])") as pool:
        first = pool.step([Call(0), STAY], [100, 101])
        np.testing.assert_allclose(first.reward, [99 + 49.5 + 24.75, -1])
        ended = pool.step([Call(0), STAY], [100, 101]).ended[0]
        assert (ended.seed, ended.success, ended.episode_return, ended.steps, ended.truncated) == (1, True, 6.0, 5, False)


def test_next_episode_has_the_seed_it_was_given():
    with pool_of(STRIDE, environments=1) as pool:
        ends = [pool.step([Call(0)], [100 + i]).ended[0] for i in range(6)]
    assert [end.seed for end in ends if end] == [1, 101, 103]


def test_time_limit_truncates_inside_a_call_too():
    short = CORRIDOR.model_copy(update={"max_episode_steps": 4})
    with pool_of(skill("wait", "while True:\n    yield STAY"), environment=short) as pool:
        step = pool.step([Call(0), STAY], [8, 9])
    assert step.duration.tolist() == [4, 1]
    assert step.truncated.tolist() == [True, False]
    assert not step.terminated.any()
    assert (step.ended[0].steps, step.ended[0].truncated, step.ended[0].success) == (4, True, False)


def test_success_counts_wherever_in_the_episode_it_held():
    with WorkerPool(CORRIDOR, success="obs[0] == 2", environments=1, skills=[STRIDE]) as pool:
        pool.reset([1])
        assert pool.step([Call(0)], [2]).ended == (None,)
        assert pool.step([Call(0)], [2]).ended[0].success


def test_can_run_masks_each_skill_by_its_own():
    skills = [skill("early", "yield STAY", can_run="obs[0] < 1"), skill("late", "yield STAY", can_run="obs[0] >= 1"), STRIDE]
    with pool_of(*skills) as pool:
        assert pool.first.runnable.tolist() == [[True, False, True]] * 2
        assert pool.step([RIGHT, STAY], [8, 9]).runnable.tolist() == [[False, True, True], [True, False, True]]


@pytest.mark.parametrize("body", ["if False:\n    yield RIGHT", "return\nyield RIGHT"])
def test_call_that_takes_no_step_costs_one_fallback_action_so_that_no_decision_is_free(body):
    with pool_of(skill("idle", body), fallbacks=[2]) as pool:
        step = pool.step([Call(0), Call(0)], [8, 9])
        assert step.duration.tolist() == [1, 1]
        assert step.obs[:, 0].tolist() == [0, 0]
        assert step.faults == ("", "")


def test_fallback_is_any_action_unless_told_and_the_same_for_the_same_seed():
    seen = []
    for _ in range(2):
        with pool_of(skill("never", "yield RIGHT", can_run="False"), environments=4) as pool:
            seen.append([pool.step([Call(0)] * 4, [9] * 4).obs[:, 0].tolist() for _ in range(5)])
    assert seen[0] == seen[1]
    assert len({tuple(row) for row in seen[0]}) > 1


def test_error_in_a_skill_ends_its_episode_and_no_other():
    with pool_of(skill("broken", "yield RIGHT\nyield 1 / 0")) as pool:
        step = pool.step([Call(0), RIGHT], [8, 9])
        assert step.truncated.tolist() == [True, False]
        assert step.duration.tolist() == [1, 1]
        assert "ZeroDivisionError" in step.faults[0]
        assert step.faults[1] == ""
        assert (step.ended[0].seed, step.ended[0].steps, step.ended[0].truncated) == (1, 1, True)
        assert step.obs[0].tolist() == [0, 0]
        assert pool.step([RIGHT, RIGHT], [8, 9]).faults == ("", "")


def test_shaping_that_fails_is_a_fault_that_names_it():
    with pool_of(shaping="info['wood']") as pool:
        assert "the shaping expression \"info['wood']\" failed: KeyError" in pool.step([RIGHT, RIGHT], [8, 9]).faults[0]


@pytest.mark.parametrize("what", ["skills", "success", "shaping"])
def test_invalid_skill_or_expression_is_told_before_anything_runs(what):
    given = {"skills": [skill("x", "yield (")], "success": "obs[", "shaping": "obs["}
    fields = {"success": "True", "environments": 1} | {what: given[what]}
    with pytest.raises(SkillInvalid):
        WorkerPool(CORRIDOR, **fields)


def test_hanging_skill_costs_its_worker_and_the_others_go_on():
    with pool_of(STRIDE, HANG, environments=4, workers=2, deadline_s=1.0) as pool:
        pool.step([RIGHT] * 4, [8, 9, 10, 11])
        before = pool.pids
        step = pool.step([RIGHT, Call(1), RIGHT, Call(0)], [8, 9, 10, 11])
        assert step.faults == (
            "lost with its worker: no answer within 1 s",
            "skill 'hang' lost its worker: no answer within 1 s",
            "",
            "",
        )
        assert step.truncated.tolist() == [True, True, False, False]
        assert step.duration.tolist() == [1, 1, 1, 3]
        assert step.final_obs[:2, 0].tolist() == [1, 1]  # where they were last seen
        assert step.obs[:, 0].tolist() == [0, 0, 2, 4]
        assert [end.seed if end else None for end in step.ended] == [1, 2, None, None]
        assert [old == new for old, new in zip(before, pool.pids, strict=True)] == [False, True]
        after = pool.step([RIGHT] * 4, [12, 13, 14, 15])
        assert after.faults == ("",) * 4
        assert after.obs[:, 0].tolist() == [1, 1, 3, 0]


def test_killed_worker_leaves_no_process():
    with pool_of(HANG, deadline_s=0.5) as pool:
        (pid,) = pool.pids
        pool.step([Call(0), RIGHT], [8, 9])
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_skill_that_keeps_killing_workers_is_quarantined():
    with pool_of(HANG, STRIDE, environments=1, deadline_s=0.3, fallbacks=[2]) as pool:
        for i in range(3):
            assert "'hang' lost its worker" in pool.step([Call(0)], [10 + i]).faults[0]
        assert list(pool.quarantined) == ["hang"]
        step = pool.step([Call(0)], [20])
        assert (step.faults, step.duration.tolist(), step.runnable.tolist()) == (("",), [1], [[False, True]])
        assert pool.step([Call(1)], [20]).duration.tolist() == [3]


def test_can_run_that_hangs_is_quarantined_and_the_pool_lives_on():
    with pool_of(skill("trap", "yield STAY", can_run="obs[0] < 1 or max(iter(int, 1))"), environments=1, deadline_s=0.3) as pool:
        step = pool.step([RIGHT], [9])
        assert "lost with its worker" in step.faults[0]
        assert pool.step([STAY], [9]).faults == ("",)


def test_can_run_that_fails_counts_as_false():
    with pool_of(skill("torn", "yield STAY", can_run="1 / 0"), fallbacks=[1]) as pool:
        assert not pool.first.runnable.any()
        assert pool.step([Call(0)] * 2, [8, 9]).obs[:, 0].tolist() == [1, 1]


def test_worker_out_of_memory_is_replaced():
    body = "global kept\nkept = []\ntry:\n    while True: kept.append(bytearray(1 << 16))\nexcept MemoryError: pass\nyield RIGHT"
    hungry = Environment(id="worlds:Hungry-v0", actions=("left", "right", "stay"))
    with pool_of(skill("hoard", body), environments=1, environment=hungry, limits=Limits(memory_mb=64)) as pool:
        (before,) = pool.pids
        # The call itself may end in an error that can still be told, or take the worker along; the next step surely does.
        first, second = pool.step([Call(0)], [9]).faults[0], pool.step([RIGHT], [9]).faults[0]
        assert "memory" in first.lower()
        assert "it ran out of memory" in first + second
        assert pool.pids != (before,)
        assert pool.step([RIGHT], [9]).faults == ("",)


@pytest.mark.parametrize(
    ("what", "says"),
    [("raise", "the environment failed in step 2: RuntimeError: the axle broke"), ("nan", "obs is not finite"), ("hang", "no answer")],
)
def test_environment_that_fails_ends_its_episode_with_the_reason(what, says):
    odd = Environment(id="worlds:Odd-v0", kwargs={"what": what})
    with WorkerPool(odd, success="terminated", environments=1, deadline_s=1.0) as pool:
        pool.reset([1000])
        assert pool.step([RIGHT], [1001]).faults == ("",)
        step = pool.step([STAY], [1002])
        assert says in step.faults[0]
        assert step.truncated.all()
        assert pool.step([RIGHT], [1003]).faults == ("",)


def test_recorded_actions_replay_to_the_same_episode():
    mixed = [Call(0), STAY, Primitive(0), Call(0), Call(0)]
    with pool_of(STRIDE, environments=1, record=True) as pool:
        end = next(end for choice in mixed for end in pool.step([choice], [9]).ended if end)
    assert end.actions.tolist() == [1, 1, 1, 2, 0, 1, 1, 1]
    again = replay(CORRIDOR, "terminated", end.seed, end.actions)
    assert (again.success, again.episode_return, again.steps) == (end.success, end.episode_return, end.steps)


def test_actions_of_an_episode_whose_worker_was_lost_are_not_claimed_to_be_known():
    with pool_of(HANG, environments=1, deadline_s=0.3, record=True) as pool:
        pool.step([RIGHT], [9])
        assert pool.step([Call(0)], [9]).ended[0].actions is None


def test_dict_and_tuple_observations_keep_their_structure_and_skills_see_even_text():
    reader = skill("reader", "assert obs['words'] == 'at 0'\nobs, info = yield 1\nassert obs['words'] == 'at 1'")
    with pool_of(reader, environment=Environment(id="worlds:Structured-v0"), environments=3, workers=2) as pool:
        step = pool.step([Call(0), RIGHT, STAY], [7, 8, 9])
        assert step.faults == ("", "", "")
        assert set(step.obs) == {"picture", "pair"}
        assert step.obs["picture"].shape == (3, 4, 4, 3)
        assert step.obs["pair"][0].tolist() == [1, 1, 0]
        assert step.obs["pair"][1].tolist() == [[1, 2]] * 3
        row = {"picture": step.obs["picture"][0], "pair": (step.obs["pair"][0][0], step.obs["pair"][1][0])}
        assert pool.observation_space.contains(row)


def test_multidiscrete_and_box_actions_arrive_as_they_were_sent():
    with pool_of(environment=Environment(id="worlds:Vector-v0"), record=True, environments=1) as pool:
        pool.step([Primitive(np.array([1, 0]))], [9])
        end = next(end for _ in range(9) for end in pool.step([Primitive(np.array([1, 1]))], [9]).ended if end)
        assert end.actions.tolist() == [[1, 0], *[[1, 1]] * 4]
    push = skill("push", "for strength in (0.5, -2, [1.5]):\n    yield strength")
    with pool_of(push, environment=Environment(id="Pendulum-v1"), environments=1) as pool:
        assert pool.step([Call(0)], [9]).duration.tolist() == [3]
        assert pool.step([Primitive(np.array([0.3], np.float32))], [9]).faults == ("",)


@pytest.mark.parametrize(
    ("identifier", "kwargs"),
    [
        ("CartPole-v1", {}),
        ("MountainCar-v0", {}),
        ("MountainCarContinuous-v0", {}),
        ("Acrobot-v1", {}),
        ("Pendulum-v1", {}),
        ("FrozenLake-v1", {"is_slippery": True}),
        ("CliffWalking-v1", {}),
        ("Taxi-v4", {}),
        ("Blackjack-v1", {}),
        ("worlds:Pictures-v0", {}),
        ("worlds:Structured-v0", {}),
    ],
)
def test_gymnasium_environment_plays_behind_the_lock(identifier, kwargs):
    environment = Environment(id=identifier, kwargs=kwargs, max_episode_steps=12)
    with WorkerPool(environment, success="False", environments=2, workers=1) as pool:
        pool.reset([1, 2])
        pool.action_space.seed(0)
        ends = 0
        for i in range(40):
            actions = [pool.action_space.sample() for _ in range(2)]
            step = pool.step([Primitive(action) for action in actions], [10 + i, 60 + i])
            assert step.faults == ("", "")
            ends += sum(end is not None for end in step.ended)
        assert ends >= 4
        assert "seccomp" in pool.locks


def test_nothing_of_the_parents_environment_reaches_a_worker(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    spy = CORRIDOR.model_copy(update={"imports": ("os",)})
    look = skill("look", "import os\nassert 'sk-secret' not in str(dict(os.environ)), dict(os.environ)\nyield RIGHT")
    with pool_of(look, environment=spy, environments=1) as pool:
        assert pool.step([Call(0)], [9]).faults == ("",)


def test_parent_that_is_killed_leaves_no_process():
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from rlgpt.bus.task import Environment; from rlgpt.envs.pool import WorkerPool\n"
        "p = WorkerPool(Environment(id='worlds:Corridor-v0'), success='True', environments=4, workers=2)\n"
        "print(p._crew._zygote._process.pid, *p.pids, flush=True); time.sleep(1000)"
    )
    here = os.path.dirname(__file__)
    with subprocess.Popen([sys.executable, "-c", code, here], stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        descriptors = [os.pidfd_open(pid) for pid in pids]
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 150
    assert len(pids) == 3
    for descriptor in descriptors:
        assert select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0], "a process outlived its parent"


def test_pool_whose_zygote_was_killed_says_so():
    with pool_of(environments=1) as pool:
        zygote = pool._crew._zygote._process
        zygote.kill()
        zygote.wait()
        with pytest.raises(WorkerDied, match="no worker for 'worlds:Corridor-v0'"):
            pool.step([RIGHT], [9])


def test_misuse_is_told_clearly():
    with WorkerPool(CORRIDOR, success="True", environments=2, workers=1) as pool:
        with pytest.raises(RuntimeError, match="reset"):
            pool.step([RIGHT, RIGHT], [1, 2])
        with pytest.raises(ValueError, match="3 seeds for 2 environments"):
            pool.reset([1, 2, 3])
        pool.reset([1, 2])
        with pytest.raises(ValueError, match="skill number 4"):
            pool.step([Call(4), RIGHT], [1, 2])
        with pytest.raises(ValueError, match="seeds are integers from 0"):
            pool.step([RIGHT, RIGHT], [-1, 2])
