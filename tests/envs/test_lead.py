"""Episodes that begin behind earlier stages, played live, in an environment where nothing can be repeated."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import worlds  # noqa: F401  registers Climb

from rlgpt.bus.parts import Artifact, Skill
from rlgpt.bus.task import Environment, Lead
from rlgpt.envs.episode import Episode
from rlgpt.envs.errors import EnvironmentUnavailable, SkillInvalid
from rlgpt.envs.layout import LEAD_STEPS, LEADS, PRIMITIVE, RESET, Shape, size_of
from rlgpt.envs.lead import UNREACHED, LeadIn, NotReached
from rlgpt.envs.learned import packed
from rlgpt.envs.pool import Primitive, WorkerPool, try_skill
from rlgpt.envs.runner import Given, Runner, load
from rlgpt.envs.space import describe
from rlgpt.envs.zygote import config_of, work_for

UP = Primitive(1)


def climb(body: str, name: str = "climb", max_steps: int = 60) -> Skill:
    return Skill(name=name, source=f"def {name}(obs, info):\n    {body}\n", max_steps=max_steps)


def lead(to: int, *skills: Skill, **more) -> Lead:
    skills = skills or (climb("while True:\n        obs, info = yield UP"),)
    return Lead(**{"name": f"rung_{to}", "success": f"obs[0] >= {to}", "skills": skills, "controller": skills[0].name, **more})


def behind(*leads: Lead, tries: int = 10, limit: int = 200, **kwargs) -> Environment:
    return Environment(
        id="worlds:Climb-v0",
        kwargs=kwargs,
        actions=("down", "up", "stay"),
        max_episode_steps=limit,
        deterministic=False,
        lead=leads,
        lead_tries=tries,
    )


@pytest.fixture
def pool():
    """`pool(environment)`: one environment in a real worker; closed at the end."""
    pools = []

    def pool(environment: Environment, **more) -> WorkerPool:
        pools.append(WorkerPool(environment, **{"success": "obs[0] >= 9", "environments": 1, "workers": 1, **more}))
        return pools[-1]

    yield pool
    for one in pools:
        one.close()


class Silent:
    def take(self) -> str:
        return ""


def episode(environment: Environment, *skills: Skill, success: str = "obs[0] >= 9") -> tuple[Runner, Episode]:
    """What a worker makes of the environment and the skills, without the worker."""
    env = gymnasium.make(environment.id, max_episode_steps=environment.max_episode_steps, **environment.kwargs)
    shape = Shape(describe(env.observation_space), describe(env.action_space), 1, len(skills), 0)
    runner = Runner(shape, bytearray(size_of(shape)), [env], (environment.actions, ()), Silent(), Given(leading=(None,) * 9))
    load(runner, work_for([packed(skill) for skill in skills], success), config_of(environment))
    return runner, runner.episodes[0]


def test_episode_begins_behind_the_stages_and_counts_from_there(pool):
    climbing = pool(behind(lead(3), lead(6)))
    begun = climbing.reset([7])
    rung, steps = begun.obs[0]
    assert rung == 6
    assert steps == climbing.lead_steps >= 6
    ended = None
    while ended is None:
        now = climbing.step([UP], [8])
        ended = now.ended[0]
    assert ended.success
    assert ended.episode_return == 1.0
    assert 3 <= ended.steps == now.final_obs[0][1] - steps
    assert now.obs[0][0] == 6, "so does the episode after it"
    assert climbing.lead_steps >= 12


def test_try_that_fails_is_made_again_from_a_reset():
    runner, climbing = episode(behind(lead(3), every=3, tries=3))
    for number in (1, 2, 3):
        climbing.reset(7)
        assert (climbing.unreached, climbing.obs[0], climbing.seed, climbing.steps) == ("", 3, 7, 0)
        assert climbing.env.unwrapped.resets == 3 * number
    assert runner.views.header[LEAD_STEPS] >= 3 * (2 + 3), "failing tries count too"
    assert runner.views.header[LEADS] == 6


def test_episode_whose_tries_are_spent_ends_as_a_fault_that_says_so_and_the_next_one_begins():
    runner, climbing = episode(behind(lead(3), every=2, tries=1))
    view = runner.views
    view.asked.write([RESET], [-1], [7])
    runner.batch()
    assert climbing.unreached.startswith(f"{UNREACHED}rung_3: no success within 1 steps")
    view.asked.write([PRIMITIVE], [-1], [8])
    view.action[0] = 1
    runner.batch()
    assert bytes(view.fault[0]).decode().startswith(UNREACHED)
    terminated, truncated, success = runner.answers.flags[0].tolist()
    assert (terminated, truncated, success, runner.answers.duration[0]) == (0, 1, 0, 1)
    assert (climbing.unreached, climbing.obs[0]) == ("", 3)


def test_stages_have_skills_of_their_own_also_under_one_name():
    slow = climb("yield STAY\n    while True:\n        obs, info = yield UP")
    runner, climbing = episode(behind(lead(3), lead(6, slow), limit=500), climb("yield DOWN"))
    climbing.reset(1)
    assert climbing.obs[0] == 6
    climbing.call(runner.skills[0], advance=True)
    assert climbing.obs[0] in (5, 6)


def test_skill_of_a_stage_may_call_those_of_its_library():
    two = climb("obs, info = yield from rung(obs, info)")
    _, climbing = episode(behind(lead(4, two, library=(climb("yield UP\n    yield UP", "rung"),))))
    climbing.reset(1)
    assert climbing.obs[0] == 4


def test_fault_of_a_stages_skill_is_named():
    _, climbing = episode(behind(lead(3, climb("yield UP\n    raise ValueError('tired')")), tries=2))
    climbing.reset(1)
    assert climbing.unreached.startswith(f"{UNREACHED}rung_3: skill 'climb' failed: ValueError: tired")
    assert climbing.unreached.endswith("(in the last of 2 tries)")


def test_stage_that_the_environment_ends_with_cannot_be_gone_on_from():
    _, climbing = episode(behind(lead(9), tries=1))
    climbing.reset(1)
    assert "rung_9: the environment ended the episode with it" in climbing.unreached


def test_skill_is_tried_behind_the_stages():
    up = climb("while obs[0] < 5:\n        obs, info = yield UP", "two_more")
    (episode,) = try_skill(behind(lead(3)), up, (), "obs[0] >= 5", [4])
    assert episode.success
    assert episode.first.split()[0].startswith(("obs", "3", "[3")), episode.first
    assert 2 <= episode.steps < 20


def test_trial_of_a_stage_that_is_not_reached_says_so():
    (episode,) = try_skill(behind(lead(3), every=10**6, tries=2), climb("yield UP"), (), "obs[0] >= 5", [4])
    assert episode.error.startswith(UNREACHED)
    assert (episode.success, episode.steps) == (False, 0)


def test_time_limit_is_that_of_the_whole_episode():
    _, climbing = episode(behind(lead(6), limit=30))
    climbing.reset(1)
    led = climbing.obs[1]
    while not climbing.over:
        climbing.primitive(2)
    assert (climbing.truncated, climbing.steps) == (True, 30 - led)


def test_worker_that_plays_the_stages_is_not_given_up_at_its_deadline(pool):
    climbing = pool(behind(lead(6), slow_s=0.15), deadline_s=0.4)
    assert climbing.reset([1]).obs[0][0] == 6


def test_waiting_for_a_worker_calls_back(pool):
    class Enough(Exception):
        pass

    def waiting() -> None:
        raise Enough

    climbing = pool(behind(lead(6), slow_s=0.3), waiting=waiting)
    with pytest.raises(Enough):
        climbing.reset([1])


def test_memory_is_empty_when_the_stage_begins():
    keeps = climb("memory['seen'] = 1\n    while True:\n        obs, info = yield UP")
    looks = climb("yield DOWN if memory else STAY", "looks")
    environment = behind(lead(3, keeps)).model_copy(update={"memory": True})
    runner, climbing = episode(environment, looks)
    climbing.reset(1)
    for _ in range(20):
        climbing.call(runner.skills[0], advance=True)
    assert climbing.obs[0] == 3


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lead(3, controller=None), "stage 'rung_3' has neither a policy nor a controller among its skills"),
        (lead(3, success="obs["), "success of stage 'rung_3'"),
    ],
)
def test_stage_that_cannot_be_played_is_told_at_once(broken, says):
    with pytest.raises(SkillInvalid, match=says):
        episode(behind(broken))


def test_policy_of_an_unknown_kind_is_told_before_there_is_a_worker():
    odd = lead(3, policy=Artifact(uri="file:///p", sha256="0" * 64, media_type="x/y"))
    with pytest.raises(EnvironmentUnavailable, match="is a 'x/y'"):
        WorkerPool(behind(odd), success="obs[0] >= 9", environments=1)


def test_tries_of_an_episode_are_reset_with_different_seeds_the_first_with_its_own():
    class Deaf:
        def reset(self, *, seed):
            seeds.append(seed)
            return np.zeros(1), {}

    class Never:
        name, episode = "never", None

        def __init__(self):
            self.episode = self
            self.obs, self.info = np.zeros(1), {}

        def play(self, seed, obs, info):
            return "never: no"

    seeds, told = [], []
    with pytest.raises(NotReached):
        LeadIn([Never()], None, 3, told.append).begin(Deaf(), 11)
    assert seeds[0] == 11
    assert len(set(seeds)) == 3
    assert told == [True, False]
