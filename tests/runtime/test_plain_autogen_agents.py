"""Plain AutoGen agents, in files that know nothing of rlgpt, review a real run of real processes over real HTTP."""

import json
from pathlib import Path

import pytest
from model_endpoint import reviewer
from running import Rlgpt, published, story

from rlgpt.agents.budget import by_role
from rlgpt.bus.messages import ModelAsked, PlanReviewed, SkillReviewed

EXAMPLE = (Path(__file__).parents[2] / "docs" / "examples" / "autogen_critic.py").read_text()
SMALL = ("trainer.env_steps=512", "trainer.rollout=32", "loops.trial_episodes=3", "evaluation.episodes=4", "critic.reviewers=[reviewer]")
KEY = "planted-key-of-the-guest-0123456789"


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_plain_autogen_agent_of_the_documentation_reviews_a_run(rlgpt: Rlgpt):
    with reviewer() as model:
        (rlgpt.folder / "mine.py").write_text(EXAMPLE)
        rlgpt.environ |= {"MY_MODEL": "their-model", "MY_BASE_URL": model.url, "MY_API_KEY": KEY}
        launcher, run = rlgpt.launch(*SMALL, "llm.prices={their-model: {prompt: 10, completion: 20}}")
        guest = rlgpt.start("attach", "mine.py:reviewer", "--as", "critic", "--run", "latest")
        said, _ = launcher.communicate(timeout=200)
        assert launcher.returncode in (0, 1), said + guest.communicate()[0]
        guest_said, _ = guest.communicate(timeout=200)
    assert guest.returncode == 0, guest_said
    assert {envelope.source for topic in (SkillReviewed.TOPIC, PlanReviewed.TOPIC) for envelope in published(run, topic)} == {"reviewer"}
    state = story(run).state
    (plan,) = state.plans.values()
    first, second = plan.inner["swing_to_flag"].attempts
    assert (first.review.verdict, first.review.change) == ("revise", "do it better")
    assert (second.review.verdict, plan.review.advice) == ("accept", "go on")

    # The first answer was prose, and was asked for again in the same conversation; all of it is counted and priced.
    asked = [envelope.message() for envelope in published(run, ModelAsked.TOPIC) if envelope.source == "reviewer"]
    assert [one.outcome for one in asked] == ["repaired", "answered", "answered"]
    assert asked[0].key == "rl-gpt/reviewer/plan-1/critic/swing_to_flag/attempt-1"
    account = by_role(state.spent)["critic"]
    assert (account.questions, account.prompt_tokens, account.completion_tokens) == (3, 400, 40)
    assert account.usd == pytest.approx((400 * 10 + 40 * 20) / 1e6)
    assert "440 tokens, $0.0048" in said

    # Its own words and key went to its own endpoint, our question after them, and the key nowhere else.
    system, question = model.requests[0]["messages"][:2]
    assert system["role"] == "system"
    assert "brief" in json.dumps(system)
    assert "You are the critic of a small team" in json.dumps(question)
    assert "Review the trial of the skill `swing_to_flag`" in json.dumps(question)
    assert "response_format" not in model.requests[0]
    assert set(model.keys) == {f"Bearer {KEY}"}
    assert KEY.encode() not in everything_in(run.path)
    assert KEY not in said + guest_said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mine.py:nothing", "--as", "critic"), "does not exist; expected an autogen.beta.Agent"),
        (("mine.py:KEY", "--as", "critic"), "is a str; expected an autogen.beta.Agent"),
        (("mine.py:broken", "--as", "critic"), "does not make an agent: KeyError"),
        (("mine.py:reviewer", "--as", "slow"), "can be attached as critic"),
    ],
)
def test_what_is_no_agent_is_refused_with_what_was_expected(rlgpt: Rlgpt, arguments: tuple[str, ...], words: str):
    (rlgpt.folder / "mine.py").write_text("KEY = 'x'\ndef broken():\n    return {}['no key']\n")
    (rlgpt.folder / "runs" / "r-1" / "logs").mkdir(parents=True)
    folder = rlgpt.folder / "runs" / "r-1"
    (folder / "bus.json").write_text(json.dumps({"address": f"ipc://{folder}/none.sock", "bind": "", "keys": ""}))
    status, said = rlgpt("attach", *arguments, "--bus", "tcp://127.0.0.1:9", "--keys", str(folder / "bus.json"), "--name", "reviewer")
    assert status != 0
    assert words in said
    assert "Traceback" not in said.splitlines()[-1]
