"""`learn` from its request to a scored policy, on the in-process pool where workers do not matter and on real ones where they do."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from learning_here import CARTPOLE, SETTINGS, Killed, drawn, request, run, same_weights, skill, weights
from local_pool import LocalPool

from rlgpt.agents.learning import checkpoint, learner
from rlgpt.agents.learning.learner import learn
from rlgpt.agents.learning.policy import load_player, read_policy
from rlgpt.agents.learning.training import QUARANTINE
from rlgpt.agents.scoring import wilson
from rlgpt.bus.task import Evaluation
from rlgpt.envs.transitions import EpisodeEnd

torch.set_num_threads(1)

# ---------------------------------------------------------------- on real workers


def test_skill_is_learned_with_and_scored_in_clean_workers(tmp_path):
    told = []
    finished = run(tmp_path, request(skills=(skill(),)), on_point=told.append)
    assert finished.failure == ""
    assert finished.score.verified is True
    assert finished.score.episodes == 8
    assert finished.score.usage.keys() == {"left", "right", "balance"}
    assert told == list(finished.curve)
    assert 1500 <= finished.env_steps < 1500 + 4 * 20
    assert finished.samples[0].trace[0].startswith("step 0: ")
    assert "obs[0]=" in finished.samples[0].trace[0]
    assert sum(use.steps for use in finished.learned) == finished.env_steps
    assert sum(use.steps for use in finished.played) == finished.score.env_steps
    decisions = sum(use.calls for use in finished.learned)
    balance = next(use for use in finished.learned if use.skill)
    assert (balance.name, balance.offered, balance.failed, balance.aside) == ("balance", decisions, 0, False)
    assert balance.reward > balance.calls > 0  # CartPole pays 1 a step, and a call takes several
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_controller_is_scored_without_torch(tmp_path):
    asked = request(skills=(skill("help", "def help(obs, info):\n    yield 0\n"), skill()), controller="balance")
    (tmp_path / "request.json").write_text(asked.model_dump_json())
    script = """
import sys
from pathlib import Path
from rlgpt.agents.learning.learner import learn
from rlgpt.bus.messages import TrainingRequested
folder = Path(sys.argv[1])
asked = TrainingRequested.model_validate_json((folder / "request.json").read_text())
print(learn(asked, folder, print, lambda: None, lambda: False).model_dump_json())
assert "torch" not in sys.modules, "torch was imported"
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    finished = json.loads(done.stdout.splitlines()[-1])
    assert finished["score"]["rate"] == 1.0
    assert finished["score"]["actions"] == "code"
    assert finished["score"]["usage"] == {"balance": 1.0}
    assert finished["env_steps"] == 0
    assert finished["policy"] is None


