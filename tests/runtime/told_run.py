"""A run's log made by hand, with what models might write in it at worst; the story it makes."""

from datetime import UTC, datetime, timedelta

from rlgpt.bus.envelope import seal
from rlgpt.bus.messages import (
    AgentJoined,
    Message,
    ModelAsked,
    PlanProposed,
    RunFinished,
    SkillDrafted,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    TaskSubmitted,
    TrainingFinished,
    TrainingProgressed,
    TrainingRequested,
)
from rlgpt.bus.parts import Card, Point, Score, Skill, SubAction, TrialEpisode
from rlgpt.bus.task import Environment, Evaluation, Learner, Task
from rlgpt.runtime.narrate import narrate
from rlgpt.runtime.story import Story

T0 = datetime(2026, 1, 31, 12, tzinfo=UTC)
EVIL = "\x1b[2J\x07owned\r\n[bold]not markup[/bold]"
ENVIRONMENT = Environment(id="MountainCar-v0")
TASK = Task(name="car", goal=f"Reach the flag. {EVIL}", success="terminated", environment=ENVIRONMENT, critic={"enabled": True})
SKILL = Skill(name="swing", source="def swing(obs, info):\n    yield 0\n", max_steps=9)
SCORE = Score(
    episodes=10, successes=9, rate=0.9, low=0.6, high=0.98, mean_return=-100, mean_steps=100, actions="sampled", first_seed=5,
    env_steps=1000, verified=True, usage={"swing": 0.25, "push": 0.75},
)  # fmt: skip
POINT = Point(env_steps=500, episodes=3, success_rate=0.5, mean_return=-120, steps_per_s=1000)


def episode(seed: int, *, success: bool) -> TrialEpisode:
    return TrialEpisode(seed=seed, success=success, steps=7, episode_return=-7, ended="returned", first="x=0", last=f"x=1 {EVIL}")


def trial(attempt: int, *, success: bool) -> SkillTried:
    episodes = (episode(1, success=True), episode(2, success=success))
    return SkillTried(plan=1, attempt=attempt, name="swing", success=success, episodes=episodes, env_steps=14)


def review(attempt: int, verdict: str) -> SkillReviewed:
    return SkillReviewed(plan=1, attempt=attempt, name="swing", verdict=verdict, why=f"because {EVIL}", change="more")


def draft(attempt: int) -> SkillDrafted:
    return SkillDrafted(plan=1, attempt=attempt, skill=SKILL, success="True", seeds=(1, 2), environment=ENVIRONMENT)


# Seconds since the beginning, who says it, what.
LOG: list[tuple[float, str, Message]] = [
    (0, "launcher", TaskSubmitted(run="car-1", task=TASK, card=Card(text="", kind="Discrete", version="1"))),
    (3, "slow", ModelAsked(role="slow", key="plan", model="recorded", origin="recorded", outcome="answered")),
    (
        4,
        "slow",
        PlanProposed(
            plan=1,
            sub_actions=(
                SubAction(name="swing", purpose="gain height", mode="code", success="True"),
                SubAction(name="climb", purpose="reach the flag", mode="rl"),
            ),
            rationale=f"first back {EVIL}",
        ),
    ),
    (6, "fast", draft(1)),
    (7, "rollout-1", trial(1, success=False)),
    (10, "critic", review(1, "revise")),
    (11, "fast", draft(2)),
    (12, "rollout-1", trial(2, success=True)),
    (13, "critic", review(2, "accept")),
    (14, "fast", SkillSettled(plan=1, name="swing", accepted=True, attempts=2, reason="good", skill=SKILL)),
    (15, "fast", TrainingRequested(plan=1, environment=ENVIRONMENT, success="terminated", skills=(SKILL,), learner=Learner(env_steps=1000), evaluation=Evaluation(), seed=0)),  # noqa: E501
    (20, "trainer-1", TrainingProgressed(plan=1, point=POINT)),
    # An hour's pause: killed, resumed later.
    (3620, "broker", AgentJoined(name="launcher", role="launcher")),
    (3625, "trainer-1", TrainingFinished(plan=1, env_steps=1000, score=SCORE, policy=None, curve=(POINT,), evaluate_s=2.0, learn_s=8.0)),
    (3626, "slow", RunFinished(outcome="below_target", reason=f"enough {EVIL}", plan=1, score=SCORE)),
]  # fmt: skip


def told(upto: int = len(LOG), log: list[tuple[float, str, Message]] | None = None) -> tuple[Story, list[str]]:
    """The story after so many events, and the lines told on the way."""
    story, lines = Story(), []
    for seq, (second, source, message) in enumerate((log or LOG)[:upto], start=1):
        sealed = seal(message, id=str(seq), source=source)
        time = (T0 + timedelta(seconds=second)).isoformat()
        taken = story.take(seq, type(sealed)(**{name: getattr(sealed, name) for name in sealed.__slots__} | {"time": time}))
        assert taken is not None
        lines += narrate(taken, story.state)
    return story, lines
