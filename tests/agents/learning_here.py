"""Requests to learn CartPole, and pools inside the test's own process to do it on."""

import gymnasium as gym
import torch
from local_pool import LocalPool

from rlgpt.agents.learning import learner
from rlgpt.agents.learning.learner import learn
from rlgpt.agents.learning.policy import read_policy
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment, Evaluation, Learner
from rlgpt.envs.transitions import EpisodeEnd

CARTPOLE = Environment(id="CartPole-v1", max_episode_steps=50, actions=("left", "right"))
SETTINGS = Learner(env_steps=1500, environments=4, rollout=32, batch_size=64, epochs=2, learning_rate=1e-3, checkpoint_every=400)
BALANCE = '''
def balance(obs, info):
    """Push towards where the pole falls, a few times."""
    for _ in range(5):
        obs, info = yield 1 if obs[2] + obs[3] > 0 else 0
'''


def request(**changes):
    fields = {
        "plan": 1,
        "environment": CARTPOLE,
        "success": "truncated",
        "learner": SETTINGS,
        "evaluation": Evaluation(episodes=8, first_seed=50),
        "seed": 3,
    }
    return TrainingRequested(**{**fields, **changes})


def skill(name="balance", source=BALANCE):
    return Skill(name=name, source=source, max_steps=20)


def function(source, name):
    scope = {}
    exec(source, scope)
    return scope.get(name)


def in_process_pools(monkeypatch):
    """In-process pools instead of workers; the list of those that were made."""
    made = []

    def make(environment, *, environments, skills=(), gamma=1.0, record=False, **_):
        pool = LocalPool(
            lambda: gym.make(environment.id, max_episode_steps=environment.max_episode_steps),
            environments,
            skills=[function(one.source, one.name) for one in skills],
            can_run=[function(one.source, "can_run") for one in skills],
            gamma=gamma,
            record=record,
            success=lambda terminated, truncated: truncated,
        )
        made.append(pool)
        return pool

    class Replays:
        def __init__(self, environment, success):
            self.environment = environment

        def __call__(self, seed, actions):
            env = gym.make(self.environment.id, max_episode_steps=self.environment.max_episode_steps)
            env.reset(seed=seed)
            steps = [env.step(int(action)) for action in actions]
            return EpisodeEnd(seed, bool(steps[-1][3]), sum(step[1] for step in steps), len(steps), bool(steps[-1][3]))

        def tell(self, seed, actions, steps):
            return [f"after step {step} of seed {seed}" for step in steps]

        def close(self):
            pass

    monkeypatch.setattr(learner, "WorkerPool", make)
    monkeypatch.setattr(learner, "Replays", Replays)
    return made


def run(folder, of=None, *, on_point=lambda point: None, stop=lambda: False, **more):
    return learn(of or request(), folder, on_point, lambda: None, stop, **more)


def drawn(finished):
    """The curve without what a clock says."""
    return [point.model_dump(exclude={"steps_per_s"}) for point in finished.curve]


def weights(folder):
    return read_policy((folder / "policy.pt").read_bytes())[1]


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Killed(Exception):
    """Stands for kill -9: nothing after it is run by the learner."""