def test_learner_killed_with_its_workers_continues_in_another_process(tmp_path):
    (tmp_path / "b").mkdir()
    asked = request(skills=(skill(),))
    script = """
import sys
from pathlib import Path
from rlgpt.agents.learning.learner import learn
from rlgpt.bus.messages import TrainingRequested
asked = TrainingRequested.model_validate_json(sys.argv[2])
learn(asked, Path(sys.argv[1]), lambda p: print("point", p.env_steps, flush=True), lambda: None, lambda: False)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "b"), asked.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for line in process.stdout:
            if line.startswith("point") and int(line.split()[1]) > 600:
                process.kill()
                break
    assert process.returncode < 0, "it was to be killed in the middle"
    times = []
    resumed = run(tmp_path / "b", asked, on_resume=times.append)
    unbroken = run(tmp_path / "a", asked)
    assert times == [1]
    assert drawn(resumed) == drawn(unbroken)
    assert resumed.score == unbroken.score
    assert same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))


# ---------------------------------------------------------------- the same again


def test_same_seed_gives_the_same_curve_and_another_seed_another(tmp_path, pools):
    first, again, other = run(tmp_path / "a"), run(tmp_path / "b"), run(tmp_path / "c", request(seed=4))
    assert drawn(first) == drawn(again)
    assert first.score == again.score
    assert same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert drawn(first) != drawn(other)


@pytest.mark.parametrize("at", [1, 5, 9])
def test_learning_killed_and_resumed_gives_the_curve_of_an_unbroken_one(tmp_path, pools, at):
    unbroken = run(tmp_path / "a")
    points, times = [], []

    def killing(point):
        points.append(point)
        if len(points) == at:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "b", on_point=killing)
    resumed = run(tmp_path / "b", on_resume=times.append)
    assert drawn(resumed) == drawn(unbroken)
    assert resumed.score == unbroken.score
    assert resumed.env_steps == unbroken.env_steps
    assert same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert times == ([] if at == 1 else [1])


def test_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, pools):
    unbroken = run(tmp_path / "a")
    points = []

    def killing(point):
        points.append(point)
        if point.env_steps > 1100:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "b", on_point=killing)
    kept = sorted((tmp_path / "b").glob("checkpoint-*.pt"))
    assert len(kept) == checkpoint.KEEP
    kept[-1].write_bytes(kept[-1].read_bytes()[:-100])
    again = []
    resumed = run(tmp_path / "b", on_point=again.append)
    assert again[0].env_steps < points[-1].env_steps
    assert drawn(resumed) == drawn(unbroken)


def test_finished_learning_is_only_evaluated_when_asked_again(tmp_path, pools):
    first = run(tmp_path)
    points = []
    again = run(tmp_path, on_point=points.append)
    assert points == []
    assert (again.score, again.curve) == (first.score, first.curve)


def test_checkpoint_of_other_settings_is_not_continued_from(tmp_path, pools):
    run(tmp_path)
    other = request(learner=SETTINGS.model_copy(update={"learning_rate": 5e-4}))
    points = []
    run(tmp_path, other, on_point=points.append)
    assert points[0].env_steps < 400


def test_checkpoints_and_policies_are_read_without_running_code(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('code from a file was run')",))

    path = checkpoint.save(tmp_path, 10, {"request": "r", "bomb": Bomb()})
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        checkpoint.load(path)
    torch.save({"format": "rlgpt-policy-1", "weights": Bomb()}, tmp_path / "policy.pt")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        read_policy((tmp_path / "policy.pt").read_bytes())


def test_changed_policy_file_is_noticed(tmp_path, pools):
    finished = run(tmp_path)
    data = (tmp_path / "policy.pt").read_bytes()
    read_policy(data, finished.policy.sha256)
    with pytest.raises(ValueError, match="was changed"):
        read_policy(data + b" ", finished.policy.sha256)


def test_policy_file_gives_back_the_player_that_was_scored(tmp_path, pools):
    asked = request(skills=(skill(),), evaluation=Evaluation(episodes=4, first_seed=50, actions="greedy"))
    run(tmp_path, asked)
    asked_back, weights_back = read_policy((tmp_path / "policy.pt").read_bytes())
    assert asked_back == asked
    player = load_player(asked_back, weights_back, pools[0])
    obs = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    _, chosen = player(obs, np.ones((50, 1), bool))
    _, again = load_player(asked_back, weights_back, pools[0])(obs, np.ones((50, 1), bool))
    np.testing.assert_array_equal(chosen, again)


# ---------------------------------------------------------------- budgets, stopping, endings


def test_environment_steps_are_those_the_pool_took(tmp_path, pools):
    finished = run(tmp_path, request(skills=(skill(),)))
    assert finished.env_steps == len(pools[0].log) == finished.curve[-1].env_steps
    assert sum(point.episodes for point in finished.curve) > 0


def test_training_never_sees_an_evaluation_seed_and_evaluation_plays_each_once(tmp_path, pools):
    run(tmp_path)
    trained, evaluated = ({seed for _, seed, _, _ in pool.log} for pool in pools)
    assert set(range(50, 58)) <= evaluated
    assert not trained & set(range(50, 58))


def test_stopped_learning_returns_its_policy_unscored_and_resumes_unharmed(tmp_path, pools):
    polls = iter(range(10**9))
    stopped = run(tmp_path / "b", stop=lambda: next(polls) > 200)
    assert "stopped after" in stopped.failure
    assert stopped.score is None
    assert stopped.policy is not None
    assert 0 < stopped.env_steps < 1500
    assert drawn(run(tmp_path / "b")) == drawn(run(tmp_path / "a"))


def test_learning_shows_signs_of_life(tmp_path, pools, monkeypatch):
    monkeypatch.setattr(learner, "TOUCH_S", 0.0)
    touches = []
    learn(request(), tmp_path, lambda point: None, lambda: touches.append(1), lambda: False)
    assert len(touches) > 1500 / 4


def test_request_that_cannot_be_learned_says_why(tmp_path, pools):
    finished = run(tmp_path, request(primitives=("lefft",)))
    assert "did you mean 'left'" in finished.failure
    assert finished.score is None


def test_diverging_weights_end_the_learning_with_advice(tmp_path, pools):
    finished = run(tmp_path, request(learner=SETTINGS.model_copy(update={"learning_rate": 1e30})))
    assert "learner.learning_rate" in finished.failure
    assert finished.env_steps > 0


# ---------------------------------------------------------------- skills that fail


BROKEN = """
def broken(obs, info):
    obs, info = yield 0
    raise RuntimeError("lost the thread")
