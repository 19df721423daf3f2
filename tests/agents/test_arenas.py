"""Sub-actions that are learned by themselves first: when they are, what becomes of them, and what it costs."""

import math
from types import SimpleNamespace

import pytest
from test_loops import Log

from rlgpt.agents.learning.contest import Side, contest
from rlgpt.agents.requests import AskArena, AskSetUp, AskSkill, Finish, Settle
from rlgpt.bus.arena import Arena, Contest
from rlgpt.bus.messages import ArenaFinished, ArenaProgressed, ArenaRequested, DeadLettered, PlanProposed
from rlgpt.bus.parts import Artifact, Point, Skill, SubAction
from rlgpt.bus.task import Task
from rlgpt.envs.transitions import EpisodeEnd

ARENA = {"success": "obs[0] > 1", "env_steps": 500}
LEARNT = Skill(
    name="leave", source="def leave(obs, info): ...", max_steps=9, policy=Artifact(uri="file:///net", sha256="0" * 64, media_type="x")
)


class Arenas(Log):
    def ask(self, plan: int = 1):
        arena = Arena.model_validate(ARENA)
        task = self.task
        fields = {"environment": task.environment, "learner": task.trainer, "evaluation": task.evaluation, "seed": 0}
        return self.say(ArenaRequested(plan=plan, name="leave", arena=arena, **fields), "fast")

    def point(self, env_steps: int, resumed: int = 0):
        point = Point(env_steps=env_steps, episodes=1, success_rate=0.5, mean_return=1, steps_per_s=9)
        return self.say(ArenaProgressed(plan=1, name="leave", point=point, resumed=resumed), "trainer")

    def end(self, low: float | None, *, verified: bool | None = True, **more: object):
        judged = None if low is None else outcome(low, verified=verified)
        finished = {"plan": 1, "name": "leave", "env_steps": 500, "found_steps": 40, "skill": LEARNT, "contest": judged, **more}
        return self.say(ArenaFinished.model_validate(finished), "trainer")


def outcome(low: float, *, verified: bool | None = True) -> Contest:
    figures = {"learned": 0.9, "other": 0.4, "difference": 0.5, "low": low, "high": 0.9, "better": 5, "worse": 0, "env_steps": 60}
    return Contest(against="doing nothing", judged="success", episodes=10, verified=verified, **figures)


def test_a_sub_action_with_an_arena_is_learned_in_its_place_in_the_plan() -> None:
    log = Arenas(arenas={"leave": ARENA}, critic={"enabled": False})
    assert log.begin(("fetch", "code"), ("leave", "rl"), ("both", "code")) == (AskSkill(1, "fetch", 1),)
    log.draft("fetch", 1)
    (settle,) = log.tried("fetch", 1, True)
    assert log.settled(settle) == (AskArena(1, "leave"),)
    assert log.ask() == ()
    assert "arena" in log.state.awaiting.values()
    (settle,) = log.end(0.1)
    assert settle.skill == LEARNT
    assert "arena" not in log.state.awaiting.values()
    assert "it beats doing nothing in 10 held-out episodes" in settle.reason
    assert log.settled(settle) == (AskSkill(1, "both", 1),), "what comes after it may call it"
    assert [skill.name for skill in log.state.plans[1].skills] == ["fetch", "leave"]


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({}, AskSetUp(1)),
        ({"arenas": {"other": ARENA}}, AskSetUp(1)),
        ({"loops": {"arenas": True}}, AskArena(1, "leave")),
        ({"arenas": {"leave": ARENA}, "mode": "rl-only"}, AskSetUp(1)),
    ],
)
def test_only_where_the_scenario_says_so(settings: dict, asked: object) -> None:
    assert Arenas(**settings).begin(("leave", "rl")) == (asked,)


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        ({"low": -0.1}, "does not beat doing nothing"),
        ({"low": 0.0}, "does not beat"),
        ({"low": 0.2, "verified": False}, "could not be repeated"),
        ({"low": None, "failure": "PPO diverged", "skill": None}, "its arena: PPO diverged"),
        ({"low": None}, "there was no comparison"),
    ],
)
def test_what_does_not_clearly_win_is_no_skill_and_the_reason_is_on_record(ended: dict, words: str) -> None:
    log = Arenas(arenas={"leave": ARENA})
    log.begin(("leave", "rl"))
    log.ask()
    (settle,) = log.end(**ended)
    assert (settle.skill, settle.plan, settle.name) == (None, 1, "leave")
    assert words in settle.reason
    assert log.settled(settle) == (AskSetUp(1),)


def test_without_replay_an_environment_that_is_not_deterministic_may_win() -> None:
    assert outcome(0.1, verified=None).won


