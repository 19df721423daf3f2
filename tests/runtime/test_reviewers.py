"""Whose reviews count: an attached critic, the one that docs/agents.md shows, or nobody within the patience of the scenario."""

import re
from pathlib import Path

from running import Rlgpt, published, story, until

from rlgpt.bus.messages import ReviewMissed, SkillReviewed

DOC = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
SMALL = ("trainer.env_steps=2048", "evaluation.episodes=10")


def test_the_critic_of_the_documentation_takes_part_and_others_act_on_what_it_says(rlgpt: Rlgpt):
    (rlgpt.folder / "my_critic.py").write_text(re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)[0])
    launcher, run = rlgpt.launch(*SMALL, "critic.reviewers=[my_critic]")
    critic = rlgpt.start("attach", "my_critic.py:MyCritic", "--run", "latest", "--name", "my_critic")
    said, _ = launcher.communicate(timeout=200)
    assert launcher.returncode == 0, said
    critic.communicate(timeout=200)
    assert {envelope.source for envelope in published(run, SkillReviewed.TOPIC)} == {"my_critic"}
    (plan,) = story(run).state.plans.values()
    first, second = plan.inner["swing_to_flag"].attempts
    assert "failed on seeds" in first.review.why
    assert second.review.verdict == "accept"
    assert plan.review.why.startswith("success rate")
    assert (run.skills / "plan-1-swing_to_flag.py").read_text().strip() == plan.skills[0].source.strip()


def test_reviews_that_nobody_gives_are_not_waited_for_without_end(rlgpt: Rlgpt):
    launcher, run = rlgpt.launch(*SMALL, "critic.reviewers=[nobody]", "critic.patience_s=0.2")
    until("the run ended", lambda: launcher.poll() is not None)
    said, _ = launcher.communicate(timeout=200)
    assert launcher.returncode == 0, said
    assert len(published(run, ReviewMissed.TOPIC)) == 3
    assert "the success test decides alone" in said