"""


@pytest.mark.parametrize("more", ["", "def can_run(obs):\n    return True\n"])
def test_skill_that_keeps_failing_is_quarantined(tmp_path, pools, more, monkeypatch):
    events = []
    monkeypatch.setattr(
        "rlgpt.agents.learning.training.log",
        SimpleNamespace(**{level: lambda event, **fields: events.append((event, fields)) for level in ("info", "warning")}),
    )
    finished = run(tmp_path, request(skills=(skill("broken", BROKEN + more),)))
    assert finished.failure == ""
    assert [fields["skill"] for event, fields in events if event == "skill_quarantined"] == ["broken"]
    failures = sum(event == "decision_failed" for event, _ in events)
    assert QUARANTINE <= failures < QUARANTINE + 4, "at most those already under way in the other environments"
    assert finished.curve[-1].usage.get("broken", 0.0) == 0.0
    assert finished.score.usage.get("broken", 0.0) == 0.0


def test_skill_that_only_shared_a_lost_worker_is_not_blamed(tmp_path, pools, monkeypatch):
    step = LocalPool.step

    def losing(self, choices, seeds):
        now = step(self, choices, seeds)
        return replace(now, faults=("lost with its worker: killed for memory",) * len(seeds))

    monkeypatch.setattr(LocalPool, "step", losing)
    finished = run(tmp_path, request(skills=(skill(),)))
    assert finished.failure == ""
    assert finished.curve[-1].usage["balance"] > 0


def test_environment_that_takes_no_step_ends_the_learning(tmp_path, pools, monkeypatch):
    step = LocalPool.step

    def stuck(self, choices, seeds):
        now = step(self, choices, seeds)
        now.duration[:] = 0
        return now

    monkeypatch.setattr(LocalPool, "step", stuck)
    assert "led to no environment step" in run(tmp_path).failure


# ---------------------------------------------------------------- scores


def test_success_that_its_replay_does_not_confirm_is_a_failure(tmp_path, pools, monkeypatch):
    honest = learner.Replays

    class Lying(honest):
        def __call__(self, seed, actions):
            end = super().__call__(seed, actions)
            return end if seed != 51 else EpisodeEnd(seed, not end.success, end.episode_return, end.steps, end.truncated)

    true = run(tmp_path / "a", request(skills=(skill(),), controller="balance")).score
    monkeypatch.setattr(learner, "Replays", Lying)
    finished = run(tmp_path / "b", request(skills=(skill(),), controller="balance"))
    assert (true.successes, true.verified) == (8, True)
    assert (finished.score.successes, finished.score.verified) == (7, False)
    assert any("replay" in sample.error for sample in finished.samples)


def test_score_of_an_environment_that_is_not_deterministic_is_not_verified(tmp_path, pools):
    asked = request(environment=CARTPOLE.model_copy(update={"deterministic": False}), skills=(skill(),), controller="balance")
    assert run(tmp_path, asked).score.verified is None


def test_unknown_controller_is_named(tmp_path, pools):
    assert "'walk'" in run(tmp_path, request(skills=(skill(),), controller="walk")).failure


def test_wilson_interval_is_the_known_one():
    low, high = wilson(96, 100)
    assert (round(low, 4), round(high, 4)) == (0.9016, 0.9843)
    assert wilson(0, 10)[0] == 0.0
    assert math.isclose(wilson(10, 10)[1], 1.0)
    assert wilson(10, 10)[0] < 0.75
