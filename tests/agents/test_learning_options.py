"""What a scenario can ask of the learner besides PPO's own settings: normalising, stacking, compiling, cloning, imitating, practising."""

import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from learning_here import SETTINGS, Killed, drawn, request, run, same_weights, skill, weights
from vaults import CODE

from rlgpt.agents.learning.devices import compile_networks
from rlgpt.agents.learning.evaluation import Evaluation as Evaluation_
from rlgpt.agents.learning.imitation import PastSuccesses, discounted
from rlgpt.agents.learning.policy import load_player, read_policy
from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment, Evaluation, Learner
from rlgpt.envs.starts import read

torch.set_num_threads(1)

VAULT = Environment(id="vaults:Vault-v0")
VAULT_SETTINGS = Learner(env_steps=6000, environments=4, rollout=64, batch_size=64, epochs=4, learning_rate=1e-3, warm_episodes=4)
OPEN = f"""
CODE = {CODE}
def open_it(obs, info):
    while True:
        obs, info = yield CODE[obs]
"""
HALVES = f"""
CODE = {CODE}
def first(obs, info):
    for action in CODE[:4]:
        obs, info = yield action

def can_run(obs, info):
    return obs == 0
"""
SCRIPT = f"""
CODE = {CODE}
def script(obs, info):
    obs, info = yield from first(obs, info)
    for action in CODE[4:]:
        obs, info = yield action
"""


def vault(**changes):
    learner = VAULT_SETTINGS.model_copy(update=changes.pop("learner", {}))
    fields = {"environment": VAULT, "success": "terminated", "learner": learner, "evaluation": Evaluation(episodes=20), "seed": 0}
    return request(**{**fields, **changes})


def coded(*sources):
    names = [source.split("def ")[1].split("(")[0] for source in sources]
    return tuple(Skill(name=name, source=source, max_steps=40) for name, source in zip(names, sources, strict=True))


def asked(**settings):
    return request(skills=(skill(),), learner=SETTINGS.model_copy(update=settings))


# ---------------------------------------------------------------- killed and resumed, as test_learner.py does without options

OPTIONS = {
    "frames": {"frame_stack": 3},
    "observations": {"normalize_observations": True},
    "returns": {"normalize_returns": True},
    "all of perception": {"frame_stack": 2, "normalize_observations": True, "normalize_returns": True},
    "anneal": {"anneal": True},
    "imitate": {"imitate": 0.5},
}


@pytest.mark.parametrize("settings", OPTIONS.values(), ids=OPTIONS)
def test_option_survives_being_killed_and_resumed(tmp_path, pools, settings):
    unbroken = run(tmp_path / "a", asked(**settings))
    assert unbroken.failure == ""
    points, times = [], []

    def killing(point):
        points.append(point)
        if len(points) == 6:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "b", asked(**settings), on_point=killing)
    resumed = run(tmp_path / "b", asked(**settings), on_resume=times.append)
    assert times == [1]
    assert drawn(resumed) == drawn(unbroken)
    assert resumed.score == unbroken.score
    assert same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))


@pytest.mark.parametrize("settings", OPTIONS.values(), ids=OPTIONS)
def test_option_is_read(tmp_path, pools, settings):
    assert drawn(run(tmp_path / "a", asked(**settings))) != drawn(run(tmp_path / "b", asked()))


@pytest.mark.parametrize("settings", [{"frame_stack": 3}, {"normalize_observations": True, "frame_stack": 2}])
def test_policy_file_plays_the_evaluation_again(tmp_path, pools, settings):
    finished = run(
        tmp_path, request(learner=SETTINGS.model_copy(update=settings), evaluation=Evaluation(episodes=8, first_seed=50, actions="greedy"))
    )
    asked_back, weights_back = read_policy((tmp_path / "policy.pt").read_bytes())
    player = load_player(asked_back, weights_back, pools[1])
    played = Evaluation_(pools[1], player, 4, lambda: True, asked_back.environment).play(range(50, 58))
    assert [episode.success for episode in played].count(True) == finished.score.successes
    assert np.mean([episode.steps for episode in played]) == finished.score.mean_steps


# ---------------------------------------------------------------- what the options do


