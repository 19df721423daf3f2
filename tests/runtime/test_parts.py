"""What a watcher is told of stages and seeds."""

import io
from itertools import count

from rich.console import Console

from rlgpt.bus.envelope import seal
from rlgpt.bus.messages import Message, PlanProposed, TaskDivided, TaskSubmitted, TrainingFinished, TrainingRequested
from rlgpt.bus.parts import Artifact, Card, Score, SubAction
from rlgpt.bus.task import Environment, Evaluation, Learner, Task
from rlgpt.runtime.narrate import narrate
from rlgpt.runtime.parts import mode_words, seed_words, stage_lines
from rlgpt.runtime.story import Story
from rlgpt.runtime.view import plan_tree

STAGES = [{"name": "fetch", "goal": "Fetch it.", "success": "obs[1] > 0"}, {"name": "leave", "goal": "Leave.", "success": "terminated"}]
STARTS = Artifact(uri="file:///x", sha256="0" * 64, media_type="x")


class Told:
    """A story told message by message, with the lines it gave."""

    def __init__(self, **task: object) -> None:
        base = {"name": "door", "goal": "Leave with the key.", "success": "terminated", "environment": {"id": "Door-v0"}}
        self.task = Task.model_validate(base | {"critic": {"enabled": False}, "evaluation": {"episodes": 10, "target": 0.25}} | task)
        self.story, self.lines, self.numbers = Story(), list[str](), count(1)
        self.tell(TaskSubmitted(run="door-1", task=self.task, card=Card(text="", kind="Discrete", version="1")))

    def tell(self, message: Message) -> None:
        seq = next(self.numbers)
        taken = self.story.take(seq, seal(message, id=str(seq), source="slow"))
        assert taken is not None
        self.lines += narrate(taken, self.story.state)

    def plan(self, number: int, stage: int = 0) -> None:
        self.tell(PlanProposed(plan=number, stage=stage, sub_actions=(SubAction(name="go", purpose="go", mode="rl"),), rationale="simply"))

    def train(self, plan: int, seed: int = 0) -> None:
        request = {"plan": plan, "environment": Environment(id="Door-v0"), "success": "terminated", "learner": Learner(), "seed": seed}
        self.tell(TrainingRequested.model_validate(request | {"evaluation": Evaluation()}))

    def trained(self, plan: int, successes: int, episodes: int, seed: int = 0) -> None:
        rate = successes / episodes
        score = Score(
            episodes=episodes, successes=successes, rate=rate, low=0, high=1, mean_return=0, mean_steps=1, actions="sampled",
            first_seed=0, env_steps=1, verified=True,
        )  # fmt: skip
        finished = TrainingFinished(plan=plan, seed=seed, env_steps=100, score=score, policy=None, reached=STARTS, held_out=STARTS)
        self.tell(finished)

    @property
    def picture(self) -> str:
        out = io.StringIO()
        Console(file=out, width=200).print(plan_tree(self.story))
        return out.getvalue()


def test_the_stages_stand_in_lines_and_picture_with_their_plans_and_scores():
    told = Told(stages=STAGES)
    assert "being cut into stages" in told.picture
    told.tell(TaskDivided(sub_tasks=told.task.stages, rationale="by hand"))
    told.plan(1, 1)
    told.train(1)
    told.trained(1, 8, 10)
    told.plan(2, 2)
    assert stage_lines(told.story.state) == [
        "1. fetch: 8 of 10 80% [0%, 100%], plan 1 (1 plan, target 50%)",
        "2. leave: under way (1 plan, target 50%)",
    ]
    picture = told.picture
    assert picture.index("1. fetch") < picture.index("plan 1") < picture.index("2. leave") < picture.index("plan 2")
    for words in ("2 stages: by hand", "  1. fetch: Fetch it., until obs[1] > 0", "stage 2, plan 2: simply"):
        assert words in told.lines
    assert mode_words(told.story.state) == "rl-gpt, no critic, 2 stages"


def test_a_stage_that_was_never_begun_is_said_to_be_so():
    told = Told(stages=STAGES)
    told.tell(TaskDivided(sub_tasks=told.task.stages))
    assert stage_lines(told.story.state) == ["1. fetch: under way", "2. leave: not begun"]


def test_every_seed_stands_with_its_own_score_and_the_one_that_went_on_is_named():
    told = Told(stages=STAGES, seeds=2, agents="one")
    told.tell(TaskDivided(sub_tasks=told.task.stages))
    told.plan(1, 1)
    for seed in (0, 1):
        told.train(1, seed)
    told.trained(1, 9, 10, seed=1)
    assert seed_words(told.story.state.plans[1]) == "seed 0: 0 steps so far, seed 1: 9 of 10"
    assert "seed 1: 9 of 10" in told.picture
    told.trained(1, 3, 10, seed=0)
    (first, _) = stage_lines(told.story.state)
    assert first == "1. fetch: 12 of 20 60% [39%, 78%], plan 1 (1 plan, target 50%); seed 1 went on, with 9 of 10"
    assert "plan 1, seed 1: the same with this seed" in told.lines
    assert "plan 1: all 2 seeds: success 60% [39%, 78%] in 20 held-out episodes" in told.lines
    assert mode_words(told.story.state) == "rl-gpt, one agent, no critic, 2 stages, 2 seeds"
