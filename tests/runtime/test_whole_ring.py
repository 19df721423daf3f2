"""The whole of it with real processes: a live model on loopback, a kill in between, a recording, and the recording played offline."""

import json

from model_endpoint import LONG_ENOUGH, endpoint
from running import Rlgpt, processes_of, published, story, until

from rlgpt.bus.messages import ModelAsked, SkillTried, TrainingFinished
from rlgpt.runtime.run import RunFolder

SMALL = (
    "loops.plans=1",
    "loops.trial_episodes=3",
    "trainer.env_steps=1024",
    "trainer.rollout=32",
    "evaluation.episodes=4",
    "evaluation.target=1.0",
    "budgets={}",
)


def test_live_run_that_is_killed_asks_nothing_twice_and_its_recording_plays_without_a_network(rlgpt: Rlgpt):
    with endpoint() as model:
        launcher, run = rlgpt.launch(*SMALL, "llm.model=hand", f"llm.base_url={model.url}")
        until("the second draft", lambda: model.asked.count("skill") == 2)
        launcher.kill()
        launcher.communicate()
        until("every process is gone", lambda: processes_of(run.path) == {})
        asked_before = list(model.asked)
        status, said = rlgpt("resume")
        assert status in (0, 1), said

    # The question that was in the air when the processes were killed has no answer on disk; it alone may be asked again.
    assert model.asked[: len(asked_before)] == asked_before
    assert {kind: model.asked.count(kind) for kind in ("plan", "set_up", "plan_review")} == {"plan": 1, "set_up": 1, "plan_review": 1}
    assert model.asked.count("skill") in (2, 3)

    state = story(run).state
    (plan,) = state.plans.values()
    first, second = plan.inner["swing_back"].attempts
    assert (first.trial.success, first.review.verdict) == (False, "revise")
    assert (second.trial.success, second.review.verdict) == (True, "accept")
    assert [skill.source for skill in plan.skills] == [LONG_ENOUGH]
    assert "swing_back" in plan.result.score.usage
    assert state.spent.tokens >= 110 * 6
    for words in ("live by hand", "swing_back accepted after 2 attempts", "after the launch", "rlgpt record", str(run.path)):
        assert words in said
    for name in ("broker", "slow", "fast", "critic", "rollout-1", "trainer-1", "launcher"):
        assert f"{name} " in said.partition("memory")[2]
    assert processes_of(run.path) == {}
    events = story(run).seq
    assert rlgpt("resume", run.name)[0] == status
    assert story(run).seq == events

    status, said = rlgpt("record", "latest", "--to", "mine/again")
    assert status == 0, said

    status, said = rlgpt("launch", "mine/again")
    again = RunFolder.find(rlgpt.folder / "runs", "latest")
    assert again != run
    assert status in (0, 1), said
    assert "recorded (offline)" in said
    assert "no live model was asked" in said
    (replayed,) = story(again).state.plans.values()
    assert replayed.proposal == plan.proposal
    assert replayed.skills == plan.skills
    assert replayed.result.score == plan.result.score

    status, said = rlgpt("compare", run.name, again.name)
    assert status == 0, said
    for words in ("recorded (offline)", "live by hand", "steps: learning", "success [95 %]"):
        assert words in said

    asked = [envelope.message() for envelope in published(again, ModelAsked.TOPIC)]
    assert {(question.role, question.origin) for question in asked} == {("slow", "recorded"), ("fast", "recorded"), ("critic", "recorded")}

    status, said = rlgpt("tail", again.name, "--role", "critic", "--event", "*reviewed", "--json")
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["event"] for line in lines] == ["skill_reviewed", "skill_reviewed", "plan_reviewed"]
    causes = [envelope.id for topic in (SkillTried.TOPIC, TrainingFinished.TOPIC) for envelope in published(again, topic)]
    assert [line["cause"] for line in lines] == causes