def test_annealed_learning_rate_ends_at_nothing(tmp_path, pools, monkeypatch):
    from rlgpt.agents.learning.ppo import OptionPPO

    rates, improve = [], OptionPPO.improve

    def noting(self, budget):
        improve(self, budget)
        rates.append(self.policy.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(OptionPPO, "improve", noting)
    run(tmp_path, asked(anneal=True))
    assert all(later < earlier for earlier, later in pairwise(rates))
    assert rates[0] < SETTINGS.learning_rate
    assert 0 <= rates[-1] < SETTINGS.learning_rate / 100


def test_success_reward_is_paid_once_at_the_first_success(tmp_path):
    from rlgpt.envs.pool import WorkerPool

    with WorkerPool(VAULT, success="obs >= 2", environments=1, success_reward=5.0, skills=coded(OPEN), gamma=0.5) as pool:
        from rlgpt.envs.transitions import Call, Primitive

        pool.reset([0])
        rewards = [float(pool.step([Primitive(CODE[i])], [0]).reward[0]) for i in range(3)]
        assert rewards == [0.0, 5.0, 0.0]
        ended = pool.step([Call(0)], [1])
        assert float(ended.reward[0]) == 0.5**4, "the vault's own reward, five steps later"
        assert ended.ended[0].episode_return == 1.0, "it is no part of the environment's return"
        whole = pool.step([Call(0)], [2])
        assert float(whole.reward[0]) == pytest.approx(0.5 * 5.0 + 0.5**7)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_networks_are_the_same_networks(pools, tmp_path):
    run(tmp_path, asked(env_steps=100, hidden=(8,)))
    policy = load_player(*read_policy((tmp_path / "policy.pt").read_bytes()), pools[0])._policy
    obs = torch.randn(5, 4)
    names, values = list(policy.state_dict()), policy.predict_values(obs)
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    compile_networks(policy, obs.numpy())
    torch.testing.assert_close(policy.predict_values(obs), values)
    assert list(policy.state_dict()) == names
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > compiled, "nothing was compiled"


def test_compiling_without_a_compiler_says_what_to_install(tmp_path, pools, monkeypatch):
    from torch._inductor import config, cpp_builder, exc

    def none_found(*_):
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none_found)
    monkeypatch.setattr(config, "force_disable_caches", True)
    finished = run(tmp_path, asked(compile=True, hidden=(7, 5)))
    assert "C++ compiler" in finished.failure
    assert "trainer.compile: false" in finished.failure
    assert finished.env_steps == 0


# ---------------------------------------------------------------- cloned from code


def test_plain_ppo_does_not_open_the_vault_and_a_warm_start_does(tmp_path):
    plain = run(tmp_path / "a", vault(primitives=("0", "1", "2", "3"), skills=()))
    warm = run(tmp_path / "b", vault(skills=coded(OPEN), learner={"warm_start": "open_it"}))
    assert plain.score.successes == 0
    assert warm.failure == ""
    assert warm.score.rate >= 0.9
    assert warm.curve[0].env_steps > 4 * len(CODE), "what was demonstrated counts"
    assert warm.score.usage.get("open_it", 0.0) < 0.5, "its actions were cloned, not calls of it"


def test_calls_of_other_skills_are_cloned_as_choices_of_them(tmp_path):
    skills = coded(HALVES, SCRIPT)
    warm = run(tmp_path, vault(skills=skills, learner={"warm_start": "script", "env_steps": 300}))
    assert warm.failure == ""
    assert warm.score.rate >= 0.9
    usage = warm.score.usage
    assert usage["first"] == pytest.approx(1 / 5, abs=0.05), "one call and four actions an episode"


def test_code_clones_the_skill_that_succeeds_most_often(tmp_path):
    useless = "def useless(obs, info):\n    obs, info = yield 0\n"
    warm = run(tmp_path, vault(skills=coded(useless, OPEN), learner={"warm_start": "code", "env_steps": 1000}))
    assert warm.score.rate >= 0.9


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"skills": coded("def useless(obs, info):\n    obs, info = yield 0\n"), "learner": {"warm_start": "useless"}},
            "succeeded in none of 4",
        ),
        ({"skills": coded(OPEN), "learner": {"warm_start": "walk"}}, "'walk', which is none of the plan's skills (open_it)"),
        (
            {"skills": coded(OPEN), "learner": {"warm_start": "open_it"}, "environment": VAULT.model_copy(update={"deterministic": False})},
            "environment.deterministic",
        ),
    ],
)
def test_warm_start_that_cannot_be_says_why(tmp_path, changes, words):
    assert words in run(tmp_path, vault(**changes)).failure


def test_warm_start_killed_and_resumed_gives_the_curve_of_an_unbroken_one(tmp_path):
    asked = vault(skills=coded(HALVES, SCRIPT), learner={"warm_start": "code", "env_steps": 1500, "checkpoint_every": 400, "imitate": 0.1})
    unbroken = run(tmp_path / "a", asked)
    points = []

    def killing(point):
        points.append(point)
        if len(points) == 3:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "b", asked, on_point=killing)
    resumed = run(tmp_path / "b", asked)
    assert drawn(resumed) == drawn(unbroken)
    assert same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))


# ---------------------------------------------------------------- imitated


def test_returns_of_past_decisions_are_discounted_by_their_durations():
    rewards, durations, gamma = np.array([1.0, 2.0, 4.0]), np.array([3, 1, 2]), 0.5
    by_step = [1.0, 0.0, 0.0, 2.0, 4.0]  # each decision's reward at its first step
    exact = [sum(gamma**k * r for k, r in enumerate(by_step[t:])) for t in (0, 3, 4)]
    np.testing.assert_allclose(discounted(rewards, durations, gamma), exact)