def test_arena_steps_are_counted_apart_and_no_budget_of_the_task_is_spent_by_them() -> None:
    log = Arenas(arenas={"leave": ARENA}, budgets={"env_steps": 100})
    log.begin(("leave", "rl"))
    log.ask()
    log.point(200)
    assert log.state.plans[1].arena_under_way == 200
    (settle,) = log.end(0.1)
    spent = log.state.spent
    assert (spent.arena_steps, spent.env_steps, spent.evaluation_steps) == (540, 0, 60)
    assert log.state.plans[1].arena_under_way == 0
    assert log.settled(settle) == (AskSetUp(1),)


def test_points_said_again_after_a_restart_stand_once_and_a_second_end_changes_nothing() -> None:
    log = Arenas(arenas={"leave": ARENA})
    log.begin(("leave", "rl"))
    log.ask()
    for env_steps in (100, 200):
        log.point(env_steps)
    log.point(200, resumed=1)
    learnt = log.state.plans[1].inner["leave"].learnt
    assert learnt is not None
    assert ([point.env_steps for point in learnt.curve], learnt.resumed) == ([100, 200], 1)
    log.end(0.1)
    assert log.end(-0.5) == ()
    assert log.state.spent.arena_steps == 540


def test_an_arena_no_process_can_learn_in_leaves_it_to_the_learner_of_the_whole_task() -> None:
    log = Arenas(arenas={"leave": ARENA})
    log.begin(("leave", "rl"))
    log.ask()
    asked = log.state.seq
    dead = DeadLettered(consumer="trainer", seq=asked, id="x", type="y", attempts=3, reason="no memory")
    (settle,) = log.say(dead)
    assert isinstance(settle, Settle)
    assert settle.skill is None
    assert "given up after 3 attempts: no memory" in settle.reason
    assert log.settled(settle) == (AskSetUp(1),)


def test_a_budget_that_is_spent_ends_the_run_before_an_arena_is_asked_for() -> None:
    log = Arenas(arenas={"leave": ARENA}, budgets={"env_steps": 10}, critic={"enabled": False})
    log.begin(("fetch", "code"), ("leave", "rl"))
    log.draft("fetch", 1)
    (settle,) = log.tried("fetch", 1, True, steps=11)
    assert isinstance(log.settled(settle)[0], Finish)


@pytest.mark.parametrize(
    ("arena", "words"),
    [
        ({}, "success: it is judged by success"),
        ({"success": "done", "where": "obs[0] > 1", "starts": {"uri": "u", "sha256": "s", "media_type": "m"}}, "leave out one of the two"),
        ({"success": "done", "held_out": {"uri": "u", "sha256": "s", "media_type": "m"}}, "belong to `starts`"),
        ({"success": "done", "trainer": {"gama": 0.9}}, "gama"),
    ],
)
def test_an_arena_that_cannot_be_is_refused_when_the_scenario_is_read(arena: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Arenas(arenas={"leave": arena})


def test_arenas_that_repeat_actions_need_an_environment_that_is_deterministic() -> None:
    shaky = {"id": "CartPole-v1", "deterministic": False}
    with pytest.raises(ValueError, match="deterministic: false"):
        Arenas(environment=shaky, loops={"arenas": True})
    assert Arenas(environment=shaky, arenas={"leave": ARENA}).task.arenas, "one that begins as every episode does needs none"


def side(gained: float, success: bool) -> Side:
    return Side(gained, EpisodeEnd(0, success, 0.0, 5, True))


@pytest.mark.parametrize("judged", ["success", "return"])
def test_the_comparison_is_paired(judged: str) -> None:
    asked = SimpleNamespace(arena=Arena(success="x", judged=judged))
    ours = [side(gained, gained > 2) for gained in (1, 2, 3, 4)]
    theirs = [side(gained, False) for gained in (0, 1.5, 2, 5)]
    found = contest(asked, ours, theirs, "code", True, 40)
    away = [0, 0, 1, 1] if judged == "success" else [1, 0.5, 1, -1]
    mean = sum(away) / 4
    deviation = math.sqrt(sum((one - mean) ** 2 for one in away) / 3)
    assert found.difference == pytest.approx(mean)
    assert found.high - found.low == pytest.approx(2 * 1.959964 * deviation / 2)
    assert (found.better, found.worse) == (sum(one > 0 for one in away), sum(one < 0 for one in away))


def test_old_tasks_and_plans_read_as_they_were() -> None:
    task = Task.model_validate({"name": "t", "goal": "g", "success": "x", "environment": {"id": "X"}})
    assert (task.arenas, task.loops.arenas, task.shaping, task.environment.horizon) == ({}, False, "", None)
    assert PlanProposed(plan=1, sub_actions=(SubAction(name="a", purpose="p", mode="rl"),)).drafts == ()
