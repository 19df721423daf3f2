"""`rlgpt evaluate`: a policy file scored once more, in a process of its own, with words that say what the figure is."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlgpt.agents.learning.learner import learn
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment, Evaluation, Learner
from rlgpt.runtime.cli import app

PUSH = Skill(
    name="push", source="def push(obs, info):\n    for _ in range(3):\n        obs, info = yield 1 if obs[2] > 0 else 0\n", max_steps=5
)
ASKED = TrainingRequested(
    plan=1,
    environment=Environment(id="CartPole-v1", max_episode_steps=50, actions=("left", "right")),
    success="truncated",
    skills=(PUSH,),
    learner=Learner(env_steps=400, environments=2, rollout=32, epochs=1, device="cpu", normalize_observations=True, frame_stack=2),
    evaluation=Evaluation(episodes=6, first_seed=500),
    seed=0,
)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    finished = learn(ASKED, folder, lambda _point: None, lambda: None, lambda: False)
    assert finished.failure == ""
    assert finished.score is not None
    (folder / "told").write_text(f"{finished.score.successes} of {finished.score.episodes}")
    return folder / "policy.pt"


def evaluate(*arguments: str) -> tuple[int, str, str]:
    script = "from rlgpt.runtime.cli import main; main()"
    command = [sys.executable, "-c", script, "evaluate", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    return done.returncode, done.stdout, done.stderr


def test_the_runs_own_seeds_give_the_runs_own_figure_and_say_so(policy: Path) -> None:
    status, said, errors = evaluate(str(policy), "--first-seed", "500")
    assert status == 0, errors
    assert said.startswith((policy.parent / "told").read_text() + " episodes succeeded")
    assert "seeds 500 to 505" in said
    assert "6 of these seeds were the run's own evaluation: this is no independent figure" in said
    assert "sampled from the policy; the policy sees numbers" in said
    assert "all agreed" in said


def test_further_seeds_are_the_default_and_other_actions_are_owned_up_to(policy: Path) -> None:
    status, said, errors = evaluate(str(policy), "--episodes", "4", "--actions", "greedy")
    assert status == 0, errors
    assert " of 4 episodes succeeded" in said
    assert "seeds 506 to 509" in said
    assert "own evaluation" not in said
    assert "greedy" in said
    assert "the scenario had fixed sampled actions beforehand" in said


@pytest.mark.parametrize(("content", "words"), [(b"no policy", "policy.pt: "), (None, "cannot read")])
def test_what_is_no_policy_file_is_a_line_and_status_2(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "policy.pt").write_bytes(content)
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "policy.pt")])
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output