def test_only_successful_episodes_are_remembered(tmp_path, pools, monkeypatch):
    remembered, ended = [], []
    remember, follow = PastSuccesses.remember, PastSuccesses.follow

    def noting(self, decisions):
        remembered.append(len(decisions))
        remember(self, decisions)

    def counting(self, seen, actions, masks, transitions):
        ended.extend(end for end in transitions.ended if end is not None)
        follow(self, seen, actions, masks, transitions)

    monkeypatch.setattr(PastSuccesses, "remember", noting)
    monkeypatch.setattr(PastSuccesses, "follow", counting)
    run(tmp_path, asked(imitate=0.1))
    assert len(remembered) == sum(end.success for end in ended)
    assert 0 < len(remembered) < len(ended)


def test_imitation_learns_from_a_success_that_ppo_forgets(tmp_path):
    """The vault opened a few times by code, and then PPO alone: with imitation the policy comes back to it, from a random network."""
    from rlgpt.agents.learning import warm_start

    def untaught(model, decisions):
        return 0

    asked = vault(
        skills=coded(OPEN),
        primitives=("0", "1", "2", "3"),
        learner={"warm_start": "open_it", "env_steps": 8000, "imitate": 1.0, "gamma": 0.95},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm_start, "clone", untaught)
        imitating = run(tmp_path / "a", asked.model_copy(update={"skills": coded(OPEN)}))
    assert imitating.score.rate >= 0.9


# ---------------------------------------------------------------- start states for the stage after


STAGE = VAULT.model_copy(update={"until_success": True})


def test_practice_gives_start_states_that_the_next_stage_begins_in(tmp_path):
    asked = vault(
        environment=STAGE, success="obs >= 4", skills=coded(OPEN), controller="open_it", practice=5, evaluation=Evaluation(episodes=3)
    )
    first = run(tmp_path / "a", asked)
    assert first.failure == ""
    reached, held_out = read(first.reached.uri, first.reached.sha256), read(first.held_out.uri, first.held_out.sha256)
    assert (len(reached), len(held_out)) == (5, 3)
    assert {state.seed for state in held_out} == {1_000_000, 1_000_001, 1_000_002}
    assert not {state.seed for state in reached} & {state.seed for state in held_out}
    assert first.env_steps == 5 * 4, "practice counts"
    begun = STAGE.model_copy(update={"starts": first.reached})
    finish = vault(
        environment=begun,
        held_out=first.held_out,
        success="terminated",
        skills=coded(OPEN),
        controller="open_it",
        evaluation=Evaluation(episodes=20),
    )
    second = run(tmp_path / "b", finish)
    assert second.score.episodes == 3, "every held-out state once"
    assert second.score.mean_steps == 4.0, "it began at the fifth dial"
    assert second.score.verified is True
    third = run(tmp_path / "c", finish.model_copy(update={"success": "obs >= 6", "practice": 2}))
    assert {len(state.actions) // 8 for state in read(third.held_out.uri, third.held_out.sha256)} == {6}, "from the very beginning"


def test_end_of_an_episode_that_is_over_is_no_start_state(tmp_path):
    asked = vault(
        environment=STAGE, success="terminated", skills=coded(OPEN), controller="open_it", practice=2, evaluation=Evaluation(episodes=2)
    )
    finished = run(tmp_path, asked)
    assert finished.score.successes == 2
    assert finished.reached is None
    assert finished.held_out is None


def test_policy_practises_too(tmp_path):
    asked = vault(
        environment=STAGE, success="obs >= 4", skills=coded(OPEN), practice=6, learner={"warm_start": "open_it", "env_steps": 400}
    )
    finished = run(tmp_path, asked)
    assert finished.failure == ""
    assert finished.env_steps > finished.curve[-1].env_steps
    assert 1 <= len(read(finished.reached.uri, finished.reached.sha256)) <= 6


def test_practice_where_success_does_not_end_the_episode_is_refused(tmp_path):
    assert "until_success" in run(tmp_path, vault(skills=coded(OPEN), controller="open_it", practice=2)).failure


# ---------------------------------------------------------------- several seeds


def test_each_seed_of_a_plan_has_a_folder_and_says_which_it_is(tmp_path, pools):
    from rlgpt.agents.trainer import place_of

    places = [place_of(request(plan=2, seed=seed), 3) for seed in (0, 1, 2)]
    assert places == ["plan-2/seed-0", "plan-2/seed-1", "plan-2/seed-2"]
    assert place_of(request(plan=2, seed=7), 1) == "plan-2"
    assert run(tmp_path, request(seed=7, learner=SETTINGS.model_copy(update={"env_steps": 100}))).seed == 7
